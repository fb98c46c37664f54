"""The permissions of operators: a policy document for the commands of `plexus` on one stack. Pure.

There are three sizes. Read only: `doctor`, `dead-letters list|show`, and the account's cost. By
default also changes: dead letters, the mail queue, mailboxes and imports by tasks on the mail host,
mail to the alarm address (`doctor --mail`), and, with several hosts, `failover`. With `mail` also
access to received mail (`reports`, `replay`, `export`, a message in transit in `trace`) and to the
directory, which contains password hashes (`replay`, `restore`); without it operators see envelopes
and headers. Both together permit `restore`. With `workmail` also reading the account's WorkMail
organisations (`import workmail-users`), a separate permission because it is another service, needed
once.

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
    patterns_of_hosts,
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
        parts: the names of its parts, with `other_hosts` (`System.parts`).
        acts: whether it permits changes.
        mail: whether it permits reading received mail.
        workmail: whether it permits reading WorkMail's users.
    """
    here = f"{parts['region']}:{account}"
    statements = [*_examining(stack, here, parts), *_reading(stack, here, parts)]
    if acts:
        statements += _acting(stack, account, here, parts)
    bucket = f"arn:aws:s3:::{parts['bucket']}"
    if acts and len(_hosts(parts)) > 1:
        statements += _failing_over(stack, here, parts)
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
    if not mail or not _directory_of(parts).startswith(f"{parts['bucket']}/"):
        statements.append(_dating_the_directory(parts))
    if workmail:
        statements += _reading_workmail(account)
    if acts and mail and parts.get("backup_vault"):
        statements += _restoring(stack, here, parts)
    return json.dumps({"Version": "2012-10-17", "Statement": _joined(statements)}, indent=2)


def _joined(statements: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join statements about the same resources: a managed policy has at most 6,144 characters."""
    found: dict[str, dict[str, Any]] = {}
    for each in statements:
        about = json.dumps([each["Resource"], each.get("Condition")])
        known = found.setdefault(about, each)
        known["Action"] = sorted({*known["Action"], *each["Action"]})
    return list(found.values())


def examination(stack: str, account: str, parts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the statements for the weekly `doctor`: checks, and mail to the alarm address."""
    here = f"{parts['region']}:{account}"
    return [
        *_examining(stack, here, parts),
        _dating_the_directory(parts),
        *_mailing_the_operator(stack, here),
    ]


def _hosts(parts: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the parts of each host."""
    return [parts, *parts.get("other_hosts", ())]


def _queues(stack: str, here: str, parts: Mapping[str, Any], *names: str) -> list[str]:
    """Return the ARNs of these queues of all hosts; in a stack of one host in this order."""
    arns = [_queue(here, host[name]) for host in _hosts(parts) for name in names]
    return patterns_of_hosts(stack, arns) if len(arns) > len(names) else arns


def _clusters(stack: str, parts: Mapping[str, Any]) -> list[str]:
    return patterns_of_hosts(stack, [host["cluster"] for host in _hosts(parts)])


def _examining(stack: str, here: str, parts: Mapping[str, Any]) -> list[dict[str, Any]]:
    queues = ("queue_url", "events_queue_url", "dead_letter_queue_url")
    return [
        _allow(
            "FindTheStack",
            ["ssm:GetParameter"],
            [
                f"arn:aws:ssm:{here}:parameter{system_parameter(stack)}{each}"
                for each in ("", "-*")[: len(_hosts(parts))]
            ],
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
            [f"arn:aws:ecs:{here}:service/{each}/*" for each in _clusters(stack, parts)],
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
            _queues(stack, here, parts, *queues),
        ),
        # The containers' logs about messages, but not the output of tasks.
        _allow(
            "ReadLogs",
            ["logs:DescribeLogStreams", "logs:FilterLogEvents"],
            [
                f"arn:aws:logs:{here}:log-group:{group}:*"
                for group in patterns_of_hosts(
                    stack,
                    [
                        group
                        for host in _hosts(parts)
                        for name, group in sorted(host["log_groups"].items())
                        if name != "maintenance"
                    ],
                )
            ],
        ),
    ]


def _dating_the_directory(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Permit reading the directory's date and entity tag, but not its content."""
    bucket, _, prefix = _directory_of(parts).partition("/")
    condition = {"StringEquals": {"s3:prefix": prefix}}
    return _allow("LookAtTheDirectory", ["s3:ListBucket"], [f"arn:aws:s3:::{bucket}"], condition)


def _reading(stack: str, here: str, parts: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        _allow(
            "ReadDeadLetters",
            ["sqs:ChangeMessageVisibility", "sqs:ReceiveMessage"],
            _queues(stack, here, parts, "dead_letter_queue_url"),
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
    clusters = [f"arn:aws:ecs:{here}:cluster/{each}" for each in _clusters(stack, parts)]
    tasks = [f"arn:aws:ecs:{here}:task/{each}/*" for each in _clusters(stack, parts)]
    # ArnEquals compares as ArnLike does, with patterns.
    in_cluster = {"ArnEquals": {"ecs:cluster": clusters if clusters[1:] else clusters[0]}}
    handed_over = f"arn:aws:ssm:{here}:parameter{hand_over_prefix(stack)}*"
    return [
        _allow(
            "DropDeadLetters",
            ["sqs:DeleteMessage"],
            _queues(stack, here, parts, "dead_letter_queue_url"),
        ),
        *_mailing_the_operator(stack, here),
        _allow("DeliverDeadLetters", ["sqs:SendMessage"], _queues(stack, here, parts, "queue_url")),
        _allow(
            "RunTasks",
            ["ecs:RunTask"],
            [f"arn:aws:ecs:{here}:task-definition/{part_name(stack, 'maintenance')}-*"],
            in_cluster,
        ),
        _allow("FindTasks", ["ecs:ListTasks"], ["*"], in_cluster),
        _allow("FollowAndStopTasks", ["ecs:DescribeTasks", "ecs:StopTask"], tasks),
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


def _failing_over(stack: str, here: str, parts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Permit `failover`: to see that a host's instance is gone, and to keep it away meanwhile."""
    groups = patterns_of_hosts(stack, [host["host_group"] for host in _hosts(parts)])
    return [
        _allow("LookAtInstances", ["ec2:DescribeInstances"], ["*"]),
        _allow(
            "KeepALostHostAway",
            ["autoscaling:ResumeProcesses", "autoscaling:SuspendProcesses"],
            [
                f"arn:aws:autoscaling:{here}:autoScalingGroup:*:autoScalingGroupName/{each}"
                for each in groups
            ],
        ),
    ]


def _restoring(stack: str, here: str, parts: Mapping[str, Any]) -> list[dict[str, Any]]:
    dovecots = [
        f"arn:aws:ecs:{here}:service/{host['cluster']}/{host['services']['dovecot']}"
        for host in _hosts(parts)
    ]
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
            patterns_of_hosts(stack, dovecots),
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
