"""The policy documents that every build has, plain data like `documents`.

Sources: a service role for CodeBuild,
https://docs.aws.amazon.com/codebuild/latest/userguide/setting-up-service-role.html; confused
deputies, .../cross-service-confused-deputy-prevention.html.
"""

from collections.abc import Sequence

from deployment.documents import Statement, allow, document


def trust(account: str, project_arn: str) -> str:
    """Allow CodeBuild to assume the role for this one project."""
    return document(
        {
            "Sid": "Build",
            "Effect": "Allow",
            "Principal": {"Service": "codebuild.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": account, "aws:SourceArn": project_arn}
            },
        }
    )


def running(log_group_arn: str, source_arn: str) -> list[Statement]:
    """Allow what every build needs: its log and its source."""
    return [
        allow("Log", ["logs:CreateLogStream", "logs:PutLogEvents"], [f"{log_group_arn}:*"]),
        allow("ReadSource", ["s3:GetObject", "s3:GetObjectVersion"], [source_arn]),
    ]


def examination(log_group_arn: str, source_arn: str, statements: Sequence[Statement]) -> str:
    """Allow the weekly `plexus doctor` to run, with an operator's permissions for it."""
    return document(*running(log_group_arn, source_arn), *statements)
