"""Who may mount the mailboxes, and who backs them up."""

from collections.abc import Sequence
from typing import Any

from deployment.documents import Statement, document


def file_system(
    file_system_arn: str,
    access_point_arns: Sequence[str],
    whole_arn: str,
    account: str,
    restoring: str,
) -> str:
    """Deny clients without TLS, those that bypass the access points, and those without IAM.

    There is no Allow for anybody: a client needs a role in this account that may mount. Only the
    role whose name begins with `restoring` may use the access point for the whole file system.
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
            {"ArnNotEquals": {"elasticfilesystem:AccessPointArn": [*access_point_arns, whole_arn]}},
        ),
        deny(
            "WholeForRestoresOnly",
            {
                "ArnEquals": {"elasticfilesystem:AccessPointArn": whole_arn},
                "ArnNotLike": {"aws:PrincipalArn": f"arn:aws:iam::{account}:role/{restoring}*"},
            },
        ),
        deny("OurAccountOnly", {"StringNotEquals": {"aws:PrincipalAccount": account}}),
    )


def backup_trust(account: str) -> str:
    """Allow AWS Backup to act for this account."""
    return document(
        {
            "Sid": "Backup",
            "Effect": "Allow",
            "Principal": {"Service": "backup.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"aws:SourceAccount": account}},
        }
    )
