"""The settlement: in tens, once each, and invisible while held."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import cast

from postal_plexus.deliver.aws.queue import Queue, QueueMessage
from postal_plexus.deliver.records import Records
from postal_plexus.deliver.settlement import VISIBILITY_SECONDS, Settlement


class RecordedQueue:
    """A queue that keeps what it is asked to do."""

    def __init__(self) -> None:
        self.written: list[list[bytes]] = []
        self.deletes: list[list[str]] = []
        self.changes: list[tuple[str, int]] = []

    def write(self, records: list[bytes]) -> None:
        """Keep the records, as `Records` does."""
        assert not records or len(self.deletes) == len(self.written)
        self.written += [records] if records else []

    def delete(self, handles: list[str]) -> list[str]:
        """Return success for all."""
        self.deletes.append(handles)
        return []

    def change_visibility(self, wanted: list[tuple[str, int]]) -> list[str]:
        """Return success for all."""
        self.changes += wanted
        return []

    def close(self) -> None:
        """Nothing to close."""


def message(handle: str) -> QueueMessage:
    """Return an entry of that handle."""
    return QueueMessage("body", handle, f"id-{handle}", 1)


def settlement_of(queue: RecordedQueue, *clock: Callable[[], float]) -> Settlement:
    """Return a settlement with this queue, which keeps the records too."""
    return Settlement(lambda: cast("Queue", queue), lambda: cast("Records", queue), *clock)


def settled(settlement: Settlement) -> None:
    """Let its thread send everything, and end."""
    thread = threading.Thread(target=settlement.run)
    thread.start()
    settlement.close()
    thread.join(10)
    assert not thread.is_alive()


def test_deletes_travel_in_tens_each_once() -> None:
    """Twenty-five of them: three requests."""
    queue = RecordedQueue()
    settlement = settlement_of(queue)
    messages = [message(str(number)) for number in range(25)]
    settlement.hold(messages)
    for number, each in enumerate(messages):
        settlement.delete(each, b"%d" % number if number != 12 else b"")
    settled(settlement)
    # Who has them is recorded before each request, in one object.
    assert [10, 9, 5] == [len(batch) for batch in queue.written]
    assert [10, 10, 5] == [len(batch) for batch in queue.deletes]
    assert sorted(each.receipt_handle for each in messages) == sorted(
        handle for batch in queue.deletes for handle in batch
    )
    assert (0, 25) == (settlement.held, settlement.deleted)


def test_what_is_held_stays_invisible_and_what_is_settled_is_left_alone() -> None:
    """Extended when less than a minute is left; not before, and not after its settlement."""
    queue = RecordedQueue()
    now = [1000.0]
    settlement = settlement_of(queue, lambda: now[0])
    settlement.hold([message("held"), message("done")])
    now[0] += VISIBILITY_SECONDS - 30
    settlement.hold([message("young")])
    settlement.delete(message("done"))
    settlement.extend()
    settlement.extend()
    settled(settlement)
    assert [("held", VISIBILITY_SECONDS)] == queue.changes


def test_the_end_releases_what_is_held() -> None:
    """At once, for the next process."""
    queue = RecordedQueue()
    settlement = settlement_of(queue)
    settlement.hold([message("a"), message("b")])
    assert 2 == settlement.release_all()
    settled(settlement)
    assert {("a", 0), ("b", 0)} == set(queue.changes)


def test_no_release_is_longer_than_sqs_allows() -> None:
    """Twelve hours from the receive, less what was spent."""
    queue = RecordedQueue()
    now = [1000.0]
    settlement = settlement_of(queue, lambda: now[0])
    settlement.hold([message("a")])
    now[0] += 3600
    settlement.release(message("a"), 12 * 3600)
    settled(settlement)
    ((_, seconds),) = queue.changes
    assert seconds <= 11 * 3600
