"""The services' logs of a stack, in CloudWatch Logs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from postal_plexus.operations.system import told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postal_plexus.operations.system import System


class LogGroups:
    """The log groups of a stack, one a service."""

    def __init__(self, system: System) -> None:
        self._groups: dict[str, str] = system.parts["log_groups"]
        self._logs: Any = system.client("logs")

    def lines(
        self, service: str, since: datetime, pages: int = 3
    ) -> Iterator[tuple[datetime, str]]:
        """Give a service's lines since then, each with its time.

        Args:
            service: by our name.
            since: the earliest that is asked for.
            pages: how many answers are read at most, of up to 10,000 lines or 1 MB each.

        Raises:
            OperationError: AWS refuses, or there is no such log.
        """
        arguments: dict[str, Any] = {
            "logGroupName": self._groups[service],
            "startTime": int(since.timestamp() * 1000),
        }
        for _ in range(pages):
            with told("CloudWatch Logs"):
                answer = self._logs.filter_log_events(**arguments)
            for each in answer["events"]:
                yield datetime.fromtimestamp(each["timestamp"] / 1000, UTC), each["message"]
            if "nextToken" not in answer:
                return
            arguments["nextToken"] = answer["nextToken"]
