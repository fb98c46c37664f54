"""ECS: the cluster, the task definitions that containers are started from, and the services."""

import json
from typing import Any

from awsdesk.pulumi.resources.resource_type import (
    Aws,
    Existing,
    Inputs,
    Made,
    Outputs,
    ResourceType,
    auto_name,
    objects,
    tag_list,
)


def _tags(inputs: Inputs) -> list[dict[str, str]]:
    return tag_list(inputs, "key", "value")


def _create_cluster(aws: Aws, logical_name: str, inputs: Inputs) -> Made:
    name = auto_name(inputs, "name", logical_name)
    made = aws.client("ecs").create_cluster(
        clusterName=name, settings=inputs.get("settings") or [], tags=_tags(inputs)
    )["cluster"]
    # Terraform's id of a cluster is its ARN.
    return Made(made["clusterArn"], {"name": name, "arn": made["clusterArn"]})


def _update_cluster(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    aws.client("ecs").update_cluster_settings(
        cluster=existing.id, settings=inputs.get("settings") or []
    )
    return dict(existing.outputs)


def _delete_cluster(aws: Aws, existing: Existing) -> None:
    aws.client("ecs").delete_cluster(cluster=existing.id)


def _volume(volume: dict[str, Any]) -> dict[str, Any]:
    """Return a volume for ECS's API: Terraform flattens `host.sourcePath` to `host_path`."""
    put: dict[str, Any] = {"name": volume["name"]}
    if volume.get("hostPath"):
        put["host"] = {"sourcePath": volume["hostPath"]}
    if volume.get("efsVolumeConfiguration"):
        put["efsVolumeConfiguration"] = volume["efsVolumeConfiguration"]
    if volume.get("dockerVolumeConfiguration"):
        put["dockerVolumeConfiguration"] = volume["dockerVolumeConfiguration"]
    return put


def _register(aws: Aws, _name: str, inputs: Inputs) -> Made:
    arguments: dict[str, Any] = {
        "family": inputs["family"],
        "containerDefinitions": json.loads(inputs["containerDefinitions"]),
        "volumes": [_volume(volume) for volume in objects(inputs, "volumes")],
        "tags": _tags(inputs),
    }
    for name in ("networkMode", "taskRoleArn", "executionRoleArn", "cpu", "memory"):
        if inputs.get(name):
            arguments[name] = inputs[name]
    if inputs.get("requiresCompatibilities"):
        arguments["requiresCompatibilities"] = inputs["requiresCompatibilities"]
    made = aws.client("ecs").register_task_definition(**arguments)["taskDefinition"]
    arn = str(made["taskDefinitionArn"])
    return Made(
        inputs["family"],
        {
            "arn": arn,
            "arnWithoutRevision": arn.rsplit(":", 1)[0],
            "revision": made["revision"],
        },
    )


def _deregister(aws: Aws, existing: Existing) -> None:
    aws.client("ecs").deregister_task_definition(taskDefinition=existing.outputs["arn"])


def _deployment(inputs: Inputs) -> dict[str, Any]:
    deployment: dict[str, Any] = {}
    if inputs.get("deploymentMaximumPercent") is not None:
        deployment["maximumPercent"] = inputs["deploymentMaximumPercent"]
    if inputs.get("deploymentMinimumHealthyPercent") is not None:
        deployment["minimumHealthyPercent"] = inputs["deploymentMinimumHealthyPercent"]
    if inputs.get("deploymentCircuitBreaker"):
        deployment["deploymentCircuitBreaker"] = inputs["deploymentCircuitBreaker"]
    return deployment


def _create_service(aws: Aws, logical_name: str, inputs: Inputs) -> Made:
    name = auto_name(inputs, "name", logical_name)
    arguments: dict[str, Any] = {
        "cluster": inputs["cluster"],
        "serviceName": name,
        "taskDefinition": inputs["taskDefinition"],
        "desiredCount": inputs.get("desiredCount", 0),
        "deploymentConfiguration": _deployment(inputs),
        "tags": _tags(inputs),
    }
    for option in (
        "launchType",
        "capacityProviderStrategies",
        "enableExecuteCommand",
        "enableEcsManagedTags",
        "propagateTags",
    ):
        if inputs.get(option):
            arguments[_SERVICE_ARGUMENTS.get(option, option)] = inputs[option]
    made = aws.client("ecs").create_service(**arguments)["service"]
    return Made(made["serviceArn"], {"name": name, "arn": made["serviceArn"]})


_SERVICE_ARGUMENTS = {
    "capacityProviderStrategies": "capacityProviderStrategy",
    "enableEcsManagedTags": "enableECSManagedTags",
}


def _update_service(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    arguments: dict[str, Any] = {
        "cluster": inputs["cluster"],
        "service": existing.id,
        "taskDefinition": inputs["taskDefinition"],
        "desiredCount": inputs.get("desiredCount", 0),
        "deploymentConfiguration": _deployment(inputs),
    }
    if inputs.get("capacityProviderStrategies"):
        arguments["capacityProviderStrategy"] = inputs["capacityProviderStrategies"]
    aws.client("ecs").update_service(**arguments)
    return dict(existing.outputs)


def _delete_service(aws: Aws, existing: Existing) -> None:
    aws.client("ecs").delete_service(
        cluster=existing.inputs["cluster"], service=existing.id, force=True
    )


TYPES = (
    ResourceType(
        "aws:ecs/cluster:Cluster",
        _create_cluster,
        _delete_cluster,
        _update_cluster,
        properties=frozenset({"settings", "tags", "tagsAll"}),
        replaces=frozenset({"name"}),
    ),
    ResourceType(
        "aws:ecs/taskDefinition:TaskDefinition",
        _register,
        _deregister,
        replaces=frozenset(
            {
                "containerDefinitions",
                "cpu",
                "executionRoleArn",
                "family",
                "memory",
                "networkMode",
                "requiresCompatibilities",
                "tags",
                "tagsAll",
                "taskRoleArn",
                "volumes",
            }
        ),
    ),
    ResourceType(
        "aws:ecs/service:Service",
        _create_service,
        _delete_service,
        _update_service,
        properties=frozenset(
            {
                "capacityProviderStrategies",
                "deploymentCircuitBreaker",
                "deploymentMaximumPercent",
                "deploymentMinimumHealthyPercent",
                "desiredCount",
                "enableEcsManagedTags",
                "enableExecuteCommand",
                "propagateTags",
                "tags",
                "tagsAll",
                "taskDefinition",
            }
        ),
        replaces=frozenset({"cluster", "launchType", "name", "schedulingStrategy"}),
        # Whether Pulumi waits for a stable service; the desk waits in its own way.
        recorded=frozenset({"waitForSteadyState"}),
    ),
)
