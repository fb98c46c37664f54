"""The page's data sources: functions that it calls, so that it does not depend on a desk.

If AWS refuses, they raise OperationError; the page shows it in that place, and continues.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from postal_plexus.operations.dead_letters import DeadLetters
    from postal_plexus.operations.findings import Finding
    from postal_plexus.operations.queues import Queues
    from postal_plexus.operations.spending import Spending
    from postal_plexus.tracing.step import Step

T = TypeVar("T")
Line = dict[str, Any]
"""One result line of a task on the mail host."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A sent message, as a list shows it."""

    id: str
    sent_at: datetime
    sender: str
    recipients: tuple[str, ...]
    subject: str
    size: int


class Outbox(Protocol):
    """A desk's sent messages. On AWS there are none, because they have left."""

    def newest(self, most: int) -> Sequence[Sent]:
        """Return the newest ones."""
        ...

    def content(self, identifier: str) -> tuple[Sent, bytes] | None:
        """Return the content of one, or None if the id does not exist."""
        ...


@dataclass(frozen=True, slots=True)
class Forecast:
    """The estimated monthly cost: lines with item, basis and dollars."""

    lines: tuple[tuple[str, str, float], ...]
    prices_of: str

    @property
    def total(self) -> float:
        """The sum of all lines, in dollars."""
        return sum(usd for _, _, usd in self.lines)


@dataclass(frozen=True)
class Sources:
    """What the page shows. None means that it does not exist here.

    Attributes:
        title: the stack's name for people.
        poll_seconds: how often an open page refreshes.
        web: the addresses of webmail and what else is on beside it (config.web_parts).
        waiting: the messages in Postfix's queue, as `plexus queue list` shows them, through a task.
        mailboxes: as `plexus mailbox list` shows them, through a task.
    """

    title: str
    poll_seconds: float
    steps: Callable[[], Iterable[Step]]
    queues: Callable[[], Queues]
    letters: Callable[[], DeadLetters]
    findings: Callable[[], Iterable[Finding]]
    web: Callable[[], Mapping[str, str]] = dict[str, str]
    outbox: Outbox | None = None
    forecast: Callable[[], Forecast] | None = None
    spending: Callable[[], Spending] | None = None
    waiting: Callable[[], Sequence[Line]] | None = None
    mailboxes: Callable[[], Sequence[Line]] | None = None


class Kept(Generic[T]):
    """A value that is computed on demand and kept for some seconds; for any thread."""

    def __init__(self, make: Callable[[], T], seconds: float) -> None:
        self._make = make
        self._seconds = seconds
        self._lock = threading.Lock()
        self._value: T | None = None
        self._until = 0.0

    def get(self) -> T:
        """Return the value; raise what computing it raises."""
        with self._lock:
            value = self._value
            if value is None or time.monotonic() >= self._until:
                value = self._value = self._make()
                self._until = time.monotonic() + self._seconds
            return value

    def forget(self) -> None:
        """Discard the value, so that it is computed again."""
        with self._lock:
            self._until = 0.0
