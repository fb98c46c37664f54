"""The policy documents of the stack as plain data: no Pulumi here, so that tests can evaluate them.

Each function returns the document as JSON text with its keys in order, so that the same
arguments give the same text and a deployment without changes shows none.

Sources: SES's permissions for receiving,
https://docs.aws.amazon.com/ses/latest/dg/receiving-email-permissions.html; confused deputies,
https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html; task roles,
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html.
"""

import json
from collections.abc import Sequence
from typing import Any

Statement = dict[str, Any]

STACK_TAG = "postal-plexus:stack"
"""On everything that can be tagged; the instance may act only on instances that carry its own."""


def document(*statements: Statement) -> str:
    """A policy document as JSON."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)}, sort_keys=True)


def _allow(
    sid: str,
    actions: Sequence[str],
    resources: Sequence[str],
    conditions: dict[str, Any] | None = None,
) -> Statement:
    statement: Statement = {
        "Sid": sid,
        "Effect": "Allow",
        "Action": list(actions),
        "Resource": list(resources),
    }
    if conditions:
        statement["Condition"] = conditions
    return statement


def _from_rules(account: str, rule_set_arn: str) -> dict[str, Any]:
    """SES acting for the rules of our rule set, and for nobody else's."""
    return {
        "StringEquals": {"aws:SourceAccount": account},
        "ArnLike": {"aws:SourceArn": f"{rule_set_arn}:receipt-rule/*"},
    }


def bucket_by_tls_only(bucket_arn: str) -> Statement:
    """Nobody reaches a bucket without TLS, whatever else allows it."""
    return {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [bucket_arn, f"{bucket_arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def archive_bucket(bucket_arn: str, account: str, rule_set_arn: str, prefix: str) -> str:
    """SES may write received mail under `prefix`; nobody comes without TLS."""
    return document(
        {
            "Sid": "SesWritesReceivedMail",
            "Effect": "Allow",
            "Principal": {"Service": "ses.amazonaws.com"},
            "Action": "s3:PutObject",
            "Resource": f"{bucket_arn}/{prefix}*",
            "Condition": _from_rules(account, rule_set_arn),
        },
        bucket_by_tls_only(bucket_arn),
    )


def receipt_topic(topic_arn: str, account: str, rule_set_arn: str) -> str:
    """SES may announce received mail."""
    return document(
        {
            "Sid": "SesAnnouncesReceivedMail",
            "Effect": "Allow",
            "Principal": {"Service": "ses.amazonaws.com"},
            "Action": "sns:Publish",
            "Resource": topic_arn,
            "Condition": _from_rules(account, rule_set_arn),
        }
    )


def events_topic(topic_arn: str, account: str, configuration_set_arn: str) -> str:
    """SES may report what became of mail that was sent through our configuration set."""
    return document(
        {
            "Sid": "SesReportsSentMail",
            "Effect": "Allow",
            "Principal": {"Service": "ses.amazonaws.com"},
            "Action": "sns:Publish",
            "Resource": topic_arn,
            "Condition": {
                "StringEquals": {"aws:SourceAccount": account},
                "ArnEquals": {"aws:SourceArn": configuration_set_arn},
            },
        }
    )


def queue_from_topics(queue_arn: str, topic_arns: Sequence[str]) -> str:
    """SNS may send to the queue what comes through our topics (or could not be passed on)."""
    return document(
        {
            "Sid": "TopicSends",
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": queue_arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": sorted(topic_arns)}},
        }
    )


def task_trust(account: str, region: str) -> str:
    """ECS may give the role to tasks of this account and region."""
    return document(
        {
            "Sid": "EcsTasks",
            "Effect": "Allow",
            "Principal": {"Service": "ecs-tasks.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": account},
                "ArnLike": {"aws:SourceArn": f"arn:aws:ecs:{region}:{account}:*"},
            },
        }
    )


def deliver_task(
    bucket_arn: str,
    prefix: str,
    directory_key: str,
    queue_arns: Sequence[str],
    dead_letters_arn: str,
    identity_arns: Sequence[str],
) -> str:
    """What `deliver` does: read mail and directory, consume its queues, put aside, bounce."""
    return document(
        _allow(
            "ReadMailAndDirectory",
            ["s3:GetObject"],
            [f"{bucket_arn}/{prefix}*", f"{bucket_arn}/{directory_key}"],
        ),
        # Without it S3 says 403 for an object that is not there, and "gone" looks like "denied".
        _allow("TellMissingFromDenied", ["s3:ListBucket"], [bucket_arn]),
        _allow(
            "ConsumeQueues",
            [
                "sqs:ChangeMessageVisibility",
                "sqs:DeleteMessage",
                "sqs:GetQueueAttributes",
                "sqs:ReceiveMessage",
            ],
            sorted(queue_arns),
        ),
        _allow("PutAside", ["sqs:SendMessage"], [dead_letters_arn]),
        _allow("Bounce", ["ses:SendBounce"], sorted(identity_arns)),
    )


def dovecot_task(file_system_arn: str, access_point_arn: str) -> str:
    """Dovecot mounts the mail store, through its access point only."""
    return document(
        _allow(
            "MountMailStore",
            ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"],
            [file_system_arn],
            {"ArnEquals": {"elasticfilesystem:AccessPointArn": access_point_arn}},
        )
    )


def _pull(repository_arns: Sequence[str]) -> list[Statement]:
    """Pulling images of these repositories; the token is the registry's, AWS knows no narrower."""
    return [
        _allow("RegistryToken", ["ecr:GetAuthorizationToken"], ["*"]),
        _allow(
            "PullImages",
            [
                "ecr:BatchCheckLayerAvailability",
                "ecr:BatchGetImage",
                "ecr:GetDownloadUrlForLayer",
            ],
            sorted(repository_arns),
        ),
    ]


def execution(
    log_group_arn: str, parameter_arns: Sequence[str], repository_arns: Sequence[str]
) -> str:
    """What ECS does for one task before it runs: its image, its log streams and its secrets."""
    statements = [
        _allow("Log", ["logs:CreateLogStream", "logs:PutLogEvents"], [f"{log_group_arn}:*"]),
        *_pull(repository_arns),
    ]
    if parameter_arns:
        statements.append(_allow("Secrets", ["ssm:GetParameters"], sorted(parameter_arns)))
    return document(*statements)


def file_system(file_system_arn: str, access_point_arn: str, account: str) -> str:
    """No client of the mail store without TLS, none past the access point, none unknown to IAM.

    There is no Allow for anybody: a client needs a role that may mount, in this account.
    """
    client = [
        "elasticfilesystem:ClientMount",
        "elasticfilesystem:ClientRootAccess",
        "elasticfilesystem:ClientWrite",
    ]

    def deny(sid: str, condition: dict[str, Any]) -> Statement:
        return {
            "Sid": sid,
            "Effect": "Deny",
            "Principal": {"AWS": "*"},
            "Action": client,
            "Resource": file_system_arn,
            "Condition": condition,
        }

    return document(
        deny("TlsOnly", {"Bool": {"aws:SecureTransport": "false"}}),
        deny(
            "AccessPointOnly",
            {"ArnNotEquals": {"elasticfilesystem:AccessPointArn": access_point_arn}},
        ),
        deny("OurAccountOnly", {"StringNotEquals": {"aws:PrincipalAccount": account}}),
    )


def backup_trust(account: str) -> str:
    """AWS Backup may act for this account."""
    return document(
        {
            "Sid": "Backup",
            "Effect": "Allow",
            "Principal": {"Service": "backup.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"aws:SourceAccount": account}},
        }
    )


def instance_trust() -> str:
    """EC2 may give the role to instances."""
    return document(
        {
            "Sid": "Instances",
            "Effect": "Allow",
            "Principal": {"Service": "ec2.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    )


def instance(
    account: str,
    region: str,
    stack: str,
    cluster_arn: str,
    interface_id: str,
    volume_id: str,
    repository_arns: Sequence[str],
) -> str:
    """What the host does: take the stack's address and volume, and serve its cluster."""
    ec2 = f"arn:aws:ec2:{region}:{account}"
    in_our_cluster = {"ArnEquals": {"ecs:cluster": cluster_arn}}
    container_instances = cluster_arn.replace(":cluster/", ":container-instance/") + "/*"
    return document(
        # EC2 knows no resources for its Describe calls.
        _allow("Look", ["ec2:DescribeNetworkInterfaces", "ec2:DescribeVolumes"], ["*"]),
        # The address and the volume carry the stack's tag too: all three are asked for it.
        _allow(
            "TakeAddressAndVolume",
            [
                "ec2:AttachNetworkInterface",
                "ec2:AttachVolume",
                "ec2:DetachNetworkInterface",
                "ec2:DetachVolume",
            ],
            [
                f"{ec2}:instance/*",
                f"{ec2}:network-interface/{interface_id}",
                f"{ec2}:volume/{volume_id}",
            ],
            {"StringEquals": {f"aws:ResourceTag/{STACK_TAG}": stack}},
        ),
        _allow("FindEcs", ["ecs:DiscoverPollEndpoint"], ["*"]),
        _allow(
            "JoinCluster",
            [
                "ecs:DeregisterContainerInstance",
                "ecs:RegisterContainerInstance",
                "ecs:SubmitAttachmentStateChanges",
                "ecs:SubmitContainerStateChange",
                "ecs:SubmitTaskStateChange",
            ],
            [cluster_arn],
        ),
        _allow(
            "ServeCluster",
            ["ecs:Poll", "ecs:StartTelemetrySession", "ecs:UpdateContainerInstancesState"],
            [container_instances],
            in_our_cluster,
        ),
        *_pull(repository_arns),
    )


def session_manager(account: str, region: str) -> str:
    """What a shell by Session Manager needs of the host, and no more.

    AWS's own AmazonSSMManagedInstanceCore would also let the host read every parameter of the
    account. The channels know no resources.
    https://docs.aws.amazon.com/systems-manager/latest/userguide/getting-started-create-iam-instance-profile.html
    """
    return document(
        _allow(
            "BeThere",
            ["ssm:UpdateInstanceInformation"],
            [f"arn:aws:ec2:{region}:{account}:instance/*"],
        ),
        _allow(
            "OpenSessions",
            [
                "ssmmessages:CreateControlChannel",
                "ssmmessages:CreateDataChannel",
                "ssmmessages:OpenControlChannel",
                "ssmmessages:OpenDataChannel",
            ],
            ["*"],
        ),
    )


def alarm_topic(topic_arn: str, account: str, event_rules: str) -> str:
    """CloudWatch's alarms of this account, and this stack's event rules, may tell the operator."""
    return document(
        {
            "Sid": "AlarmsTell",
            "Effect": "Allow",
            "Principal": {"Service": "cloudwatch.amazonaws.com"},
            "Action": "sns:Publish",
            "Resource": topic_arn,
            "Condition": {"StringEquals": {"aws:SourceAccount": account}},
        },
        {
            "Sid": "EventsTell",
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sns:Publish",
            "Resource": topic_arn,
            "Condition": {"ArnLike": {"aws:SourceArn": event_rules}},
        },
    )


def smtp_user(account: str, region: str, domains: Sequence[str], configuration_set: str) -> str:
    """Postfix's user sends for this stack's domains, through its configuration set, and no more.

    The identity is what limits it: SES asks for the right on the one that the sender's address
    belongs to, an address's own where the account has such, else the domain's. No condition on
    ses:FromAddress, which minds upper and lower case: `Ann@Example.org` would be refused.
    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonses.html
    """
    ses = f"arn:aws:ses:{region}:{account}"
    identities = [
        f"{ses}:identity/{each}{domain}" for domain in sorted(domains) for each in ("", "*@")
    ]
    return document(
        _allow(
            "SendForOurDomains",
            ["ses:SendRawEmail"],
            [*identities, f"{ses}:configuration-set/{configuration_set}"],
        )
    )
