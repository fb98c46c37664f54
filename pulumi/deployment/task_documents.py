"""What the containers may do, and what ECS may do to start them.

Source: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html.
"""

from collections.abc import Sequence

from deployment.documents import Statement, allow, document, pull


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
    records_prefix: str,
    directory_key: str,
    queue_arns: Sequence[str],
    dead_letters_arn: str,
    identity_arns: Sequence[str],
) -> str:
    """What `deliver` does: read mail and directory, consume its queues, record, put aside, bounce.

    Records of deliveries it writes and never reads; the mails themselves it cannot change.
    """
    return document(
        allow(
            "ReadMailAndDirectory",
            ["s3:GetObject"],
            [f"{bucket_arn}/{prefix}*", f"{bucket_arn}/{directory_key}"],
        ),
        # Without it S3 says 403 for an object that is not there, and "gone" looks like "denied".
        allow("TellMissingFromDenied", ["s3:ListBucket"], [bucket_arn]),
        allow(
            "ConsumeQueues",
            [
                "sqs:ChangeMessageVisibility",
                "sqs:DeleteMessage",
                "sqs:GetQueueAttributes",
                "sqs:ReceiveMessage",
            ],
            sorted(queue_arns),
        ),
        allow("RecordDeliveries", ["s3:PutObject"], [f"{bucket_arn}/{records_prefix}*"]),
        allow("PutAside", ["sqs:SendMessage"], [dead_letters_arn]),
        allow("Bounce", ["ses:SendBounce"], sorted(identity_arns)),
    )


def _mount(file_system_arn: str, access_point_arn: str) -> Statement:
    return allow(
        "MountMailStore",
        ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"],
        [file_system_arn],
        {"ArnEquals": {"elasticfilesystem:AccessPointArn": access_point_arn}},
    )


def dovecot_task(file_system_arn: str, access_point_arn: str) -> str:
    """Dovecot mounts the mail store, through its access point only."""
    return document(_mount(file_system_arn, access_point_arn))


def maintenance_dovecot_task(
    file_system_arn: str, access_point_arn: str, handed_over: str, exports: str
) -> str:
    """An operator's task mounts it as well, takes what is handed over to it, and brings exports."""
    return document(
        _mount(file_system_arn, access_point_arn),
        allow("TakeWhatIsHandedOver", ["ssm:DeleteParameter", "ssm:GetParameter"], [handed_over]),
        allow("BringExports", ["s3:PutObject"], [exports]),
    )


def restoring_task(file_system_arn: str, access_point_arn: str, whole_arn: str) -> str:
    """The task that takes what was restored mounts mails as Dovecot does, and the whole as root."""
    return document(
        _mount(file_system_arn, access_point_arn),
        allow(
            "MountWholeStore",
            [
                "elasticfilesystem:ClientMount",
                "elasticfilesystem:ClientRootAccess",
                "elasticfilesystem:ClientWrite",
            ],
            [file_system_arn],
            {"ArnEquals": {"elasticfilesystem:AccessPointArn": whole_arn}},
        ),
    )


def execution(
    log_group_arn: str, parameter_arns: Sequence[str], repository_arns: Sequence[str]
) -> str:
    """What ECS does for one task before it runs: its image, its log streams and its secrets."""
    statements = [
        allow("Log", ["logs:CreateLogStream", "logs:PutLogEvents"], [f"{log_group_arn}:*"]),
        *pull(repository_arns),
    ]
    if parameter_arns:
        statements.append(allow("Secrets", ["ssm:GetParameters"], sorted(parameter_arns)))
    return document(*statements)
