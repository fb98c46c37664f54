"""The permissions of operators: a policy document for the commands of `plexus` on one stack. Pure.

There are three sizes. Read only: `doctor`, `dead-letters list|show`, and the account's cost. By
default also changes: dead letters, the mail queue, mailboxes and imports by tasks on the mail host,
and mail to the alarm address (`doctor --mail`). With `mail` also access to received mail
(`reports`, `replay`, `export`, a message in transit in `trace`) and to the directory, which
contains password hashes (`replay`, `restore`); without it operators see envelopes and headers. Both
together permit `restore`. With `workmail` also reading the account's WorkMail organisations
(`import workmail-users`), a separate permission because it is another service, needed once.

`examination` returns the permissions for the weekly run of `doctor` in AWS.

The permission to run a task cannot be used to run another program: callers of ECS cannot choose the
entry point, and only the tasks' own roles may be passed. `dead-letters list` hides entries for a
moment to read them, so it needs sqs:ChangeMessageVisibility.

Sources: https://docs.aws.amazon.com/service-authorization/latest/reference/ (the resources of each
service; `*` for actions without one).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from postal_plexus.config.names import (
    DELIVERIES_PREFIX,
    INBOUND_PREFIX,
    MOVING_PREFIX,
    hand_over_prefix,
    part_name,
    system_parameter,
)


def document(
    stack: str,
    account: str,
    parts: Mapping[str, Any],
    *,
    acts: bool = True,
    mail: bool = False,
    workmail: bool = False,
) -> str:
    """Return the policy as JSON.

    Args:
        stack: its name.
        account: the twelve digits of its account.
        parts: the names of its parts (`System.parts`).
        acts: whether it permits changes.
        mail: whether it permits reading received mail.
        workmail: whether it permits reading WorkMail's users.
    """
    here = f"{parts['region']}:{account}"
    statements = [*_examining(stack, here, parts), *_reading(here, parts)]
    if acts:
        statements += _acting(stack, account, here, parts)
    bucket = f"arn:aws:s3:::{parts['bucket']}"
    if mail:
        statements += [
            _allow("ListReceivedMail", ["s3:ListBucket"], [bucket]),
            _allow(
                "ReadReceivedMail",
                ["s3:GetObject"],
                [
                    f"{bucket}/{INBOUND_PREFIX}*",
                    f"{bucket}/{DELIVERIES_PREFIX}*",
                    f"arn:aws:s3:::{_directory_of(parts)}",
                ],
            ),
            _allow(
                "TakeExports",
                ["s3:DeleteObject", "s3:GetObject"],
                [f"{bucket}/{MOVING_PREFIX}*"],
            ),
            *(
                [_allow("SendImports", ["s3:PutObject"], [f"{bucket}/{MOVING_PREFIX}*"])]
                if acts
                else []
            ),
        ]
    else:
        statements.append(_dating_the_directory(parts))
    if workmail:
        statements += _reading_workmail(account)
    if acts and mail and parts.get("backup_vault"):
        statements += _restoring(here, parts)
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=2)


def examination(stack: str, account: str, parts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the statements for the weekly `doctor`: checks, and mail to the alarm address."""
    here = f"{parts['region']}:{account}"
    return [
        *_examining(stack, here, parts),
        _dating_the_directory(parts),
        *_mailing_the_operator(stack, here),
    ]


def _examining(stack: str, here: str, parts: Mapping[str, Any]) -> list[dict[str, Any]]:
    queues = ("queue_url", "events_queue_url", "dead_letter_queue_url")
    return [
        _allow(
            "FindTheStack",
            ["ssm:GetParameter"],
            [f"arn:aws:ssm:{here}:parameter{system_parameter(stack)}"],
        ),
        # These actions have no resource.
        _allow(
            "LookAround",
            [
                "backup:ListRecoveryPointsByResource",
                "cloudwatch:GetMetricStatistics",
                "ecs:DescribeTaskDefinition",
                "ses:DescribeActiveReceiptRuleSet",
                "ses:GetAccount",
                "sns:ListSubscriptions",
            ],
            ["*"],
        ),
        # These are listed, or searched for, before a name is known.
        _allow(
            "LookAtAlarmsBudgetsAndDomains",
            ["budgets:ViewBudget", "cloudwatch:DescribeAlarms", "ses:GetEmailIdentity"],
            [
                f"arn:aws:budgets::{here.rpartition(':')[2]}:budget/*",
                f"arn:aws:cloudwatch:{here}:alarm:*",
                f"arn:aws:ses:{here}:identity/*",
            ],
        ),
        _allow(
            "LookAtServices",
            ["ecs:DescribeServices"],
            [f"arn:aws:ecs:{here}:service/{parts['cluster']}/*"],
        ),
        _allow(
            "LookAtImages",
            ["ecr:DescribeImages"],
            [f"arn:aws:ecr:{here}:repository/{part_name(stack, 'image')}-*"],
        ),
        _allow(
            "LookAtTheMailStore",
            ["elasticfilesystem:DescribeFileSystems"],
            [f"arn:aws:elasticfilesystem:{here}:file-system/{parts['file_system']}"],
        ),
        _allow(
            "LookAtQueues",
            ["sqs:GetQueueAttributes"],
            [_queue(here, parts[name]) for name in queues],
        ),
        # The containers' logs about messages, but not the output of tasks.
        _allow(
            "ReadLogs",
            ["logs:DescribeLogStreams", "logs:FilterLogEvents"],
            [
                f"arn:aws:logs:{here}:log-group:{group}:*"
                for name, group in sorted(parts["log_groups"].items())
                if name != "maintenance"
            ],
        ),
    ]


def _dating_the_directory(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Permit reading the directory's date and entity tag, but not its content."""
    prefix = _directory_of(parts).partition("/")[2]
    bucket = f"arn:aws:s3:::{parts['bucket']}"
    condition = {"StringEquals": {"s3:prefix": prefix}}
    return _allow("LookAtTheDirectory", ["s3:ListBucket"], [bucket], condition)


def _reading(here: str, parts: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        _allow(
            "ReadDeadLetters",
            ["sqs:ChangeMessageVisibility", "sqs:ReceiveMessage"],
            [_queue(here, parts["dead_letter_queue_url"])],
        ),
        # The whole account's cost; each request costs $0.01.
        _allow("AskWhatItCosts", ["ce:GetCostAndUsage"], ["*"]),
    ]


def _mailing_the_operator(stack: str, here: str) -> list[dict[str, Any]]:
    topic = f"arn:aws:sns:{here}:{part_name(stack, 'watch-alarms')}*"
    return [
        _allow("FindTheAlarmTopic", ["sns:ListTopics"], ["*"]),
        _allow("MailTheAlarmAddress", ["sns:Publish"], [topic]),
    ]


def _reading_workmail(account: str) -> list[dict[str, Any]]:
    """Permit reading WorkMail's users; WorkMail may be in another region than the stack."""
    return [
        _allow("FindWorkMail", ["workmail:ListOrganizations"], ["*"]),
        _allow(
            "ReadWhoIsInWorkMail",
            [
                "workmail:GetMailboxDetails",
                "workmail:ListAliases",
                "workmail:ListGroupMembers",
                "workmail:ListGroups",
                "workmail:ListMailDomains",
                "workmail:ListMailboxPermissions",
                "workmail:ListResources",
                "workmail:ListUsers",
            ],
            [f"arn:aws:workmail:*:{account}:organization/*"],
        ),
    ]


def _acting(stack: str, account: str, here: str, parts: Mapping[str, Any]) -> list[dict[str, Any]]:
    cluster = f"arn:aws:ecs:{here}:cluster/{parts['cluster']}"
    tasks = f"arn:aws:ecs:{here}:task/{parts['cluster']}/*"
    in_cluster = {"ArnEquals": {"ecs:cluster": cluster}}
    handed_over = f"arn:aws:ssm:{here}:parameter{hand_over_prefix(stack)}*"
    return [
        _allow(
            "DropDeadLetters",
            ["sqs:DeleteMessage"],
            [_queue(here, parts["dead_letter_queue_url"])],
        ),
        *_mailing_the_operator(stack, here),
        _allow("DeliverDeadLetters", ["sqs:SendMessage"], [_queue(here, parts["queue_url"])]),
        _allow(
            "RunTasks",
            ["ecs:RunTask"],
            [
                f"arn:aws:ecs:{here}:task-definition/{family}{revision}"
                for family in sorted(parts["maintenance"].values())
                for revision in ("", ":*")
            ],
            in_cluster,
        ),
        _allow("FindTasks", ["ecs:ListTasks"], ["*"], in_cluster),
        _allow("FollowAndStopTasks", ["ecs:DescribeTasks", "ecs:StopTask"], [tasks]),
        _allow(
            "GiveTasksTheirRoles",
            ["iam:PassRole"],
            [f"arn:aws:iam::{account}:role/{part_name(stack, 'maintenance')}-*"],
            {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
        ),
        _allow(
            "ReadWhatTasksSay",
            ["logs:GetLogEvents"],
            [f"arn:aws:logs:{here}:log-group:{parts['log_groups']['maintenance']}:*"],
        ),
        _allow("HandOverSecrets", ["ssm:DeleteParameter", "ssm:PutParameter"], [handed_over]),
    ]


def _restoring(here: str, parts: Mapping[str, Any]) -> list[dict[str, Any]]:
    services = f"arn:aws:ecs:{here}:service/{parts['cluster']}"
    return [
        _allow(
            "FindBackups",
            ["backup:ListRecoveryPointsByBackupVault"],
            [f"arn:aws:backup:{here}:backup-vault:{parts['backup_vault']}"],
        ),
        # A recovery point's ARN does not contain its vault; the role can only access this stack's
        # store.
        _allow(
            "RestoreBackups",
            ["backup:StartRestoreJob"],
            [f"arn:aws:backup:{here}:recovery-point:*"],
        ),
        _allow("FollowRestores", ["backup:DescribeRestoreJob"], ["*"]),
        _allow(
            "GiveRestoresTheirRole",
            ["iam:PassRole"],
            [parts["backup_role"]],
            {"StringEquals": {"iam:PassedToService": "backup.amazonaws.com"}},
        ),
        _allow(
            "StopDovecotForAWholeRestore",
            ["ecs:UpdateService"],
            [f"{services}/{parts['services']['dovecot']}"],
        ),
    ]


def _directory_of(parts: Mapping[str, Any]) -> str:
    """Return the directory's place in S3, as BUCKET/KEY."""
    return str(parts["directory_object"]).removeprefix("s3://")


def _queue(here: str, url: str) -> str:
    return f"arn:aws:sqs:{here}:{url.rpartition('/')[2]}"


def _allow(
    sid: str,
    actions: Sequence[str],
    resources: Sequence[str],
    condition: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    statement: dict[str, Any] = {
        "Sid": sid,
        "Effect": "Allow",
        "Action": list(actions),
        "Resource": list(resources),
    }
    return statement | ({"Condition": condition} if condition else {})
