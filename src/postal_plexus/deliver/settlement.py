"""The settlement: the only place that deletes an entry from the queue, or releases it.

Workers pass each entry exactly once, with `delete` or `release`. A separate thread sends them in
batches of up to ten, whatever has accumulated while the last batch was sent. Deliveries are
recorded before that (`records`). Until then the entry is held: `hold` starts this, and `extend`
keeps it invisible to others. An entry that AWS does not delete comes again, and is owed to nobody.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from postal_plexus.deliver import maillog
from postal_plexus.deliver.aws.errors import AwsError
from postal_plexus.deliver.aws.queue import BATCH_AT_MOST, LONGEST_VISIBILITY, Queue, QueueMessage
from postal_plexus.deliver.records import Records

VISIBILITY_SECONDS = 120
_T = TypeVar("_T")
_EXTEND_BEFORE = 60.0
_GATHER_SECONDS = 0.2


@dataclass(slots=True)
class _Held:
    message: QueueMessage
    received_at: float
    hidden_until: float


class Settlement:
    """Entries that are held or to be settled. Threads share it.

    Args:
        queue: creates a settling thread's own connection to the queue.
        records: creates its connection for the records of deliveries.
        clock: seconds, from any starting point.

    Attributes:
        deleted: how many entries have been deleted from the queue.
        progressed_at: when an entry was last settled, by `time.monotonic`.
    """

    def __init__(
        self,
        queue: Callable[[], Queue],
        records: Callable[[], Records],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make_queue = queue
        self._make_records = records
        self._clock = clock
        self._changed = threading.Condition()
        self._held: dict[str, _Held] = {}
        self._deletes: deque[tuple[str, bytes]] = deque()
        self._releases: deque[tuple[str, int]] = deque()
        self._closing = False
        self.deleted = 0
        self.progressed_at = self._clock()

    def hold(self, messages: list[QueueMessage]) -> None:
        """Hold entries that have just been received."""
        now = self._clock()
        with self._changed:
            for message in messages:
                self._held[message.receipt_handle] = _Held(message, now, now + VISIBILITY_SECONDS)

    def delete(self, message: QueueMessage, record: bytes = b"") -> None:
        """Delete an entry from the queue: it is owed to nobody. `record`: who has the message."""
        self.progressed_at = self._clock()
        with self._changed:
            self._held.pop(message.receipt_handle, None)
            self._deletes.append((message.receipt_handle, record))
            if len(self._deletes) in {1, BATCH_AT_MOST}:
                self._changed.notify()

    def release(self, message: QueueMessage, seconds: int) -> None:
        """Let an entry come again after `seconds`: it is still owed to somebody."""
        self.progressed_at = self._clock()
        with self._changed:
            held = self._held.pop(message.receipt_handle, None)
            spent = int(self._clock() - held.received_at) if held else 0
            seconds = max(0, min(seconds, LONGEST_VISIBILITY - spent))
            self._releases.append((message.receipt_handle, seconds))
            self._changed.notify()

    def extend(self) -> None:
        """Keep held entries invisible. To be called every few seconds."""
        now = self._clock()
        with self._changed:
            for held in self._held.values():
                longest = held.received_at + LONGEST_VISIBILITY
                if held.hidden_until - now < _EXTEND_BEFORE and held.hidden_until < longest:
                    held.hidden_until = min(now + VISIBILITY_SECONDS, longest)
                    seconds = int(held.hidden_until - now)
                    self._releases.append((held.message.receipt_handle, seconds))
            if self._releases:
                self._changed.notify()

    def release_all(self) -> int:
        """Release everything that is still held. Return the number."""
        with self._changed:
            handles = list(self._held)
            self._held.clear()
            self._releases.extend((handle, 0) for handle in handles)
            self._changed.notify_all()
        return len(handles)

    @property
    def held(self) -> int:
        """The number of entries in progress."""
        return len(self._held)

    def run(self) -> None:
        """Settle until `close`, and then until everything is sent: a settling thread."""
        queue, records = self._make_queue(), self._make_records()
        while True:
            with self._changed:
                while not self._deletes and not self._releases:
                    if self._closing:
                        queue.close()
                        records.close()
                        return
                    self._changed.wait()
                if len(self._deletes) < BATCH_AT_MOST and not self._closing:
                    # Deletes that come a moment later share the request, and a release is not
                    # urgent. Waiting loses nothing: the message is in the mailbox.
                    self._changed.wait_for(self._full, _GATHER_SECONDS)
                deletes = _take(self._deletes)
                releases = _take(self._releases)
            records.write([record for _, record in deletes if record])
            self._send([handle for handle, _ in deletes], releases, queue)
            maillog.flush()

    def _full(self) -> bool:
        return self._closing or len(self._deletes) >= BATCH_AT_MOST

    def close(self) -> None:
        """End `run` when everything has been sent."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def _send(self, deletes: list[str], releases: list[tuple[str, int]], queue: Queue) -> None:
        what = "delete"
        try:
            failed = queue.delete(deletes) if deletes else []
            self.deleted += len(deletes) - len(failed)
            if failed:
                maillog.unsettled(what, "refused by the queue", len(failed))
            what = "release"
            failed = queue.change_visibility(releases) if releases else []
            if failed:
                maillog.unsettled(what, "refused by the queue", len(failed))
        except AwsError as error:
            maillog.unsettled(what, str(error), len(deletes) + len(releases))
        except Exception as error:  # noqa: BLE001  (the settler must go on)
            maillog.crashed("settlement", error)


def _take(waiting: deque[_T]) -> list[_T]:
    return [waiting.popleft() for _ in range(min(BATCH_AT_MOST, len(waiting)))]
