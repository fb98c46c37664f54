"""What reaches the operator of AWS's own events: the patterns, against AWS's examples."""

import json
import sys
from typing import Any

import pytest
from ministack.services.eventbridge import _matches_pattern
from registrations import ACCOUNT, PROGRAM, REGION, Run, record, stack_configuration

sys.path.insert(0, str(PROGRAM))
from deployment import events

SERVICE = f"arn:aws:ecs:{REGION}:{ACCOUNT}:service/plexus-main-cluster/plexus-main-postfix"


def of_ecs(kind: str, name: str, service: str = SERVICE) -> dict[str, Any]:
    """Return an event as ECS's documents show it (ecs_service_events.html)."""
    return {
        "Source": "aws.ecs",
        "DetailType": kind,
        "Account": ACCOUNT,
        "Region": REGION,
        "Time": "2026-11-28T10:00:00Z",
        "Resources": [service],
        "Detail": json.dumps(
            {"eventType": "ERROR", "eventName": name, "deploymentId": "ecs-svc/1"}
        ),
    }


ACTION, DEPLOYMENT = "ECS Service Action", "ECS Deployment State Change"


@pytest.mark.parametrize(
    ("told", "event"),
    [
        (True, of_ecs(DEPLOYMENT, "SERVICE_DEPLOYMENT_FAILED")),
        (True, of_ecs(ACTION, "SERVICE_TASK_START_IMPAIRED")),
        (True, of_ecs(ACTION, "SERVICE_TASK_CONFIGURATION_FAILURE")),
        (
            True,
            of_ecs(
                ACTION,
                "SERVICE_TASK_START_IMPAIRED",
                SERVICE.replace("plexus-main-cluster", "of-host-2"),
            ),
        ),
        # While the host is replaced there is no place for any task.
        (False, of_ecs(ACTION, "SERVICE_TASK_PLACEMENT_FAILURE")),
        (False, of_ecs(ACTION, "SERVICE_STEADY_STATE")),
        (False, of_ecs(DEPLOYMENT, "SERVICE_DEPLOYMENT_COMPLETED")),
        (
            False,
            of_ecs(DEPLOYMENT, "SERVICE_DEPLOYMENT_FAILED", SERVICE.replace("main-cl", "two-cl")),
        ),
    ],
)
def test_a_failed_deployment_is_told(told: bool, event: dict[str, Any]) -> None:
    """Tasks that do not start or last, in this cluster; nothing that is usual."""
    planned = events.failed_deployment(ACCOUNT, REGION, ["plexus-main-cluster", "of-host-2"])
    assert told == _matches_pattern(json.dumps(planned.pattern), event)


def test_every_rule_tells_the_alarm_address(run: Run) -> None:
    """Each rule has a target, the alarms' topic, whose text names only what the event shows."""
    rules = run.of("aws:cloudwatch/eventRule:EventRule")
    targets = {entry.inputs["rule"]: entry.inputs for entry in run.of(TARGET)}
    assert rules
    for rule in rules:
        assert rule.name.startswith("plexus-main-watch-")  # as the topic's policy has it
        target = targets[rule.name]
        assert target["arn"].endswith(":plexus-main-watch-alarms")
        given = target["inputTransformer"]
        text = json.loads(given["inputTemplate"])
        for name in given["inputPaths"]:
            text = text.replace(f"<{name}>", "")
        assert "<" not in text


TARGET = "aws:cloudwatch/eventTarget:EventTarget"


def test_services_have_no_circuit_breaker(run: Run) -> None:
    """A first deployment is never given up, and none is taken back behind Pulumi's back."""
    for service in run.of("aws:ecs/service:Service"):
        assert {"enable": False, "rollback": False} == service.inputs["deploymentCircuitBreaker"]


def test_without_an_address_there_is_no_rule() -> None:
    """Nobody to tell: no topic, no rule."""
    config = stack_configuration(PROGRAM / "Pulumi.prod.yaml")
    silent = record({key: v for key, v in config.items() if not key.endswith(":alarm-address")})
    assert [] == silent.of("aws:cloudwatch/eventRule:EventRule")
