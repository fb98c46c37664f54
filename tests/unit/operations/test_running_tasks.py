"""Running tasks: those that ECS has stopped do not count, although it still lists them."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from postal_plexus.operations import task as task_module
from postal_plexus.operations.system import System
from postal_plexus.operations.task import (
    BusyError,
    NoHostError,
    TaskFailedError,
    Tasks,
    TaskStoppedError,
)

CLUSTER, FAMILY = "plexus-main-cluster-1", "plexus-main-maintenance-dovecot"
PARTS = {
    "cluster": CLUSTER,
    "maintenance": {"dovecot": FAMILY},
    "log_groups": {"maintenance": "plexus-main-maintenance-1"},
}


def task(number: int, status: str, verb: str = "export") -> dict[str, Any]:
    """Return a task in DescribeTasks' form; a higher number started later."""
    return {
        "taskArn": f"arn:aws:ecs:us-east-1:123456789012:task/{CLUSTER}/{number}",
        "lastStatus": status,
        "createdAt": datetime(2026, 11, 28, 10, number, tzinfo=UTC),
        "startedBy": "eva",
        "overrides": {"containerOverrides": [{"name": "maintenance-dovecot", "command": [verb]}]},
        "containers": [{"exitCode": 0}],
    }


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> dict[str, Stubber]:
    """Return clients with answers that botocore validates."""
    made = {
        name: Stubber(
            boto3.client(
                name, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
            )
        )
        for name in ("ecs", "logs", "sts")
    }
    monkeypatch.setattr(System, "client", lambda _self, service: made[service].client)
    for each in made.values():
        each.activate()
    return made


@pytest.fixture
def tasks(clients: dict[str, Stubber]) -> Tasks:
    assert clients
    system = System("main")
    system.__dict__["parts"] = PARTS
    return Tasks(system)


def listed(ecs: Stubber, *found: dict[str, Any]) -> None:
    """Expect the calls that list running tasks."""
    arns = [each["taskArn"] for each in found]
    ecs.add_response("list_tasks", {"taskArns": arns}, {"cluster": CLUSTER, "family": FAMILY})
    if found:
        ecs.add_response(
            "describe_tasks", {"tasks": list(found)}, {"cluster": CLUSTER, "tasks": arns}
        )


def test_one_that_has_ended_is_in_nobodys_way(clients: dict[str, Stubber], tasks: Tasks) -> None:
    """A stopped task does not block another; one that is stopping does, because it has memory."""
    listed(clients["ecs"], task(3, "STOPPING"), task(2, "STOPPED"), task(1, "RUNNING"))
    assert [1, 3] == [each.since.minute for each in tasks.running()]


def test_control_c_while_a_task_is_being_started_stops_it(
    clients: dict[str, Stubber], tasks: Tasks
) -> None:
    """Control-C stops a task that is being started; otherwise it would run unattended."""
    ecs, own = clients["ecs"], task(2, "PENDING")
    listed(ecs)
    clients["sts"].add_response("get_caller_identity", {"Arn": "arn:aws:iam::123456789012:user/x"})
    ecs.add_response("run_task", {"tasks": [own], "failures": []})
    ecs.client.meta.events.register(
        "before-parameter-build.ecs.RunTask", lambda **_: os.kill(os.getpid(), signal.SIGINT)
    )
    ecs.add_response("stop_task", {})
    ecs.add_response("describe_tasks", {"tasks": [task(2, "STOPPED")]})
    with pytest.raises(TaskStoppedError, match="is stopped"):
        tasks.run("dovecot", ["export"], print)
    ecs.assert_no_pending_responses()
    assert signal.default_int_handler is signal.getsignal(signal.SIGINT)


def test_of_two_that_begin_at_once_the_later_goes(
    clients: dict[str, Stubber], tasks: Tasks
) -> None:
    """Both see no other task before they start; the one with the later id stops its own."""
    ecs, first, own = clients["ecs"], task(1, "PENDING"), task(2, "PENDING", "restore")
    listed(ecs)
    clients["sts"].add_response("get_caller_identity", {"Arn": "arn:aws:iam::123456789012:user/x"})
    ecs.add_response("run_task", {"tasks": [own], "failures": []})
    listed(ecs, own, first)
    ecs.add_response("stop_task", {})
    ecs.add_response("describe_tasks", {"tasks": [task(2, "STOPPED")]})
    with pytest.raises(BusyError, match="eva runs export"):
        tasks.run("dovecot", ["restore"], print)
    ecs.assert_no_pending_responses()


def requested(clients: dict[str, Stubber]) -> None:
    """Expect the calls before RunTask: nobody else runs one."""
    listed(clients["ecs"])
    clients["sts"].add_response("get_caller_identity", {"Arn": "arn:aws:iam::123456789012:user/x"})


def test_a_cluster_without_a_host_is_told_at_once(
    clients: dict[str, Stubber], tasks: Tasks
) -> None:
    """Its instance is terminated, and ECS has removed it from the cluster."""
    requested(clients)
    clients["ecs"].add_client_error(
        "run_task",
        "InvalidParameterException",
        "No Container Instances were found in your cluster.",
    )
    with pytest.raises(NoHostError, match="there is no host in the cluster now"):
        tasks.run("dovecot", ["mailbox-list"], print)


@pytest.mark.parametrize(
    ("reason", "kind", "words"),
    [
        ("AGENT", NoHostError, "agent is not connected"),
        ("RESOURCE:MEMORY", TaskFailedError, "no memory left"),
    ],
)
def test_a_task_that_ecs_does_not_place(
    clients: dict[str, Stubber],
    tasks: Tasks,
    reason: str,
    kind: type[TaskFailedError],
    words: str,
) -> None:
    """A host that does not answer is another thing than one that is full."""
    requested(clients)
    clients["ecs"].add_response("run_task", {"tasks": [], "failures": [{"reason": reason}]})
    with pytest.raises(TaskFailedError, match=words) as told:
        tasks.run("dovecot", ["mailbox-list"], print)
    assert kind is type(told.value)


def test_a_host_that_does_not_start_the_task_is_not_awaited_for_ever(
    clients: dict[str, Stubber], tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its agent is connected and does nothing. The task is cancelled, so that it never begins."""
    monkeypatch.setattr(task_module, "_BEGIN_SECONDS", 0.0)
    requested(clients)
    ecs, own = clients["ecs"], task(2, "PENDING")
    ecs.add_response("run_task", {"tasks": [own], "failures": []})
    listed(ecs, own)
    clients["logs"].add_client_error("get_log_events", "ResourceNotFoundException")
    ecs.add_response("describe_tasks", {"tasks": [own]})
    ecs.add_response("stop_task", {}, {"cluster": CLUSTER, "task": own["taskArn"], "reason": ANY})
    with pytest.raises(NoHostError, match="has not started the task"):
        tasks.run("dovecot", ["mailbox-list"], print)
    ecs.assert_no_pending_responses()
