"""The state of a desk's containers, as its daemon reports it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from awsdesk.ecs.reconciler import GIVE_UP_STARTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class ContainerState:
    """One container. `health` is HEALTHY, UNHEALTHY, STARTING or UNKNOWN (without a check)."""

    name: str
    container: str
    image: str
    running: bool
    health: str
    reason: str

    @classmethod
    def of(cls, task: Mapping[str, Any]) -> ContainerState:
        """Parse one from the daemon's health."""
        return cls(
            name=str(task["task"]),
            container=str(task.get("container", "")),
            image=str(task.get("image", "")),
            running=bool(task["running"]),
            health=str(task["health"]),
            reason=str(task.get("reason", "")),
        )

    @property
    def is_well(self) -> bool:
        """Whether it is running and not known to be unhealthy."""
        return self.running and self.health in {"HEALTHY", "UNKNOWN"}


def cannot_start(tasks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return which containers cannot start, each reason once."""
    reasons: dict[str, list[str]] = {}
    for task in tasks:
        if int(task.get("failed_starts", 0)) >= GIVE_UP_STARTS and not task["running"]:
            reasons.setdefault(str(task["reason"]), []).append(str(task["task"]))
    return [f"{', '.join(names)} cannot start: {why}" for why, names in reasons.items()]
