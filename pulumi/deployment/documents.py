"""The policy documents of the stack as plain data: no Pulumi here, so that tests can evaluate them.

Each function returns the document as JSON text with its keys in order, so that the same
arguments give the same text and a deployment without changes shows none.

The documents are in the modules beside this one, by what they are about.
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


def allow(
    sid: str,
    actions: Sequence[str],
    resources: Sequence[str],
    conditions: dict[str, Any] | None = None,
) -> Statement:
    """A statement that allows actions on resources."""
    statement: Statement = {
        "Sid": sid,
        "Effect": "Allow",
        "Action": list(actions),
        "Resource": list(resources),
    }
    if conditions:
        statement["Condition"] = conditions
    return statement


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


def pull(repository_arns: Sequence[str]) -> list[Statement]:
    """Pulling images of these repositories; the token is the registry's, AWS knows no narrower."""
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
