"""Events that AWS reports and the operator should get: EventBridge rules to the alarms' topic.

An alarm watches a number; these happen once. The patterns are plain data, so that tests can match
AWS's own examples against them.

Sources: ECS, https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_events.html
and .../ecs_service_deployment_events.html; conditions of the topic's policy,
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-conditions.html.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi_aws as aws

import pulumi


@dataclass(frozen=True)
class Event:
    """`pattern` selects the events; `text` is the message, where <name> is a path in `shown`."""

    name: str
    description: str
    pattern: Mapping[str, Any]
    shown: Mapping[str, str]
    text: str


def failed_deployment(account: str, region: str, clusters: Sequence[str]) -> Event:
    """Return the event for a service of these clusters whose tasks do not start, or keep stopping.

    A task that cannot be placed is not such an event: while the host is replaced there is no place.
    """
    services = f"arn:aws:ecs:{region}:{account}:service"
    return Event(
        "deployment",
        "A service's tasks do not start, or stop again",
        {
            "source": ["aws.ecs"],
            "detail-type": ["ECS Service Action", "ECS Deployment State Change"],
            "resources": [{"prefix": f"{services}/{each}/"} for each in clusters],
            "detail": {
                "eventName": [
                    "SERVICE_DEPLOYMENT_FAILED",
                    "SERVICE_TASK_CONFIGURATION_FAILURE",
                    "SERVICE_TASK_START_IMPAIRED",
                ]
            },
        },
        {"what": "$.detail.eventName", "service": "$.resources[0]", "when": "$.time"},
        "ECS cannot keep <service> running: <what>, <when>. Mail waits meanwhile. See the events "
        "in aws ecs describe-services, then docs/deploy.md, What errors mean.",
    )


def failed_patches(account: str, region: str, project: str) -> Event:
    """Return the event for a weekly build that did not succeed; the old images stay in service."""
    return Event(
        "patches",
        "The weekly patches failed",
        _failed_build(account, region, project),
        _OF_BUILD,
        "The weekly patches (<project>) ended with <status>. The previous images are still in "
        "service, without Debian's latest fixes. The reason is in the log group <project>; see "
        "docs/deploy.md, Patches.",
    )


def failed_doctor(account: str, region: str, project: str) -> Event:
    """Return the event for a weekly `plexus doctor` that failed."""
    return Event(
        "doctor",
        "The weekly plexus doctor failed",
        _failed_build(account, region, project),
        _OF_BUILD,
        "The weekly plexus doctor (<project>) ended with <status>: the stack has not been "
        "checked. The reason is in the log group <project>; run plexus doctor yourself.",
    )


_OF_BUILD = {"project": "$.detail.project-name", "status": "$.detail.build-status"}


def _failed_build(account: str, region: str, project: str) -> dict[str, Any]:
    """Return the pattern of a project's builds that did not succeed.

    https://docs.aws.amazon.com/codebuild/latest/userguide/sample-build-notifications.html
    """
    return {
        "source": ["aws.codebuild"],
        "detail-type": ["CodeBuild Build State Change"],
        "account": [account],
        "region": [region],
        "detail": {
            "build-status": ["FAILED", "FAULT", "STOPPED", "TIMED_OUT"],
            "project-name": [project],
        },
    }


def critical_findings(account: str, region: str, images: str) -> Event:
    """Return the event for a critical vulnerability that ECR finds in a pushed image.

    https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html
    """
    return Event(
        "findings",
        "An image has a critical vulnerability",
        {
            "source": ["aws.ecr"],
            "detail-type": ["ECR Image Scan"],
            "account": [account],
            "region": [region],
            "detail": {
                "repository-name": [{"prefix": images}],
                "finding-severity-counts": {"CRITICAL": [{"numeric": [">", 0]}]},
            },
        },
        {"image": "$.detail.repository-name", "digest": "$.detail.image-digest"},
        "ECR's scan of <image> (<digest>) found a critical vulnerability; its console lists it. "
        "If Debian has a fix, `make patch` deploys it now (docs/deploy.md, Patches).",
    )


def rule_arns(account: str, region: str, name: str) -> str:
    """Return the pattern of the rules' ARNs, for the topic's policy."""
    return f"arn:aws:events:{region}:{account}:rule/{name}-*"


@dataclass(frozen=True)
class EventsArgs:
    """`planned`: the events by name, known as soon as account and cluster are known."""

    name: str
    topic_arn: pulumi.Input[str]
    names: Sequence[str]
    planned: pulumi.Output[dict[str, Event]]


class Events(pulumi.ComponentResource):
    """A rule for each event, with the alarms' topic as its target."""

    def __init__(
        self, name: str, args: EventsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("postal-plexus:index:Events", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        for each in args.names:
            event = args.planned.apply(lambda planned, each=each: planned[each])
            rule = aws.cloudwatch.EventRule(
                f"{args.name}-{each}",
                description=event.apply(lambda event: event.description),
                event_pattern=event.apply(lambda event: json.dumps(event.pattern, sort_keys=True)),
                opts=child,
            )
            aws.cloudwatch.EventTarget(
                f"{args.name}-{each}",
                rule=rule.name,
                arn=args.topic_arn,
                input_transformer=event.apply(
                    lambda event: {
                        "input_paths": dict(event.shown),
                        # One JSON string: the message's text.
                        "input_template": json.dumps(event.text),
                    }
                ),
                opts=child,
            )
        self.register_outputs({})
