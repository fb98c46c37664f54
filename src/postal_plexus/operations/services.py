"""Stop and start the services of a stack."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from postal_plexus.operations.system import OperationError, told

if TYPE_CHECKING:
    from postal_plexus.operations.system import System

_LOOK_SECONDS = 1.0
_LONGEST_SECONDS = 600.0


class Services:
    """The services, by the names of their containers."""

    def __init__(self, system: System) -> None:
        self._ecs: Any = system.client("ecs")
        self._cluster: str = system.parts["cluster"]
        self._names: dict[str, str] = system.parts["services"]

    def stop(self, name: str) -> None:
        """Stop a service, and wait until none of its tasks is running."""
        self._scale(name, 0)

    def start(self, name: str) -> None:
        """Start a service, and wait until it is running."""
        self._scale(name, 1)

    def _scale(self, name: str, count: int) -> None:
        where = {"cluster": self._cluster}
        with told("ECS"):
            self._ecs.update_service(**where, service=self._names[name], desiredCount=count)
        until = time.monotonic() + _LONGEST_SECONDS
        while self._running(name) != count:
            if time.monotonic() > until:
                wanted = "stop" if count == 0 else "start"
                raise OperationError(f"{name} does not {wanted}; see plexus doctor")
            time.sleep(_LOOK_SECONDS)

    def _running(self, name: str) -> int:
        with told("ECS"):
            found = self._ecs.describe_services(
                cluster=self._cluster, services=[self._names[name]]
            )["services"][0]
            # ECS no longer counts a service's task before its container has stopped.
            listed = self._ecs.list_tasks(
                cluster=self._cluster, serviceName=self._names[name], desiredStatus="RUNNING"
            )["taskArns"]
        return max(int(found["runningCount"]), len(listed))
