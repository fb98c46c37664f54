"""The SQS queues of a stack: the number and age of their messages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from postal_plexus.operations.cloudwatch import Metric, newest
from postal_plexus.operations.system import told

if TYPE_CHECKING:
    from postal_plexus.operations.system import System

# CloudWatch has a value every one or five minutes, with a delay.
_LOOK_BACK = timedelta(minutes=20)
_DEAD = "dead letters"
_NAMES = {
    "incoming mail": "queue_url",
    "SES events": "events_queue_url",
    _DEAD: "dead_letter_queue_url",
}


@dataclass(frozen=True, slots=True)
class QueueState:
    """One queue.

    Attributes:
        name: its purpose, and its host if the stack has several.
        oldest: the age of its oldest message; None if CloudWatch has no value.
    """

    name: str
    waiting: int
    taken: int
    delayed: int
    oldest: timedelta | None = None

    @property
    def total(self) -> int:
        """The number of all messages in the queue."""
        return self.waiting + self.taken + self.delayed


class Queues:
    """The queues of all hosts of a stack, read through AWS's API."""

    def __init__(self, system: System) -> None:
        # Purpose, name and URL of each.
        self._queues = [
            (purpose, f"{purpose}{host.of_host}", str(host.parts[part]))
            for host in system.hosts
            for purpose, part in _NAMES.items()
        ]
        self._sqs: Any = system.client("sqs")
        self._cloudwatch: Any = system.client("cloudwatch")

    def dead_letters(self) -> QueueState:
        """Return only the state of the dead letters, of all hosts together."""
        found = [self._state(*each) for each in self._queues if each[0] == _DEAD]
        waiting = sum(each.waiting for each in found)
        return QueueState(_DEAD, waiting, 0, sum(each.delayed for each in found))

    def states(self, *, with_age: bool = True) -> list[QueueState]:
        """Return the states of all queues; it is faster without ages, which CloudWatch has."""
        return [self._state(*each, with_age=with_age) for each in self._queues]

    def _state(self, purpose: str, name: str, url: str, *, with_age: bool = False) -> QueueState:
        with told("SQS"):
            found = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        counts = found["Attributes"]

        def count(kind: str) -> int:
            return int(counts.get(f"ApproximateNumberOfMessages{kind}", 0))

        waiting, taken = count(""), count("NotVisible")
        if purpose == _DEAD:
            # They have no consumer; reading them hides them for a moment.
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
