"""Scheduled tasks: a schedule with its own role, and a queue of failed starts.

EventBridge Scheduler does not report a denied or failed start: without a dead-letter queue, a task
whose role lacks a permission would silently never run. Each schedule has such a queue, and `alarms`
has an alarm on each.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi_aws as aws

import pulumi
from deployment import schedule_documents
from deployment.stack import Stack

# Long enough to be read after a holiday; SQS's maximum.
_RETENTION_SECONDS = 14 * 24 * 3600


@dataclass(frozen=True)
class ScheduleArgs:
    """`expression`: rate(...) or cron(...); `window_minutes`: it starts within that time after it.

    `target_arn` and `target`: what to start, as the provider names it; `needs`: ARNs, which
    `policy` gets as a dictionary, with the dead-letter queue's as `missed_arn`.
    """

    stack: Stack
    name: str
    does: str
    expression: str
    window_minutes: int
    target_arn: pulumi.Input[str]
    policy: Callable[..., str]
    needs: Mapping[str, pulumi.Input[str] | Sequence[pulumi.Input[str]]]
    target: Mapping[str, Any]
    # A start that has failed for this long goes to the queue.
    retry_attempts: int = 0
    event_age_seconds: int = 900


class Schedule(pulumi.ComponentResource):
    """The schedule in a group of its own; `missed` is its dead-letter queue."""

    def __init__(
        self, name: str, args: ScheduleArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("postal-plexus:index:Schedule", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.missed = aws.sqs.Queue(
            f"{args.name}-missed",
            message_retention_seconds=_RETENTION_SECONDS,
            sqs_managed_sse_enabled=True,
            opts=child,
        )
        group = aws.scheduler.ScheduleGroup(args.name, opts=child)
        role = aws.iam.Role(
            f"{args.name}-schedule",
            assume_role_policy=pulumi.Output.all(args.stack.account, group.arn).apply(
                lambda given: schedule_documents.trust(*given)
            ),
            description=args.does,
            opts=child,
        )
        policy = aws.iam.RolePolicy(
            f"{args.name}-schedule",
            role=role.name,
            policy=pulumi.Output.from_input({"missed_arn": self.missed.arn, **args.needs}).apply(
                lambda given: args.policy(**given)
            ),
            opts=child,
        )
        target: Any = {
            "arn": args.target_arn,
            "role_arn": role.arn,
            "retry_policy": {
                "maximum_retry_attempts": args.retry_attempts,
                "maximum_event_age_in_seconds": args.event_age_seconds,
            },
            "dead_letter_config": {"arn": self.missed.arn},
            **args.target,
        }
        aws.scheduler.Schedule(
            args.name,
            group_name=group.name,
            description=args.does,
            schedule_expression=args.expression,
            flexible_time_window={
                "mode": "FLEXIBLE",
                "maximum_window_in_minutes": args.window_minutes,
            },
            target=target,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[policy]),
        )
        self.register_outputs({"missed": self.missed.name})
