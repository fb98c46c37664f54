"""EventBridge Scheduler: start ECS tasks on time, with the permissions of the schedule's role.

ministack stores schedules and finds those that are due, but cannot start a task. Here this works as
on AWS: the service assumes the role, if its trust policy allows this for the schedule's group. The
role must have every permission that RunTask requires. A failed start goes to the schedule's
dead-letter queue, if there is one and the role may send there; otherwise it is lost silently.

Sources: https://docs.aws.amazon.com/scheduler/latest/UserGuide/cross-service-confused-deputy-prevention.html,
https://docs.aws.amazon.com/scheduler/latest/UserGuide/configuring-schedule-dlq.html.
"""

from __future__ import annotations

import json
import logging
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from awsdesk.ecs import run_task
from awsdesk.ecs.run_task import Right
from awsdesk.ministack_patches import private
from awsdesk.ministack_patches.roles import RoleRefusedError, Roles, TemporaryCredentials

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

SERVICE = "scheduler.amazonaws.com"
# How often ministack checks for schedules that are due, in seconds.
_LOOK_EVERY = 1


class StartError(Exception):
    """A task was not started; `code` is the one in the dead letter."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Schedules:
    """The schedules of one account and region."""

    account_id: str
    region: str

    def invoke(self, schedule: Mapping[str, Any]) -> None:
        """Start a schedule's task, or put the reason into its dead-letter queue."""
        target = cast("dict[str, Any]", schedule["Target"])
        arn = str(schedule["Arn"])
        credentials = None
        try:
            credentials = self._role(str(target["RoleArn"]), arn)
            self._run(target, credentials)
        except StartError as error:
            log.warning("scheduler.not_started schedule=%s reason=%s", arn, error)
            self._put_aside(arn, target, error, credentials)
        else:
            log.info("scheduler.started schedule=%s", arn)

    def _role(self, role_arn: str, schedule_arn: str) -> TemporaryCredentials:
        # arn:aws:scheduler:REGION:ACCOUNT:schedule/GROUP/NAME: the group is the source.
        prefix, _, path = schedule_arn.partition(":schedule/")
        group = f"{prefix}:schedule-group/{path.partition('/')[0]}"
        try:
            return Roles(self.account_id, self.region).for_service(
                SERVICE, role_arn, group, secrets.token_hex(8), 900
            )
        except RoleRefusedError as error:
            raise StartError("AccessDeniedException", str(error)) from error

    def _run(self, target: Mapping[str, Any], credentials: TemporaryCredentials) -> None:
        given = cast("dict[str, Any]", target.get("EcsParameters") or {})
        if not given:
            raise StartError("UnsupportedTarget", f"the desk cannot start {target['Arn']}")
        request: dict[str, Any] = {
            "cluster": target["Arn"],
            "taskDefinition": given["TaskDefinitionArn"],
            "count": given.get("TaskCount", 1),
            "launchType": given.get("LaunchType", "EC2"),
            "propagateTags": given.get("PropagateTags", "NONE"),
            "tags": given.get("Tags") or [],
            "startedBy": "scheduler",
            "overrides": json.loads(target.get("Input") or "{}"),
        }
        needed = run_task.rights_of_call(request)
        if not needed:
            raise StartError("ClientException", f"no such task: {given['TaskDefinitionArn']}")
        for right in needed:
            if not self._may(credentials, right):
                raise StartError(
                    "AccessDeniedException",
                    f"{credentials.role_arn} is not authorized to perform: {right.action}"
                    f" on resource: {right.resource}",
                )
        status, _, body = private.ECS.run_task(request)
        if status != 200:
            raise StartError("ClientException", body.decode())

    def _may(self, credentials: TemporaryCredentials, right: Right) -> bool:
        roles = Roles(self.account_id, self.region)
        return roles.may(credentials, right.action, right.resource, right.keys)

    def _put_aside(
        self,
        schedule_arn: str,
        target: Mapping[str, Any],
        error: StartError,
        credentials: TemporaryCredentials | None,
    ) -> None:
        queue_arn = str(cast("dict[str, Any]", target.get("DeadLetterConfig") or {}).get("Arn", ""))
        if not queue_arn or credentials is None:
            return
        if not self._may(credentials, Right("sqs:SendMessage", queue_arn)):
            log.warning("scheduler.lost schedule=%s queue=%s", schedule_arn, queue_arn)
            return
        attributes = {
            "ERROR_CODE": error.code,
            "ERROR_MESSAGE": str(error),
            "SCHEDULE_ARN": schedule_arn,
            "TARGET_ARN": str(target["Arn"]),
        }
        private.SQS.act_send_message(
            {
                "MessageBody": str(target.get("Input") or "{}"),
                "MessageAttributes": {
                    name: {"DataType": "String", "StringValue": value}
                    for name, value in attributes.items()
                },
            },
            private.SQS.queue_url(queue_arn.rpartition(":")[2]),
        )


def install(schedules: Schedules, changed: Callable[[], None]) -> None:
    """Make ministack's clock start tasks; it calls `changed` from the clock's thread."""
    invoke_other = private.EVENTBRIDGE.invoke_target

    def invoke(target: Any, event: Mapping[str, Any], rule: Mapping[str, Any], *more: Any) -> Any:
        if event.get("Source") != "aws.scheduler":
            return invoke_other(target, event, rule, *more)
        schedules.invoke(rule)
        changed()
        return None

    private.EVENTBRIDGE.replace("invoke_target", invoke)
    private.SCHEDULER.replace("SCHEDULE_TICK_INTERVAL", _LOOK_EVERY)
