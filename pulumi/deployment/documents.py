"""The policy documents of the stack as plain data: no Pulumi here, so that tests can evaluate them.

Each function returns the document as JSON text with its keys in order, so that equal arguments
produce equal text and a deployment without changes shows none.

The documents are in the modules beside this one, by topic.
"""

import json
from collections.abc import Sequence
from typing import Any

# The instance may use only what has its own.
from postal_plexus.config.names import STACK_TAG

Statement = dict[str, Any]

__all__ = ["STACK_TAG", "Statement", "allow", "any_of", "bucket_by_tls_only", "document", "pull"]


def document(*statements: Statement) -> str:
    """Return a policy document as JSON."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)}, sort_keys=True)


def allow(
    sid: str,
    actions: Sequence[str],
    resources: Sequence[str],
    conditions: dict[str, Any] | None = None,
) -> Statement:
    """Return a statement that allows actions on resources."""
    statement: Statement = {
        "Sid": sid,
        "Effect": "Allow",
        "Action": list(actions),
        "Resource": list(resources),
    }
    if conditions:
        statement["Condition"] = conditions
    return statement


def any_of(values: Sequence[str]) -> str | list[str]:
    """Return a condition's values; a single one as itself, so that one host's document is short."""
    return values[0] if len(values) == 1 else list(values)


def bucket_by_tls_only(bucket_arn: str) -> Statement:
    """Return a statement that denies access to a bucket without TLS."""
    return {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [bucket_arn, f"{bucket_arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def pull(repository_arns: Sequence[str]) -> list[Statement]:
    """Allow pulling images from these repositories.

    The token is for the whole registry, by AWS's design.
    """
    return [
        allow("RegistryToken", ["ecr:GetAuthorizationToken"], ["*"]),
        allow(
            "PullImages",
            [
                "ecr:BatchCheckLayerAvailability",
                "ecr:BatchGetImage",
                "ecr:GetDownloadUrlForLayer",
            ],
            sorted(repository_arns),
        ),
    ]
