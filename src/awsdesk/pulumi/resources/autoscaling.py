"""Auto Scaling: the group of one that replaces the mail host.

The emulator starts no instance from it, and the desk needs none.
"""

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
    pascal,
)


def _arguments(inputs: Inputs) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "MinSize": inputs["minSize"],
        "MaxSize": inputs["maxSize"],
        "DesiredCapacity": inputs["desiredCapacity"],
        "VPCZoneIdentifier": ",".join(inputs["vpcZoneIdentifiers"]),
        "HealthCheckType": inputs["healthCheckType"],
        "HealthCheckGracePeriod": inputs["healthCheckGracePeriod"],
    }
    if inputs.get("launchTemplate"):
        template: dict[str, Any] = inputs["launchTemplate"]
        arguments["LaunchTemplate"] = {
            "LaunchTemplateId": template["id"],
            "Version": str(template["version"]),
        }
    if inputs.get("mixedInstancesPolicy"):
        arguments["MixedInstancesPolicy"] = pascal(inputs["mixedInstancesPolicy"])
    if inputs.get("maxInstanceLifetime"):
        arguments["MaxInstanceLifetime"] = inputs["maxInstanceLifetime"]
    return arguments


def _create(aws: Aws, logical_name: str, inputs: Inputs) -> Made:
    name = auto_name(inputs, "name", logical_name)
    tags = [
        {
            "Key": tag["key"],
            "Value": tag["value"],
            "PropagateAtLaunch": tag["propagateAtLaunch"],
            "ResourceId": name,
            "ResourceType": "auto-scaling-group",
        }
        for tag in objects(inputs, "tags")
    ]
    aws.client("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName=name, Tags=tags, **_arguments(inputs)
    )
    return Made(name, {"name": name, "arn": aws.arn("autoscaling", f"autoScalingGroup:x:{name}")})


def _update(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    aws.client("autoscaling").update_auto_scaling_group(
        AutoScalingGroupName=existing.id, **_arguments(inputs)
    )
    return dict(existing.outputs)


def _delete(aws: Aws, existing: Existing) -> None:
    aws.client("autoscaling").delete_auto_scaling_group(
        AutoScalingGroupName=existing.id, ForceDelete=True
    )


TYPES = (
    ResourceType(
        "aws:autoscaling/group:Group",
        _create,
        _delete,
        _update,
        properties=frozenset(
            {
                "desiredCapacity",
                "healthCheckGracePeriod",
                "healthCheckType",
                "launchTemplate",
                "maxInstanceLifetime",
                "maxSize",
                "minSize",
                "mixedInstancesPolicy",
                "tags",
                "vpcZoneIdentifiers",
            }
        ),
        replaces=frozenset({"name"}),
        # What happens to instances, of which the desk has none.
        recorded=frozenset({"instanceRefresh", "waitForCapacityTimeout"}),
    ),
)
