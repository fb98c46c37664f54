"""What an operator may do: a policy document for the commands of `plexus` on one stack. Pure.

Three sizes. Reading: `doctor`, `dead-letters list|show`, and what the account has cost. By default
also what acts: dead letters, the mail queue, mailboxes, imports, by tasks on the mail host, and
mail to the alarm address (`doctor --mail`). With `mail` also what reads
received mail itself (`reports`, `replay`, `export`, a mail that waits in `trace`) or the directory,
which has the hashes of the passwords (`replay`, `restore`); without it one sees envelopes and
headers. Both together allow `restore`. With `workmail` also to read who is in the account's
WorkMail organisations (`import workmail-users`): another service, and needed once.

`examination` is what the weekly run of `doctor` in AWS may do.

What runs a task gets no other program with it: ECS never lets its caller choose the entry point,
and the tasks' own roles are the only ones that may be passed. `dead-letters list` hides entries for
a moment to see them, so it needs sqs:ChangeMessageVisibility.

Sources: https://docs.aws.amazon.com/service-authorization/latest/reference/ (what each service
knows as a resource; where that is nothing, `*`).
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
    """Give the policy as JSON.

    Args:
        stack: its name.
        account: the twelve digits of its account.
        parts: what its parts are called (`System.parts`).
        acts: whether it allows what changes something.
        mail: whether it allows to read received mail.
        workmail: whether it allows to read who is in WorkMail.
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
    """Give the statements for the weekly `doctor`: to look, and to mail to the alarm address."""
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
        # These know no resource.
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
        # These are listed, or looked for, before there is a name.
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
        # What the containers say of mails, and where each went; not what they say to tasks.
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
    """Allow to see when it was written, and its entity tag. To read it is another thing."""
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
        # The whole account's; each question costs $0.01.
        _allow("AskWhatItCosts", ["ce:GetCostAndUsage"], ["*"]),
    ]


def _mailing_the_operator(stack: str, here: str) -> list[dict[str, Any]]:
    topic = f"arn:aws:sns:{here}:{part_name(stack, 'watch-alarms')}*"
    return [
        _allow("FindTheAlarmTopic", ["sns:ListTopics"], ["*"]),
        _allow("MailTheAlarmAddress", ["sns:Publish"], [topic]),
    ]


def _reading_workmail(account: str) -> list[dict[str, Any]]:
    """Allow to read who is there; WorkMail may be in another region than the stack."""
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
        # A recovery point's name does not tell its vault; the role reaches this stack's store only.
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
    """Give where the directory lies, as BUCKET/KEY."""
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
