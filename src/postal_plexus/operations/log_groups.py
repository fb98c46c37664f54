"""Read the logs of a stack's services from CloudWatch Logs."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

from postal_plexus.operations.system import told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postal_plexus.operations.system import System


class LogGroups:
    """The log groups of a stack, one per service."""

    def __init__(self, system: System) -> None:
        self._groups: dict[str, str] = system.parts["log_groups"]
        self._logs: Any = system.client("logs")

    def lines(
        self,
        service: str,
        since: datetime,
        until: datetime | None = None,
        *,
        pattern: str = "",
        pages: int | None = None,
    ) -> Iterator[tuple[datetime, str]]:
        """Yield a service's lines, each with its time.

        Args:
            service: its name in the stack.
            since: the earliest time.
            until: the latest time; None for no limit.
            pattern: a filter pattern of CloudWatch; "" for all lines.
            pages: the most answers to read, of up to 10,000 lines or 1 MB each, many of them
                empty while AWS searches; None for all.

        Raises:
            OperationError: AWS refuses, or there is no such log.
        """
        arguments: dict[str, Any] = {
            "logGroupName": self._groups[service],
            "startTime": _milliseconds(since),
        }
        if until is not None:
            arguments["endTime"] = _milliseconds(until)
        if pattern:
            arguments["filterPattern"] = pattern
        for _ in count() if pages is None else range(pages):
            with told("CloudWatch Logs"):
                answer = self._logs.filter_log_events(**arguments)
            for each in answer.get("events", ()):
                yield datetime.fromtimestamp(each["timestamp"] / 1000, UTC), each["message"]
            token = answer.get("nextToken")
            if not token or token == arguments.get("nextToken"):
                return
            arguments["nextToken"] = token


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
