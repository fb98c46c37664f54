"""A host counts as lost only when its instance is terminated and none can be launched."""
# ruff: noqa: N803  AWS's names

from __future__ import annotations

from typing import Any

import pytest

from postal_plexus.operations import failover
from postal_plexus.operations.failover import Instance, LostHost, StillThereError
from postal_plexus.operations.system import OperationError, System

GROUP, NAME = "plexus-main-host-2-1a2b3c4", "plexus-main-host-2"
STATES = ("pending", "running", "shutting-down", "stopping", "stopped")


def described(*found: tuple[str, str, dict[str, str]]) -> list[dict[str, Any]]:
    """Return reservations as DescribeInstances has them: id, state and tags of each instance."""
    return [
        {
            "Instances": [
                {
                    "InstanceId": identifier,
                    "State": {"Code": 0, "Name": state},
                    "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
                }
            ]
        }
        for identifier, state, tags in found
    ]


def test_a_hosts_instances_are_those_of_its_group_or_name() -> None:
    """Also one that somebody detached from the group; not those of other hosts."""
    reservations = described(
        ("i-1", "running", {"aws:autoscaling:groupName": "plexus-main-host-1a2b3c4"}),
        ("i-2", "terminated", {"aws:autoscaling:groupName": GROUP, "Name": NAME}),
        ("i-3", "running", {"Name": NAME}),
        ("i-4", "running", {"Name": f"{NAME}0"}),
        ("i-5", "running", {}),
    )
    found = failover.instances_of(reservations, GROUP, NAME)
    assert [Instance("i-2", "terminated"), Instance("i-3", "running")] == found


@pytest.mark.parametrize("state", STATES)
def test_any_other_state_than_terminated_is_not_gone(state: str) -> None:
    """A stopped instance can be started, one that is shutting down still writes."""
    found = [Instance("i-1", "terminated"), Instance("i-2", state)]
    with pytest.raises(StillThereError, match=f"i-2 is {state}; .*when it is terminated") as told:
        failover.require_gone("mail-2.example.org", found)
    is_ending = state == "shutting-down"
    assert is_ending == ("terminate-instances" not in str(told.value))


def test_terminated_and_forgotten_instances_are_gone() -> None:
    """EC2 lists a terminated one for about an hour."""
    failover.require_gone("mail-2.example.org", [Instance("i-1", "terminated")])
    failover.require_gone("mail-2.example.org", [])


class Aws:
    """EC2 and Auto Scaling, which answer each look with the next states."""

    def __init__(self, *looks: list[str], denied: str = "") -> None:
        self.looks = list(looks)
        self.denied = denied
        self.done: list[str] = []

    def get_paginator(self, name: str) -> Aws:
        assert "describe_instances" == name
        return self

    def paginate(self, Filters: list[dict[str, Any]]) -> list[dict[str, Any]]:
        assert [{"Name": "tag:postal-plexus:stack", "Values": ["main"]}] == Filters
        self.done.append("look")
        states = self.looks.pop(0)
        tags = {"aws:autoscaling:groupName": GROUP}
        return [
            {
                "Reservations": described(
                    *((f"i-{at}", each, tags) for at, each in enumerate(states))
                )
            }
        ]

    def suspend_processes(self, AutoScalingGroupName: str, ScalingProcesses: list[str]) -> None:
        assert (GROUP, ["Launch"]) == (AutoScalingGroupName, ScalingProcesses)
        self.done.append("suspend")

    def resume_processes(self, AutoScalingGroupName: str, ScalingProcesses: list[str]) -> None:
        assert (GROUP, ["Launch"]) == (AutoScalingGroupName, ScalingProcesses)
        self.done.append("resume")


def lost(monkeypatch: pytest.MonkeyPatch, aws: Aws) -> LostHost:
    """Return host 2, whose AWS is that."""
    monkeypatch.setattr(System, "client", lambda _self, _service: aws)
    host = System("main", host=2)
    host.__dict__["parts"] = {"mail_host": "mail-2.example.org", "host_group": GROUP}
    return LostHost(host, wait_seconds=0.0)


def test_it_is_looked_at_again_when_no_launch_is_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    """And launches are possible again afterwards, also after a failure."""
    aws = Aws(["terminated"], [])
    with lost(monkeypatch, aws).kept_away():
        aws.done.append("rescue")
    assert ["look", "suspend", "look", "rescue", "resume"] == aws.done
    aws = Aws(["terminated"], ["terminated"])
    with pytest.raises(OperationError, match="no"), lost(monkeypatch, aws).kept_away():
        raise OperationError("no")
    assert "resume" == aws.done[-1]


def test_a_host_that_is_there_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its group is not even touched."""
    aws = Aws(["terminated", "running"])
    with pytest.raises(StillThereError), lost(monkeypatch, aws).kept_away():
        pytest.fail("it began")
    assert ["look"] == aws.done


def test_an_instance_that_was_launched_at_the_last_moment_ends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The group launched it before it was told not to, and EC2 shows it a little later."""
    aws = Aws(["terminated"], ["terminated", "pending"])
    with pytest.raises(StillThereError), lost(monkeypatch, aws).kept_away():
        pytest.fail("it began")
    assert ["look", "suspend", "look", "resume"] == aws.done
