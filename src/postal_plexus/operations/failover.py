"""Let other hosts take the mailboxes of a host whose instance is terminated.

A mailbox has one host at any moment, by its record on EFS, which only that host replaces
(`maintenance.homes`). The exception is here: while no instance of the lost host exists and its
group may launch none, the new homes replace the records.

Sources: states of an instance,
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html; suspending
launches, https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-suspend-resume-processes.html.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from postal_plexus.config.names import STACK_TAG, part_name
from postal_plexus.operations.system import OperationError, told

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from postal_plexus.operations.system import System

_GROUP_TAG = "aws:autoscaling:groupName"
# EC2 may show an instance only some seconds after it was requested.
_LOOK_AGAIN_SECONDS = 15.0


class StillThereError(OperationError):
    """An instance of the host exists, or may."""


@dataclass(frozen=True)
class Instance:
    """An instance of a host: its id and state."""

    id: str
    state: str


def instances_of(reservations: Iterable[dict[str, Any]], group: str, name: str) -> list[Instance]:
    """Return a host's instances, from the answer of DescribeInstances. Pure.

    An instance that somebody has detached from the group still has the name that it was given.
    """
    found: list[Instance] = []
    for reservation in reservations:
        for each in reservation.get("Instances", ()):
            tags = {tag["Key"]: tag["Value"] for tag in each.get("Tags", ())}
            if tags.get(_GROUP_TAG) == group or tags.get("Name") == name:
                found.append(Instance(each["InstanceId"], each["State"]["Name"]))
    return found


def require_gone(host: str, found: Iterable[Instance]) -> None:
    """Require that every instance of a host is terminated. Pure. An old one is not listed any more.

    Raises:
        StillThereError: one is not; the text says what to do.
    """
    left = [each for each in found if each.state != "terminated"]
    if not left:
        return
    ids = " ".join(each.id for each in left)
    states = ", ".join(f"{each.id} is {each.state}" for each in left)
    ends = all(each.state == "shutting-down" for each in left)
    remedy = (
        "try again when it is terminated"
        if ends
        else f"its group replaces it if it is broken; if it cannot come back, end it for good with"
        f" aws ec2 terminate-instances --instance-ids {ids}, and try again when it is terminated"
    )
    raise StillThereError(f"{host} may still have its mailboxes open: {states}; {remedy}")


class LostHost:
    """A host that is lost: its instances, and its group's launches."""

    def __init__(self, host: System, wait_seconds: float = _LOOK_AGAIN_SECONDS) -> None:
        self._host = host
        self._name = str(host.parts["mail_host"])
        self._group = str(host.parts["host_group"])
        self._wait = wait_seconds
        self._ec2: Any = host.client("ec2")
        self._autoscaling: Any = host.client("autoscaling")

    @contextmanager
    def kept_away(self) -> Generator[None]:
        """Let the host not come back for the duration of the block; afterwards it may.

        Raises:
            StillThereError: it is not gone; nothing was done.
            OperationError: AWS refuses.
        """
        which = {"AutoScalingGroupName": self._group, "ScalingProcesses": ["Launch"]}
        self._require_gone()
        with told("Auto Scaling"):
            self._autoscaling.suspend_processes(**which)
        try:
            time.sleep(self._wait)
            self._require_gone()
            yield
        finally:
            with told("Auto Scaling"):
                self._autoscaling.resume_processes(**which)

    def _require_gone(self) -> None:
        stack = {"Name": f"tag:{STACK_TAG}", "Values": [self._host.stack]}
        with told("EC2"):
            pages = self._ec2.get_paginator("describe_instances").paginate(Filters=[stack])
            reservations = [each for page in pages for each in page["Reservations"]]
        part = "host" if self._host.host == 1 else f"host-{self._host.host}"
        name = part_name(self._host.stack, part)
        require_gone(self._name, instances_of(reservations, self._group, name))
