"""The SQS queues of a stack: how much waits in each, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from postal_plexus.operations.cloudwatch import Metric, newest
from postal_plexus.operations.system import told

if TYPE_CHECKING:
    from postal_plexus.operations.system import System

# CloudWatch has a figure every minute or five, and later than that.
_LOOK_BACK = timedelta(minutes=20)
_NAMES = {
    "incoming mail": "queue_url",
    "SES events": "events_queue_url",
    "dead letters": "dead_letter_queue_url",
}


@dataclass(frozen=True, slots=True)
class QueueState:
    """One queue. `oldest`: the age of what has waited longest; None where CloudWatch has none."""

    name: str
    waiting: int
    taken: int
    delayed: int
    oldest: timedelta | None = None

    @property
    def total(self) -> int:
        """All that is in the queue."""
        return self.waiting + self.taken + self.delayed


class Queues:
    """The queues of a stack, asked by AWS's API."""

    def __init__(self, system: System) -> None:
        self._urls: dict[str, str] = {
            name: str(system.parts[part]) for name, part in _NAMES.items()
        }
        self._sqs: Any = system.client("sqs")
        self._cloudwatch: Any = system.client("cloudwatch")

    def dead_letters(self) -> QueueState:
        """Give the numbers of the dead letters alone."""
        return self._state("dead letters")

    def states(self, *, with_age: bool = True) -> list[QueueState]:
        """Give all of them; without ages, which come from CloudWatch, it is quicker."""
        return [self._state(name, with_age=with_age) for name in _NAMES]

    def _state(self, name: str, *, with_age: bool = False) -> QueueState:
        url = self._urls[name]
        with told("SQS"):
            found = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        counts = found["Attributes"]

        def count(kind: str) -> int:
            return int(counts.get(f"ApproximateNumberOfMessages{kind}", 0))

        waiting, taken = count(""), count("NotVisible")
        if name == "dead letters":
            # Nobody works on them: who looks at them takes them for a moment.
            waiting, taken = waiting + taken, 0
        return QueueState(
            name,
            waiting,
            taken,
            count("Delayed"),
            self._oldest(url.rpartition("/")[2]) if with_age else None,
        )

    def _oldest(self, queue: str) -> timedelta | None:
        now = datetime.now(UTC)
        seconds = newest(
            self._cloudwatch,
            Metric("AWS/SQS", "ApproximateAgeOfOldestMessage", "Maximum", {"QueueName": queue}),
            now - _LOOK_BACK,
            now,
            period=60,
        )
        return None if seconds is None else timedelta(seconds=seconds)
