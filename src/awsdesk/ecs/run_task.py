"""What ECS's RunTask requires: more permissions than ecs:RunTask, and a host in the cluster.

ministack requires only ecs:RunTask, on the *cluster*. AWS requires it on the task definition, with
`ecs:cluster` as a condition key; iam:PassRole on the definition's roles; and, if the task gets tags
at its start, ecs:TagResource on the task.

ministack runs a task on any cluster. AWS refuses it if the cluster has no container instance, as
after its only instance was terminated.

Sources: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html,
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/supported-iam-actions-tagging.html,
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html.
"""

from __future__ import annotations

import contextvars
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from awsdesk.ministack_patches import private

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RUN_TASK = "ecs:RunTask"
TASKS_SERVICE = "ecs-tasks.amazonaws.com"


@dataclass(frozen=True)
class Right:
    """An action on a resource, with the condition keys that AWS evaluates."""

    action: str
    resource: str
    keys: Mapping[str, str] = field(default_factory=dict[str, str])


def rights(
    request: Mapping[str, Any], definition: Mapping[str, Any], cluster_arn: str
) -> list[Right]:
    """Return every permission that a RunTask call needs.

    `request` is the call's body, `definition` the task definition that it names, as ECS describes
    it, with its tags.
    """
    needed = [Right(RUN_TASK, definition["taskDefinitionArn"], {"ecs:cluster": cluster_arn})]
    given = [definition.get(name) for name in ("taskRoleArn", "executionRoleArn")]
    needed += [
        Right("iam:PassRole", arn, {"iam:PassedToService": TASKS_SERVICE}) for arn in given if arn
    ]
    propagated = request.get("propagateTags") == "TASK_DEFINITION" and definition.get("tags")
    if request.get("tags") or propagated or request.get("enableECSManagedTags"):
        task = cluster_arn.replace(":cluster/", ":task/") + "/new"
        needed.append(Right("ecs:TagResource", task, {"ecs:CreateAction": "RunTask"}))
    return needed


def rights_of_call(request: Mapping[str, Any]) -> list[Right]:
    """Return `rights` in the current account and region; none for a missing task definition."""
    definition = private.ECS.task_defs.get(
        private.ECS.resolve_td_key(request.get("taskDefinition", ""))
    )
    cluster = private.ECS.clusters.get(
        private.ECS.resolve_cluster_name(request.get("cluster", "default"))
    )
    if definition is None or cluster is None:
        return []
    arn = str(definition["taskDefinitionArn"])
    tags = definition.get("tags") or private.ECS.tags.get(arn)
    return rights(request, {**definition, "tags": tags}, str(cluster["clusterArn"]))


_request: contextvars.ContextVar[Mapping[str, Any]] = contextvars.ContextVar("run_task_request")


_NO_HOST = "No Container Instances were found in your cluster."


def install(has_host: Callable[[str], bool]) -> None:
    """Make ministack require all of this when RunTask is called, permissions only over HTTP.

    `has_host`: whether a cluster has a container instance, by its name.
    """
    run = private.ECS.run_task

    def on_a_host(request: Mapping[str, Any]) -> Any:
        cluster = private.ECS.resolve_cluster_name(request.get("cluster", "default"))
        if cluster is not None and not has_host(str(cluster)):
            return private.ECS.error_response_json("InvalidParameterException", _NO_HOST, 400)
        return run(request)

    private.ECS.ACTION_MAP["RunTask"] = on_a_host
    private.ECS.replace("run_task", on_a_host)
    tags_of = private.IAM_ACTIONS.request_tag_context
    enforce_one = private.IAM_EVALUATOR.enforce

    def noted(service: str, iam_action: str, body: bytes, *more: Any) -> Any:
        if iam_action == RUN_TASK:
            _request.set(cast("Mapping[str, Any]", json.loads(body or b"{}")))
        return tags_of(service, iam_action, body, *more)

    def enforce(
        key: str, iam_action: str, service: str, region: str, *more: Any, **given: Any
    ) -> Any:
        if iam_action == "ecs:ListTasks":
            # AWS evaluates no resource here, but passes the cluster.
            cluster = given.pop("resource_arn", "*")
            told = cast("dict[str, Any]", given.pop("service_context", None) or {})
            context = {**told, "ecs:cluster": cluster}
            return enforce_one(
                key, iam_action, service, region, resource_arn="*", service_context=context
            )
        asked = rights_of_call(_request.get()) if iam_action == RUN_TASK else []
        if not asked:
            return enforce_one(key, iam_action, service, region, *more, **given)
        for right in asked:
            denied = enforce_one(
                key,
                right.action,
                service,
                region,
                resource_arn=right.resource,
                service_context=dict(right.keys),
            )
            if denied:
                return denied
        return None

    private.IAM_ACTIONS.replace("request_tag_context", noted)
    private.IAM_EVALUATOR.replace("enforce", enforce)
