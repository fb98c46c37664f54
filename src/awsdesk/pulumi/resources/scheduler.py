"""EventBridge Scheduler: the schedules of tasks."""

from typing import Any

from awsdesk.pulumi.resources.resource_type import (
    Aws,
    Existing,
    Inputs,
    Made,
    Outputs,
    ResourceType,
    auto_name,
    pascal,
    tag_list,
)


def _create_group(aws: Aws, logical_name: str, inputs: Inputs) -> Made:
    name = auto_name(inputs, "name", logical_name)
    made = aws.client("scheduler").create_schedule_group(Name=name, Tags=tag_list(inputs))
    return Made(name, {"name": name, "arn": made["ScheduleGroupArn"]})


def _delete_group(aws: Aws, existing: Existing) -> None:
    aws.client("scheduler").delete_schedule_group(Name=existing.id)


def _schedule(name: str, inputs: Inputs) -> dict[str, Any]:
    return {
        "Name": name,
        "GroupName": inputs.get("groupName", "default"),
        "Description": inputs.get("description", ""),
        "ScheduleExpression": inputs["scheduleExpression"],
        "FlexibleTimeWindow": pascal(inputs["flexibleTimeWindow"]),
        "State": inputs.get("state", "ENABLED"),
        "Target": pascal(inputs["target"]),
    }


def _create(aws: Aws, logical_name: str, inputs: Inputs) -> Made:
    name = auto_name(inputs, "name", logical_name)
    made = aws.client("scheduler").create_schedule(**_schedule(name, inputs))
    group = inputs.get("groupName", "default")
    return Made(f"{group}/{name}", {"name": name, "arn": made["ScheduleArn"]})


def _update(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    aws.client("scheduler").update_schedule(**_schedule(existing.outputs["name"], inputs))
    return dict(existing.outputs)


def _delete(aws: Aws, existing: Existing) -> None:
    aws.client("scheduler").delete_schedule(
        Name=existing.outputs["name"], GroupName=existing.inputs.get("groupName", "default")
    )


TYPES = (
    ResourceType(
        "aws:scheduler/scheduleGroup:ScheduleGroup",
        _create_group,
        _delete_group,
        lambda _aws, existing, _inputs: dict(existing.outputs),
        replaces=frozenset({"name"}),
        recorded=frozenset({"tags", "tagsAll"}),
    ),
    ResourceType(
        "aws:scheduler/schedule:Schedule",
        _create,
        _delete,
        _update,
        properties=frozenset(
            {"description", "flexibleTimeWindow", "scheduleExpression", "state", "target"}
        ),
        replaces=frozenset({"groupName", "name"}),
    ),
)
