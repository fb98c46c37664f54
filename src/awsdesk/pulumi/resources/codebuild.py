"""CodeBuild: the project of the weekly patches. On the desk no build runs by itself."""

from typing import Any

from awsdesk.pulumi.resources.resource_type import (
    Aws,
    Existing,
    Inputs,
    Made,
    Outputs,
    ResourceType,
    tag_list,
)


def _project(inputs: Inputs) -> dict[str, Any]:
    given = {"name": inputs["name"], "serviceRole": inputs["serviceRole"]}
    for name in ("artifacts", "environment", "source", "description"):
        if inputs.get(name):
            given[name] = inputs[name]
    environment = dict(given["environment"])
    environment["environmentVariables"] = environment.get("environmentVariables") or []
    return {
        **given,
        "environment": environment,
        "timeoutInMinutes": int(inputs.get("buildTimeout") or 60),
        "tags": tag_list(inputs, "key", "value"),
    }


def _create(aws: Aws, _logical_name: str, inputs: Inputs) -> Made:
    made = aws.client("codebuild").create_project(**_project(inputs))["project"]
    return Made(made["name"], {"name": made["name"], "arn": made["arn"]})


def _update(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    aws.client("codebuild").update_project(**_project(inputs))
    return dict(existing.outputs)


def _delete(aws: Aws, existing: Existing) -> None:
    aws.client("codebuild").delete_project(name=existing.id)


TYPES = (
    ResourceType(
        "aws:codebuild/project:Project",
        _create,
        _delete,
        _update,
        properties=frozenset(
            {"artifacts", "buildTimeout", "description", "environment", "serviceRole", "source"}
        ),
        replaces=frozenset({"name"}),
        recorded=frozenset({"concurrentBuildLimit", "logsConfig", "tags", "tagsAll"}),
    ),
)
