"""CloudWatch Logs: the log groups into which the agent writes the containers' output."""

from awsdesk.pulumi.resources.resource_type import (
    Aws,
    Existing,
    Inputs,
    Made,
    Outputs,
    ResourceType,
    auto_name,
    tag_map,
)


def _create(aws: Aws, logical_name: str, inputs: Inputs) -> Made:
    name = auto_name(inputs, "name", logical_name)
    aws.client("logs").create_log_group(logGroupName=name, tags=tag_map(inputs))
    _keep(aws, name, inputs)
    return Made(name, {"name": name, "arn": aws.arn("logs", f"log-group:{name}")})


def _update(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    _keep(aws, existing.id, inputs)
    return dict(existing.outputs)


def _keep(aws: Aws, name: str, inputs: Inputs) -> None:
    if days := inputs.get("retentionInDays"):
        aws.client("logs").put_retention_policy(logGroupName=name, retentionInDays=int(days))


def _delete(aws: Aws, existing: Existing) -> None:
    client = aws.client("logs")
    try:
        client.delete_log_group(logGroupName=existing.id)
    except client.exceptions.ResourceNotFoundException:
        return  # a desk of an older version only recorded it


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
