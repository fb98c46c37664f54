"""CloudWatch Logs: one log group a container."""

from postal_plexus.local.resources.resource_type import (
    Aws,
    Existing,
    Inputs,
    Made,
    Outputs,
    ResourceType,
    auto_name,
    tag_map,
)


def _keep(aws: Aws, group: str, inputs: Inputs) -> None:
    if inputs.get("retentionInDays"):
        aws.client("logs").put_retention_policy(
            logGroupName=group, retentionInDays=inputs["retentionInDays"]
        )


def _create(aws: Aws, name: str, inputs: Inputs) -> Made:
    group = auto_name(inputs, "name", name)
    aws.client("logs").create_log_group(logGroupName=group, tags=tag_map(inputs))
    _keep(aws, group, inputs)
    return Made(group, {"name": group, "arn": aws.arn("logs", f"log-group:{group}")})


def _update(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    _keep(aws, existing.id, inputs)
    return dict(existing.outputs)


def _delete(aws: Aws, existing: Existing) -> None:
    aws.client("logs").delete_log_group(logGroupName=existing.id)


TYPES = (
    ResourceType(
        "aws:cloudwatch/logGroup:LogGroup",
        _create,
        _delete,
        _update,
        properties=frozenset({"retentionInDays", "tags", "tagsAll"}),
        replaces=frozenset({"name"}),
    ),
)
