"""Stop and start the services of a stack."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from postal_plexus.operations.system import OperationError, told

if TYPE_CHECKING:
    from postal_plexus.operations.system import System

_LOOK_SECONDS = 1.0
_STOP_SECONDS = 600.0
# Until its container runs; a host that is not there has none.
_START_SECONDS = 180.0


class Services:
    """The services of one host, by the names of their containers."""

    def __init__(self, system: System) -> None:
        self._ecs: Any = system.client("ecs")
        self._cluster: str = system.parts["cluster"]
        self._names: dict[str, str] = system.parts["services"]

    def request(self, name: str, *, run: bool) -> None:
        """Let ECS stop a service, or start it."""
        service = self._names[name]
        with told("ECS"):
            self._ecs.update_service(
                cluster=self._cluster, service=service, desiredCount=1 if run else 0
            )

    def await_stopped(self, name: str) -> None:
        """Wait until none of a service's tasks is running."""
        if not self._become(name, 0, _STOP_SECONDS):
            raise OperationError(f"{name} does not stop; see plexus doctor")

    def await_running(self, name: str) -> None:
        """Wait until a service is running."""
        if not self._become(name, 1, _START_SECONDS):
            raise OperationError(f"{name} does not start; see plexus doctor")

    def _become(self, name: str, count: int, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while self._running(name) != count:
            if time.monotonic() > until:
                return False
            time.sleep(_LOOK_SECONDS)
        return True

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
