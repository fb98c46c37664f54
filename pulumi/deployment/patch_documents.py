"""The policy documents of the weekly patches, plain data like `documents`.

Sources: a service role for CodeBuild,
https://docs.aws.amazon.com/codebuild/latest/userguide/setting-up-service-role.html; confused
deputies, .../cross-service-confused-deputy-prevention.html; what ECS and ECR know as resources,
https://docs.aws.amazon.com/service-authorization/latest/reference/.
"""

from collections.abc import Sequence
from typing import Any

from deployment.documents import STACK_TAG, document


def _allow(
    sid: str, actions: Sequence[str], resources: Sequence[str], **conditions: Any
) -> dict[str, Any]:
    statement: dict[str, Any] = {
        "Sid": sid,
        "Effect": "Allow",
        "Action": list(actions),
        "Resource": sorted(resources),
    }
    return statement | ({"Condition": conditions} if conditions else {})


def build_trust(account: str, project_arn: str) -> str:
    """Allow CodeBuild to take the role for this one project."""
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


def build(  # noqa: PLR0913  one for each thing that it may touch
    *,
    stack: str,
    account: str,
    region: str,
    log_group_arn: str,
    source_arn: str,
    repository_arns: Sequence[str],
    cluster_arn: str,
    service_arns: Sequence[str],
    family_arns: Sequence[str],
    role_arns: Sequence[str],
) -> str:
    """Allow the build to read its source, push the stack's images, and deploy them to its services.

    It may register task definitions only for the roles of the stack's tasks, and with the stack's
    tag. It cannot read mail, the directory, or secrets.
    """
    in_our_cluster = {"ecs:cluster": cluster_arn}
    tasks = cluster_arn.replace(":cluster/", ":task/") + "/*"
    instances = f"arn:aws:ecs:{region}:{account}:container-instance/*"
    return document(
        _allow("Log", ["logs:CreateLogStream", "logs:PutLogEvents"], [f"{log_group_arn}:*"]),
        _allow("ReadSource", ["s3:GetObject", "s3:GetObjectVersion"], [source_arn]),
        _allow("RegistryToken", ["ecr:GetAuthorizationToken"], ["*"]),
        _allow(
            "PushImages",
            [
                "ecr:BatchCheckLayerAvailability",
                "ecr:BatchGetImage",
                "ecr:CompleteLayerUpload",
                "ecr:DescribeImages",
                "ecr:GetDownloadUrlForLayer",
                "ecr:InitiateLayerUpload",
                "ecr:PutImage",
                "ecr:UploadLayerPart",
            ],
            repository_arns,
        ),
        # ECS does not support resources for describing task definitions.
        _allow("LookAtDefinitions", ["ecs:DescribeTaskDefinition"], ["*"]),
        _allow(
            "MakeRevisions",
            ["ecs:RegisterTaskDefinition"],
            [f"{arn}:*" for arn in family_arns],
            StringEquals={f"aws:RequestTag/{STACK_TAG}": stack},
        ),
        _allow(
            "TagRevisions",
            ["ecs:TagResource"],
            [f"{arn}:*" for arn in family_arns],
            StringEquals={"ecs:CreateAction": "RegisterTaskDefinition"},
        ),
        _allow(
            "GiveTasksTheirRoles",
            ["iam:PassRole"],
            role_arns,
            StringEquals={"iam:PassedToService": "ecs-tasks.amazonaws.com"},
        ),
        _allow(
            "UpdateServices",
            ["ecs:DescribeServices", "ecs:UpdateService"],
            service_arns,
            ArnEquals=in_our_cluster,
        ),
        _allow("FindTasks", ["ecs:ListTasks"], [instances], ArnEquals=in_our_cluster),
        _allow("LookAtTasks", ["ecs:DescribeTasks"], [tasks], ArnEquals=in_our_cluster),
    )
