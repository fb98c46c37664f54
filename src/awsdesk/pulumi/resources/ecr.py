"""ECR: the repositories of the images. The desk's own images never go there."""

from typing import Any

from awsdesk.pulumi.resources.resource_type import (
    Aws,
    Existing,
    Inputs,
    Made,
    Outputs,
    ResourceType,
    auto_name,
    tag_list,
)


def _create(aws: Aws, logical_name: str, inputs: Inputs) -> Made:
    name = auto_name(inputs, "name", logical_name)
    arguments: dict[str, Any] = {
        "repositoryName": name,
        "imageTagMutability": inputs.get("imageTagMutability", "MUTABLE"),
        "tags": tag_list(inputs),
    }
    if inputs.get("imageScanningConfiguration"):
        arguments["imageScanningConfiguration"] = inputs["imageScanningConfiguration"]
    made = aws.client("ecr").create_repository(**arguments)["repository"]
    return Made(
        name,
        {
            "name": name,
            "arn": made["repositoryArn"],
            "repositoryUrl": made["repositoryUri"],
            "registryId": made["registryId"],
        },
    )


def _update(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    ecr = aws.client("ecr")
    ecr.put_image_tag_mutability(
        repositoryName=existing.id, imageTagMutability=inputs.get("imageTagMutability", "MUTABLE")
    )
    ecr.put_image_scanning_configuration(
        repositoryName=existing.id,
        imageScanningConfiguration=inputs.get("imageScanningConfiguration")
        or {"scanOnPush": False},
    )
    return dict(existing.outputs)


def _delete(aws: Aws, existing: Existing) -> None:
    aws.client("ecr").delete_repository(
        repositoryName=existing.id, force=bool(existing.inputs.get("forceDelete"))
    )


def _put_lifecycle(aws: Aws, repository: str, inputs: Inputs) -> None:
    aws.client("ecr").put_lifecycle_policy(
        repositoryName=repository, lifecyclePolicyText=inputs["policy"]
    )


def _create_lifecycle(aws: Aws, _name: str, inputs: Inputs) -> Made:
    _put_lifecycle(aws, inputs["repository"], inputs)
    return Made(inputs["repository"])


def _update_lifecycle(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    _put_lifecycle(aws, existing.id, inputs)
    return dict(existing.outputs)


def _delete_lifecycle(aws: Aws, existing: Existing) -> None:
    aws.client("ecr").delete_lifecycle_policy(repositoryName=existing.id)


TYPES = (
    ResourceType(
        "aws:ecr/repository:Repository",
        _create,
        _delete,
        _update,
        properties=frozenset({"forceDelete", "imageScanningConfiguration", "imageTagMutability"}),
        replaces=frozenset({"name"}),
        recorded=frozenset({"tags", "tagsAll"}),
    ),
    ResourceType(
        "aws:ecr/lifecyclePolicy:LifecyclePolicy",
        _create_lifecycle,
        _delete_lifecycle,
        _update_lifecycle,
        properties=frozenset({"policy"}),
        replaces=frozenset({"repository"}),
    ),
)
