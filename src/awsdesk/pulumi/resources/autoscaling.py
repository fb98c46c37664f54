"""Auto Scaling groups of one instance each: which says that the host exists, and runs nothing."""

from typing import Any

from awsdesk.instances import GROUP_TAG
from awsdesk.pulumi.resources.resource_type import (
    Aws,
    Existing,
    Inputs,
    Made,
    ResourceType,
    auto_name,
)

_RECORDED = (
    "desiredCapacity healthCheckGracePeriod healthCheckType instanceRefresh launchTemplate"
    " maxInstanceLifetime maxSize minSize mixedInstancesPolicy tags vpcZoneIdentifiers"
    " waitForCapacityTimeout"
)


def _create(aws: Aws, logical_name: str, inputs: Inputs) -> Made:
    name = auto_name(inputs, "name", logical_name)
    tags = [{"Key": GROUP_TAG, "Value": name}]
    tags += [
        {"Key": each["key"], "Value": each["value"]}
        for each in inputs.get("tags", ())
        if each.get("propagateAtLaunch")
    ]
    aws.client("ec2").run_instances(
        # Of no image, since nothing runs on it.
        ImageId="ami-00000000000000000",
        InstanceType="t4g.nano",
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )
    arn = aws.arn("autoscaling", f"autoScalingGroup:x:autoScalingGroupName/{name}")
    return Made(name, {"name": name, "arn": arn})


def _delete(aws: Aws, existing: Existing) -> None:
    ec2 = aws.client("ec2")
    named: list[Any] = [{"Name": f"tag:{GROUP_TAG}", "Values": [existing.id]}]
    for reservation in ec2.describe_instances(Filters=named)["Reservations"]:
        for each in reservation["Instances"]:
            ec2.terminate_instances(InstanceIds=[each["InstanceId"]])


TYPES = (
    ResourceType(
        "aws:autoscaling/group:Group",
        _create,
        _delete,
        update=lambda _aws, existing, _inputs: dict(existing.outputs),
        replaces=frozenset({"name"}),
        recorded=frozenset(_RECORDED.split()),
    ),
)
