"""EventBridge: rules on AWS's own events, and their targets. The desk's AWS sends few of them."""

from typing import Any, cast

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


def _put_rule(aws: Aws, name: str, inputs: Inputs, **more: Any) -> str:
    made = aws.client("events").put_rule(
        Name=name,
        Description=inputs.get("description", ""),
        EventPattern=inputs["eventPattern"],
        State=inputs.get("state", "ENABLED"),
        **more,
    )
    return str(made["RuleArn"])


def _create_rule(aws: Aws, logical_name: str, inputs: Inputs) -> Made:
    name = auto_name(inputs, "name", logical_name)
    return Made(name, {"name": name, "arn": _put_rule(aws, name, inputs, Tags=tag_list(inputs))})


def _update_rule(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    _put_rule(aws, existing.id, inputs)
    return dict(existing.outputs)


def _delete_rule(aws: Aws, existing: Existing) -> None:
    aws.client("events").delete_rule(Name=existing.id)


def _put_target(aws: Aws, target_id: str, inputs: Inputs) -> None:
    target: dict[str, Any] = {"Id": target_id, "Arn": inputs["arn"]}
    if given := cast("dict[str, Any]", inputs.get("inputTransformer") or {}):
        target["InputTransformer"] = {
            "InputPathsMap": given.get("inputPaths") or {},
            "InputTemplate": given["inputTemplate"],
        }
    answer = aws.client("events").put_targets(Rule=inputs["rule"], Targets=[target])
    if answer.get("FailedEntryCount"):
        raise RuntimeError(f"EventBridge refused the target: {answer['FailedEntries']}")


def _create_target(aws: Aws, logical_name: str, inputs: Inputs) -> Made:
    target_id = auto_name(inputs, "targetId", logical_name)
    _put_target(aws, target_id, inputs)
    return Made(f"{inputs['rule']}-{target_id}", {"targetId": target_id})


def _update_target(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    _put_target(aws, existing.outputs["targetId"], inputs)
    return dict(existing.outputs)


def _delete_target(aws: Aws, existing: Existing) -> None:
    aws.client("events").remove_targets(
        Rule=existing.inputs["rule"], Ids=[existing.outputs["targetId"]]
    )


TYPES = (
    ResourceType(
        "aws:cloudwatch/eventRule:EventRule",
        _create_rule,
        _delete_rule,
        _update_rule,
        properties=frozenset({"description", "eventPattern", "state"}),
        replaces=frozenset({"name"}),
        recorded=frozenset({"tags", "tagsAll"}),
    ),
    ResourceType(
        "aws:cloudwatch/eventTarget:EventTarget",
        _create_target,
        _delete_target,
        _update_target,
        properties=frozenset({"arn", "inputTransformer"}),
        replaces=frozenset({"rule", "targetId"}),
    ),
)
