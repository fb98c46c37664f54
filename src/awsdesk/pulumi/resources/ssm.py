"""SSM parameters: the values of the containers' ECS secrets."""

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


def _put(aws: Aws, parameter: str, inputs: Inputs, *, overwrite: bool) -> Outputs:
    arguments: dict[str, Any] = {
        "Name": parameter,
        "Value": inputs["value"],
        "Type": inputs["type"],
        "Overwrite": overwrite,
    }
    if inputs.get("description"):
        arguments["Description"] = inputs["description"]
    if inputs.get("tier"):
        arguments["Tier"] = inputs["tier"]
    answer = aws.client("ssm").put_parameter(**arguments)
    aws.client("ssm").add_tags_to_resource(
        ResourceType="Parameter", ResourceId=parameter, Tags=tag_list(inputs)
    )
    return {
        "name": parameter,
        "arn": aws.arn("ssm", f"parameter/{parameter.lstrip('/')}"),
        "version": answer["Version"],
    }


def _create(aws: Aws, name: str, inputs: Inputs) -> Made:
    parameter = auto_name(inputs, "name", name)
    return Made(parameter, _put(aws, parameter, inputs, overwrite=False))


def _update(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    return _put(aws, existing.id, inputs, overwrite=True)


def _delete(aws: Aws, existing: Existing) -> None:
    aws.client("ssm").delete_parameter(Name=existing.id)


TYPES = (
    ResourceType(
        "aws:ssm/parameter:Parameter",
        _create,
        _delete,
        _update,
        properties=frozenset({"value", "type", "description", "tier", "tags", "tagsAll"}),
        replaces=frozenset({"name"}),
    ),
)
