"""CloudWatch Logs: one log group a container, and metrics made of log lines."""

from typing import Any

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


def _put_filter(aws: Aws, name: str, inputs: Inputs) -> None:
    transformation: dict[str, Any] = inputs["metricTransformation"]
    put = {
        "metricName": transformation["name"],
        "metricNamespace": transformation["namespace"],
        "metricValue": transformation["value"],
    }
    if transformation.get("unit"):
        put["unit"] = transformation["unit"]
    aws.client("logs").put_metric_filter(
        logGroupName=inputs["logGroupName"],
        filterName=name,
        filterPattern=inputs["pattern"],
        metricTransformations=[put],
    )


def _create_filter(aws: Aws, logical_name: str, inputs: Inputs) -> Made:
    name = auto_name(inputs, "name", logical_name)
    _put_filter(aws, name, inputs)
    return Made(name, {"name": name})


def _update_filter(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    _put_filter(aws, existing.id, inputs)
    return dict(existing.outputs)


def _delete_filter(aws: Aws, existing: Existing) -> None:
    aws.client("logs").delete_metric_filter(
        logGroupName=existing.inputs["logGroupName"], filterName=existing.id
    )


TYPES = (
    ResourceType(
        "aws:cloudwatch/logMetricFilter:LogMetricFilter",
        _create_filter,
        _delete_filter,
        _update_filter,
        properties=frozenset({"metricTransformation", "pattern"}),
        replaces=frozenset({"logGroupName", "name"}),
    ),
    ResourceType(
        "aws:cloudwatch/logGroup:LogGroup",
        _create,
        _delete,
        _update,
        properties=frozenset({"retentionInDays", "tags", "tagsAll"}),
        replaces=frozenset({"name"}),
    ),
)
