"""What the containers may do, and what ECS may do to start them.

Source: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html.
"""

from collections.abc import Sequence

from deployment.documents import Statement, allow, document, pull


def task_trust(account: str, region: str) -> str:
    """Allow ECS to give the role to tasks of this account and region."""
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


def deliver_task(  # noqa: PLR0913, PLR0917  what it may use
    bucket_arn: str,
    prefix: str,
    records_prefix: str,
    directory_key: str,
    queue_arns: Sequence[str],
    dead_letters_arn: str,
    identity_arns: Sequence[str],
    versions_arn: str = "",
) -> str:
    """Allow what `deliver` does: read mail and directory, use its queues, record, bounce.

    It writes records of deliveries but cannot read them, and cannot change the messages.
    `versions_arn`: the bucket of the directory's versions, if the stack has several hosts.
    """
    versions = [
        allow("FindVersions", ["s3:ListBucketVersions"], [versions_arn]),
        allow(
            "ReadVersions",
            ["s3:GetObject", "s3:GetObjectVersion"],
            [f"{versions_arn}/{directory_key}"],
        ),
        allow("TellMissingVersions", ["s3:ListBucket"], [versions_arn]),
    ]
    directory = [f"{bucket_arn}/{directory_key}"] if not versions_arn else []
    return document(
        allow("ReadMailAndDirectory", ["s3:GetObject"], [f"{bucket_arn}/{prefix}*", *directory]),
        *(versions if versions_arn else ()),
        # Without it S3 answers 403 for a missing object, and "missing" looks like "denied".
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


def _mount(file_system_arn: str, access_point_arn: str, sid: str = "MountMailStore") -> Statement:
    return allow(
        sid,
        ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"],
        [file_system_arn],
        {"ArnEquals": {"elasticfilesystem:AccessPointArn": access_point_arn}},
    )


def web_task(file_system_arn: str, access_point_arn: str) -> str:
    """Allow the web container to mount the calendars, only through their access point."""
    return document(_mount(file_system_arn, access_point_arn, "MountCalendars"))


def calendars_task(file_system_arn: str, access_point_arn: str, moved: str) -> str:
    """Allow an operator's task to mount the calendars, and to move them."""
    return document(
        _mount(file_system_arn, access_point_arn, "MountCalendars"),
        allow("MoveCalendars", ["s3:GetObject", "s3:PutObject"], [moved]),
    )


def dovecot_task(file_system_arn: str, access_point_arn: str) -> str:
    """Allow Dovecot to mount the mail store, only through its access point."""
    return document(_mount(file_system_arn, access_point_arn))


def maintenance_dovecot_task(
    file_system_arn: str, access_point_arn: str, handed_over: str, moved: str
) -> str:
    """Allow an operator's task to mount it, to take what is passed to it, and to move mail."""
    return document(
        _mount(file_system_arn, access_point_arn),
        allow("TakeWhatIsHandedOver", ["ssm:DeleteParameter", "ssm:GetParameter"], [handed_over]),
        allow("MoveMail", ["s3:GetObject", "s3:PutObject"], [moved]),
    )


def restoring_task(file_system_arn: str, access_point_arn: str, whole_arn: str) -> str:
    """Allow the restore task to mount mail as Dovecot does, and the whole file system as root."""
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
    """Allow what ECS does before a task runs: get its image, log streams and secrets."""
    statements = [
        allow("Log", ["logs:CreateLogStream", "logs:PutLogEvents"], [f"{log_group_arn}:*"]),
        *pull(repository_arns),
    ]
    if parameter_arns:
        statements.append(allow("Secrets", ["ssm:GetParameters"], sorted(parameter_arns)))
    return document(*statements)
