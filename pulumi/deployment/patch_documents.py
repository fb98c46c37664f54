"""The policy documents of the weekly patches, plain data like `documents`.

Source: what ECS and ECR know as resources,
https://docs.aws.amazon.com/service-authorization/latest/reference/.
"""

from collections.abc import Sequence

from deployment.build_documents import running
from deployment.documents import STACK_TAG, allow, any_of, document
from postal_plexus.config.names import patterns_of_hosts


def build(  # noqa: PLR0913  one for each thing that it may touch
    *,
    stack: str,
    account: str,
    region: str,
    log_group_arn: str,
    source_arn: str,
    repository_arns: Sequence[str],
    cluster_arns: Sequence[str],
    service_arns: Sequence[str],
    family_arns: Sequence[str],
    role_arns: Sequence[str],
) -> str:
    """Allow the build to read its source, push the stack's images, and deploy them to its services.

    It may register task definitions only for the roles of the stack's tasks, and with the stack's
    tag. It cannot read mail, the directory, or secrets.
    """
    clusters = patterns_of_hosts(stack, cluster_arns)
    # ArnEquals compares as ArnLike does, with patterns.
    in_our_clusters = {"ArnEquals": {"ecs:cluster": any_of(clusters)}}
    families = [f"{arn}:*" for arn in patterns_of_hosts(stack, family_arns)]
    tasks = [each.replace(":cluster/", ":task/") + "/*" for each in clusters]
    instances = f"arn:aws:ecs:{region}:{account}:container-instance/*"
    return document(
        *running(log_group_arn, source_arn),
        allow("RegistryToken", ["ecr:GetAuthorizationToken"], ["*"]),
        allow(
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
            sorted(repository_arns),
        ),
        # ECS does not support resources for describing task definitions.
        allow("LookAtDefinitions", ["ecs:DescribeTaskDefinition"], ["*"]),
        allow(
            "MakeRevisions",
            ["ecs:RegisterTaskDefinition"],
            families,
            {"StringEquals": {f"aws:RequestTag/{STACK_TAG}": stack}},
        ),
        allow(
            "TagRevisions",
            ["ecs:TagResource"],
            families,
            {"StringEquals": {"ecs:CreateAction": "RegisterTaskDefinition"}},
        ),
        allow(
            "GiveTasksTheirRoles",
            ["iam:PassRole"],
            patterns_of_hosts(stack, role_arns),
            {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
        ),
        allow(
            "UpdateServices",
            ["ecs:DescribeServices", "ecs:UpdateService"],
            patterns_of_hosts(stack, service_arns),
            in_our_clusters,
        ),
        allow("FindTasks", ["ecs:ListTasks"], [instances], in_our_clusters),
        allow("LookAtTasks", ["ecs:DescribeTasks"], tasks, in_our_clusters),
    )
