"""IAM actions and resources whose names in ministack differ from AWS's.

SQS's batch calls need the permission of the single call: DeleteMessageBatch is allowed by
sqs:DeleteMessage, and there is no action sqs:DeleteMessageBatch to grant
(https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/
sqs-api-permissions-reference.html).

For ECS, EFS, AWS Backup, CloudWatch, its Logs and Budgets, permissions are evaluated for the
resource that AWS documents: a service or a task instead of its cluster, the vault that is in the
call's path, a log group with `:*` for its streams, all alarms
(https://docs.aws.amazon.com/service-authorization/latest/reference/).
"""

from __future__ import annotations

import json
import re
from typing import Any, cast
from urllib.parse import unquote

from awsdesk.ministack_patches import private

_NAMES = {
    "budgets:DescribeBudgets": "budgets:ViewBudget",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:SendMessageBatch": "sqs:SendMessage",
}
_ASKED = {"backup", "budgets", "ecs", "elasticfilesystem", "logs", "monitoring"}
"""The services, as ministack calls them, whose resources are named below."""
_LISTED = {
    "budgets:DescribeBudgets": "arn:aws:budgets::{account}:budget/*",
    "cloudwatch:DescribeAlarms": "arn:aws:cloudwatch:{here}:alarm:*",
}


_VAULT = re.compile(r"/backup-vaults/([^/]+)/recovery-points")


def install() -> None:
    """Replace ministack's names with AWS's."""
    named_by_call = private.IAM_ACTIONS.extract_iam_action

    def named(*arguments: Any, **more: Any) -> Any:
        found = named_by_call(*arguments, **more)
        return _NAMES.get(found, found)

    private.IAM_ACTIONS.replace("extract_iam_action", named)
    resource_by_call = private.IAM_ACTIONS.extract_resource_arn

    def resource(service: str, *arguments: Any) -> Any:
        found = str(resource_by_call(service, *arguments))
        _method, path, _headers, body, query, region, account = arguments
        if service not in _ASKED or not account:
            return found
        action = str(named_by_call(service, *arguments[:5]))
        if listed := _LISTED.get(action):
            return listed.format(here=f"{region}:{account}", account=account)
        call = action.partition(":")[2]
        fields = _fields(body) | _single(query)
        if service == "backup" and (vault := _VAULT.match(str(path))):
            fields["BackupVaultName"] = unquote(vault[1])
        return resource_of(service, call, fields, found, f"{region}:{account}")

    private.IAM_ACTIONS.replace("extract_resource_arn", resource)


def resource_of(service: str, call: str, fields: dict[str, Any], found: str, here: str) -> str:
    """Return the resource for which AWS evaluates permissions; `found` is ministack's."""
    cluster = str(fields.get("cluster", "default")).rpartition("/")[2]
    named = [str(each) for each in fields.get("services") or fields.get("tasks") or ()]
    named += [str(fields[key]) for key in ("service", "task") if fields.get(key)]
    resource = found
    match service, call:
        case "ecs", "DescribeServices" | "UpdateService" if named:
            resource = f"arn:aws:ecs:{here}:service/{cluster}/{named[0].rpartition('/')[2]}"
        case "ecs", "DescribeTasks" | "StopTask" if named:
            resource = f"arn:aws:ecs:{here}:task/{cluster}/{named[0].rpartition('/')[2]}"
        case "ecs", "DescribeTaskDefinition":
            resource = "*"
        case "logs", "GetLogEvents" | "FilterLogEvents" | "DescribeLogStreams" if found != "*":
            resource = f"{found}:*"
        case "backup", "StartRestoreJob":
            resource = str(fields.get("RecoveryPointArn", "*"))
        case "backup", _ if fields.get("BackupVaultName"):
            resource = f"arn:aws:backup:{here}:backup-vault:{fields['BackupVaultName']}"
        case "elasticfilesystem", _ if fields.get("FileSystemId"):
            resource = f"arn:aws:elasticfilesystem:{here}:file-system/{fields['FileSystemId']}"
        case _:
            pass
    return resource


def _fields(body: Any) -> dict[str, Any]:
    try:
        read: Any = json.loads(body or b"{}")
    except ValueError:
        return {}
    return cast("dict[str, Any]", read) if isinstance(read, dict) else {}


def _single(query: Any) -> dict[str, Any]:
    given = cast("dict[str, Any]", query or {})
    return {key: value[0] if isinstance(value, list) else value for key, value in given.items()}
