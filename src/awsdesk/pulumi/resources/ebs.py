"""EBS: the state volume, which stays when the host moves to another zone."""

from awsdesk.pulumi.resources.resource_type import (
    Aws,
    Existing,
    Inputs,
    Made,
    Outputs,
    ResourceType,
    tag_list,
)


def _tag(aws: Aws, resource_id: str, inputs: Inputs) -> None:
    tags = tag_list(inputs)
    if tags:
        aws.client("ec2").create_tags(Resources=[resource_id], Tags=tags)


def _create_volume(aws: Aws, _name: str, inputs: Inputs) -> Made:
    identifier = str(
        aws.client("ec2").create_volume(
            AvailabilityZone=inputs["availabilityZone"],
            Size=inputs["size"],
            VolumeType=inputs.get("type", "gp3"),
            Encrypted=inputs.get("encrypted", False),
        )["VolumeId"]
    )
    _tag(aws, identifier, inputs)
    return Made(identifier, {"arn": aws.arn("ec2", f"volume/{identifier}")})


def _update_volume(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    if inputs.get("size") != existing.inputs.get("size"):
        aws.client("ec2").modify_volume(VolumeId=existing.id, Size=inputs["size"])
    _tag(aws, existing.id, inputs)
    return dict(existing.outputs)


def _delete_volume(aws: Aws, existing: Existing) -> None:
    aws.client("ec2").delete_volume(VolumeId=existing.id)


TYPES = (
    ResourceType(
        "aws:ebs/volume:Volume",
        _create_volume,
        _delete_volume,
        _update_volume,
        properties=frozenset({"size", "tags", "tagsAll"}),
        replaces=frozenset({"availabilityZone", "encrypted", "type"}),
    ),
)
