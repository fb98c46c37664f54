"""Where the page has things from: each a function that it calls, so that it knows no desk.

What AWS refuses raises OperationError; the page then says so in that place, and goes on.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from postal_plexus.operations.dead_letters import DeadLetters
    from postal_plexus.operations.findings import Finding
    from postal_plexus.operations.queues import Queues
    from postal_plexus.operations.spending import Spending
    from postal_plexus.tracing.step import Step

T = TypeVar("T")
Line = dict[str, Any]
"""What a task on the mail host says of one thing."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A mail that left for the world, as a list shows it."""

    id: str
    sent_at: datetime
    sender: str
    recipients: tuple[str, ...]
    subject: str
    size: int


class Outbox(Protocol):
    """A desk's mails to the world. AWS has none: there they are gone."""

    def newest(self, most: int) -> Sequence[Sent]:
        """Give the newest ones."""
        ...

    def content(self, identifier: str) -> tuple[Sent, bytes] | None:
        """Give one of them, whole; None if there is none of this id."""
        ...


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a month is estimated to cost: lines of what, why and dollars."""

    lines: tuple[tuple[str, str, float], ...]
    prices_of: str

    @property
    def total(self) -> float:
        """All lines together, in dollars."""
        return sum(usd for _, _, usd in self.lines)


@dataclass(frozen=True)
class Sources:
    """What the page shows. None: there is no such thing here.

    Attributes:
        title: which stack, for a person.
        poll_seconds: how often an open page asks anew.
        waiting: the mails in Postfix's queue, as `plexus queue list` has them: a task looks.
        mailboxes: as `plexus mailbox list` has them: a task looks.
    """

    title: str
    poll_seconds: float
    steps: Callable[[], Iterable[Step]]
    queues: Callable[[], Queues]
    letters: Callable[[], DeadLetters]
    findings: Callable[[], Iterable[Finding]]
    outbox: Outbox | None = None
    forecast: Callable[[], Forecast] | None = None
    spending: Callable[[], Spending] | None = None
    waiting: Callable[[], Sequence[Line]] | None = None
    mailboxes: Callable[[], Sequence[Line]] | None = None


class Kept(Generic[T]):
    """A value that is made when it is asked for, and kept for some seconds; for any thread."""

    def __init__(self, make: Callable[[], T], seconds: float) -> None:
        self._make = make
        self._seconds = seconds
        self._lock = threading.Lock()
        self._value: T | None = None
        self._until = 0.0

    def get(self) -> T:
        """Give the value; raise what making it raises."""
        with self._lock:
            value = self._value
            if value is None or time.monotonic() >= self._until:
                value = self._value = self._make()
                self._until = time.monotonic() + self._seconds
            return value

    def forget(self) -> None:
        """Have it made anew the next time."""
        with self._lock:
            self._until = 0.0
