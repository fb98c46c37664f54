"""IAM actions and resources whose names in ministack differ from AWS's.

SQS's batch calls need the permission of the single call: DeleteMessageBatch is allowed by
sqs:DeleteMessage, and there is no action sqs:DeleteMessageBatch to grant
(https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/
sqs-api-permissions-reference.html).

For ECS, EFS, CloudWatch, its Logs and Budgets, permissions are evaluated for the resource that AWS
documents: a service or a task instead of its cluster, a log group with `:*` for its streams, all
alarms (https://docs.aws.amazon.com/service-authorization/latest/reference/).
"""

from __future__ import annotations

import json
from typing import Any, cast

from awsdesk.ministack_patches import private

_NAMES = {
    "budgets:DescribeBudgets": "budgets:ViewBudget",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:SendMessageBatch": "sqs:SendMessage",
}
_ASKED = {"budgets", "ecs", "elasticfilesystem", "logs", "monitoring"}
"""The services, as ministack calls them, whose resources are named below."""
_LISTED = {
    "budgets:DescribeBudgets": "arn:aws:budgets::{account}:budget/*",
    "cloudwatch:DescribeAlarms": "arn:aws:cloudwatch:{here}:alarm:*",
}


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
        _method, _path, _headers, body, query, region, account = arguments
        if service not in _ASKED or not account:
            return found
        action = str(named_by_call(service, *arguments[:5]))
        if listed := _LISTED.get(action):
            return listed.format(here=f"{region}:{account}", account=account)
        call = action.partition(":")[2]
        return resource_of(
            service, call, _fields(body) | _single(query), found, f"{region}:{account}"
        )

    private.IAM_ACTIONS.replace("extract_resource_arn", resource)


def resource_of(service: str, call: str, fields: dict[str, Any], found: str, here: str) -> str:
    """Return the resource for which AWS evaluates permissions; `found` is ministack's."""
    cluster = str(fields.get("cluster", "default")).rpartition("/")[2]
    named = [str(each) for each in fields.get("services") or fields.get("tasks") or ()]
    named += [str(fields[key]) for key in ("service", "task") if fields.get(key)]
    match service, call:
        case "ecs", "DescribeServices" | "UpdateService" if named:
            return f"arn:aws:ecs:{here}:service/{cluster}/{named[0].rpartition('/')[2]}"
        case "ecs", "DescribeTasks" | "StopTask" if named:
            return f"arn:aws:ecs:{here}:task/{cluster}/{named[0].rpartition('/')[2]}"
        case "ecs", "DescribeTaskDefinition":
            return "*"
        case "logs", "GetLogEvents" | "FilterLogEvents" | "DescribeLogStreams":
            return found if found == "*" else f"{found}:*"
        case "elasticfilesystem", _ if fields.get("FileSystemId"):
            return f"arn:aws:elasticfilesystem:{here}:file-system/{fields['FileSystemId']}"
        case _:
            return found


def _fields(body: Any) -> dict[str, Any]:
    try:
        read: Any = json.loads(body or b"{}")
    except ValueError:
        return {}
    return cast("dict[str, Any]", read) if isinstance(read, dict) else {}


def _single(query: Any) -> dict[str, Any]:
    given = cast("dict[str, Any]", query or {})
    return {key: value[0] if isinstance(value, list) else value for key, value in given.items()}
