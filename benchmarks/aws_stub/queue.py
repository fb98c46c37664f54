"""One SQS standard queue: visibility, receive counts, stale handles, redrive. No I/O, no clock.

Fails as SQS does, by `QueueError` with SQS's error code. Harsh where SQS permits it: a delete with
a receipt handle that is not the newest one succeeds and deletes nothing, so the message comes back.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import json
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MAXIMUM_VISIBILITY = 12 * 3600  # seconds, "Amazon SQS visibility timeout"


class QueueError(Exception):
    """A call that SQS refuses. `code` is the name that AWS's JSON protocol sends as `__type`."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(slots=True)
class Message:
    """One message of a queue. `faults` are consumed one by one as calls touch the message."""

    number: int
    message_id: str
    body: str
    attributes: Mapping[str, object] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    sent_at: float = 0.0
    receive_count: int = 0
    first_received_at: float = 0.0
    visible_at: float = 0.0
    handle: str = ""
    deleted: bool = False
    encoded: str = ""  # the body as a JSON string, where it is known beforehand
    lives: int = 1  # deletes needed: 2 while a "late-delete" fault shows it once more

    def take_fault(self, operation: str) -> str | None:
        """Take the next fault for this operation, such as `receive:drop-after`."""
        for index, fault in enumerate(self.faults):
            name, _, kind = fault.partition(":")
            if name == operation:
                del self.faults[index]
                return kind
        return None


@dataclass(slots=True)
class Figures:
    """What a run needs to know of a queue afterwards. Times are the clock's seconds."""

    sent: int = 0
    receive_calls: int = 0
    deleted: int = 0
    redriven: int = 0
    stale_deletes: int = 0
    most_receives: int = 0
    first_receive_call_at: float | None = None
    first_handed_out_at: float | None = None
    last_deleted_at: float | None = None


class Queue:
    """A standard queue.

    `hurry` divides every visibility timeout above `patient` seconds by that factor, so that waits
    of hours can be lived through in a test; 1 is SQS's own pace.
    """

    def __init__(
        self,
        name: str,
        clock: Callable[[], float],
        *,
        visibility: float = 30,
        hurry: float = 1,
        patient: float = 0,
        record: Callable[[Mapping[str, object]], None] | None = None,
    ) -> None:
        self.name = name
        self.visibility = visibility
        self.hurry = hurry
        self.patient = patient
        self.redrive: tuple[Queue, int] | None = None
        self.figures = Figures()
        self.on_delete: Callable[[Queue], None] | None = None
        self._clock = clock
        self._record = record
        self._name_in_ids = hashlib.md5(name.encode()).hexdigest()[:12]
        self._ready: deque[Message] = deque()
        self._waiting: list[tuple[float, int, Message]] = []
        self._order = itertools.count()
        self._numbers = itertools.count(1)
        self._by_handle: dict[str, Message] = {}
        self._alive: dict[int, Message] = {}
        self._prefill: Iterator[tuple[str, str]] | None = None
        self._prefill_left = 0

    # --- sending --------------------------------------------------------------------------------

    def send(
        self,
        body: str,
        attributes: Mapping[str, object] | None = None,
        *,
        faults: list[str] | None = None,
        delay: float = 0,
    ) -> Message:
        """Put one message at the end."""
        message = self._new(body, attributes or {}, faults or [])
        if self._record is not None:
            self._record(
                {
                    "do": "send",
                    "queue": self.name,
                    "number": message.number,
                    "id": message.message_id,
                    "body": body,
                    "attributes": message.attributes,
                    "faults": message.faults,
                }
            )
        if delay > 0:
            self._hide(message, self._clock() + delay)
        else:
            self._ready.append(message)
        return message

    def prefill(self, bodies: Iterator[tuple[str, str]], count: int) -> None:
        """Hold `count` messages more that are built when received, from bodies and their JSON."""
        earlier = itertools.islice(self._prefill or (), self._prefill_left)
        self._prefill = itertools.chain(earlier, bodies)
        self._prefill_left += count
        self.figures.sent += count

    def _new(self, body: str, attributes: Mapping[str, object], faults: list[str]) -> Message:
        number = next(self._numbers)
        name = f"{number:08x}-0000-4000-8000-{self._name_in_ids}"
        message = Message(number, name, body, dict(attributes), list(faults), sent_at=self._clock())
        self._alive[number] = message
        self.figures.sent += 1
        return message

    # --- receiving ------------------------------------------------------------------------------

    def receive(self, limit: int, visibility: float | None = None) -> list[Message]:
        """Up to `limit` visible messages, each with a new receipt handle; hidden from now on."""
        if not 1 <= limit <= 10:
            raise QueueError("InvalidParameterValue", "MaxNumberOfMessages must be 1 to 10")
        now = self._clock()
        figures = self.figures
        received: list[Message] = []
        self._show(now)
        while len(received) < limit:
            message = self._next()
            if message is None:
                break
            if self.redrive is not None and message.receive_count >= self.redrive[1]:
                self._redrive(message, self.redrive[0])
                continue
            self._hand_out(message, now, self.visibility if visibility is None else visibility)
            received.append(message)
        if received and figures.first_handed_out_at is None:
            figures.first_handed_out_at = now
        return received

    def _next(self) -> Message | None:
        while self._ready:
            message = self._ready.popleft()
            if not message.deleted:
                return message
        if self._prefill_left and self._prefill is not None:
            self._prefill_left -= 1
            body, encoded = next(self._prefill)
            message = self._new(body, {}, [])
            message.encoded = encoded
            self.figures.sent -= 1  # counted when prefilled
            return message
        return None

    def _hand_out(self, message: Message, now: float, visibility: float) -> None:
        message.receive_count += 1
        self.figures.most_receives = max(self.figures.most_receives, message.receive_count)
        if not message.first_received_at:
            message.first_received_at = now
        self._by_handle.pop(message.handle, None)
        message.handle = f"{self.name}/{message.number}/{message.receive_count}"
        self._by_handle[message.handle] = message
        if self._record is not None:
            self._record(
                {
                    "do": "receive",
                    "queue": self.name,
                    "number": message.number,
                    "count": message.receive_count,
                }
            )
        # SQS may hand a message to two receivers at once, and show it again after its delete.
        repeat = self.take_fault(message, "repeat")
        if repeat is not None:
            visibility = float(repeat or 0)
        if self.take_fault(message, "late-delete") is not None:
            message.lives += 1
        self._hide(message, now + self._hurried(visibility))

    def _hurried(self, seconds: float) -> float:
        if seconds <= self.patient:
            return seconds
        return self.patient + (seconds - self.patient) / self.hurry

    def _hide(self, message: Message, until: float) -> None:
        message.visible_at = until
        heapq.heappush(self._waiting, (until, next(self._order), message))

    def _show(self, now: float) -> None:
        while self._waiting and self._waiting[0][0] <= now:
            until, _, message = heapq.heappop(self._waiting)
            # An entry is out of date once the visibility was changed or the message deleted.
            if not message.deleted and message.visible_at == until:
                self._ready.append(message)

    def next_visible_at(self) -> float | None:
        """Return when the next hidden message becomes visible if none is changed meanwhile."""
        return self._waiting[0][0] if self._waiting else None

    def _redrive(self, message: Message, target: Queue) -> None:
        self.figures.redriven += 1
        self._forget(message)
        target.send(message.body, message.attributes)

    # --- settling -------------------------------------------------------------------------------

    def delete(self, handle: str) -> bool:
        """Delete by receipt handle; False where SQS would say yes and keep the message."""
        message = self._by_handle.get(handle)
        if message is None:
            if not handle.startswith(f"{self.name}/"):
                raise QueueError("ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
            self.figures.stale_deletes += 1
            return False
        message.lives -= 1
        if message.lives > 0:
            self._hide(message, self._clock() + 0.2)
            return False
        self.figures.deleted += 1
        self.figures.last_deleted_at = self._clock()
        self._forget(message)
        return True

    def _forget(self, message: Message) -> None:
        message.deleted = True
        self._by_handle.pop(message.handle, None)
        self._alive.pop(message.number, None)
        if self._record is not None:
            self._record({"do": "delete", "queue": self.name, "number": message.number})
        if self.on_delete is not None:
            self.on_delete(self)

    def change_visibility(self, handle: str, seconds: float) -> None:
        """Hide an in-flight message for `seconds` from now; 0 shows it at once."""
        if not 0 <= seconds <= MAXIMUM_VISIBILITY:
            raise QueueError("InvalidParameterValue", "VisibilityTimeout must be 0 to 43200")
        message = self._by_handle.get(handle)
        if message is None:
            if not handle.startswith(f"{self.name}/"):
                raise QueueError("ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
            raise QueueError("InvalidParameterValue", "Message does not exist or is not available.")
        now = self._clock()
        if message.visible_at <= now:
            raise QueueError("MessageNotInflight", "The message is not in flight.")
        if now - message.first_received_at + seconds > MAXIMUM_VISIBILITY * max(1, self.hurry):
            raise QueueError("InvalidParameterValue", "Total VisibilityTimeout beyond 12 hours")
        self._hide(message, now + self._hurried(seconds))
        self._show(now)

    def purge(self) -> None:
        """Drop every message, also those not built yet."""
        for message in list(self._alive.values()):
            self._forget(message)
        self._prefill_left = 0

    # --- faults

    def take_fault(self, message: Message, operation: str) -> str | None:
        """Take and record the next fault of a message for an operation."""
        kind = message.take_fault(operation)
        if kind is not None and self._record is not None:
            self._record({"do": "met", "fault": f"{operation}:{kind}"})
        return kind

    # --- looking --------------------------------------------------------------------------------

    def find(self, handle: str) -> Message | None:
        """Return the message of a receipt handle, if that is its newest handle."""
        return self._by_handle.get(handle)

    def peek(self) -> Message | None:
        """Return the message that the next receive returns, if it has been built."""
        self._show(self._clock())
        while self._ready and self._ready[0].deleted:
            self._ready.popleft()
        return self._ready[0] if self._ready else None

    def has_visible(self) -> bool:
        """Return whether a receive would return a message now."""
        return self.peek() is not None or self._prefill_left > 0

    def remaining(self) -> int:
        """Return the number of messages not deleted, in flight or not."""
        return len(self._alive) + self._prefill_left

    def counts(self) -> dict[str, int]:
        """Visible and in-flight messages, as GetQueueAttributes names them."""
        now = self._clock()
        hidden = sum(1 for message in self._alive.values() if message.visible_at > now)
        return {
            "ApproximateNumberOfMessages": self.remaining() - hidden,
            "ApproximateNumberOfMessagesNotVisible": hidden,
        }

    def messages(self) -> list[Message]:
        """Return all messages that have been built and not deleted, oldest first."""
        return list(self._alive.values())

    # --- after a crash of the stub --------------------------------------------------------------

    def restore(self, entry: Mapping[str, object]) -> None:
        """Replay one recorded change. What was in flight becomes visible: SQS may repeat."""
        number = int(str(entry["number"]))
        if entry["do"] == "send":
            attributes = entry["attributes"]
            faults = entry["faults"]
            assert isinstance(attributes, dict)
            assert isinstance(faults, list)
            message = Message(
                number,
                str(entry["id"]),
                str(entry["body"]),
                attributes,
                [str(fault) for fault in faults],
                sent_at=self._clock(),
            )
            self._numbers = itertools.count(number + 1)
            self._alive[number] = message
            self._ready.append(message)
            self.figures.sent += 1
        elif number in self._alive:
            message = self._alive[number]
            if entry["do"] == "receive":
                message.receive_count = int(str(entry["count"]))
                self.figures.most_receives = max(self.figures.most_receives, message.receive_count)
            else:
                message.deleted = True
                del self._alive[number]
                self.figures.deleted += 1


def in_json(message: Message, epoch: float, wanted: frozenset[str]) -> str:
    """Return a message as ReceiveMessage does; `epoch` converts the clock to Unix time.

    `wanted` holds what was asked for: system attributes by name, and `message` for the sender's
    own attributes. Like SQS, nothing more is shown. Put together by hand, because encoding the
    same text for every benchmark mail costs more than the rest of the call.
    """
    parts = [
        f'{{"MessageId":"{message.message_id}","ReceiptHandle":"{message.handle}"',
        f',"MD5OfBody":"{hashlib.md5(message.body.encode()).hexdigest()}"',
        f',"Body":{message.encoded or json.dumps(message.body)}',
    ]
    if wanted:
        system = {
            "ApproximateReceiveCount": message.receive_count,
            "SentTimestamp": int((message.sent_at + epoch) * 1000),
            "ApproximateFirstReceiveTimestamp": int((message.first_received_at + epoch) * 1000),
            "SenderId": "AIDASTUB",
        }
        if "All" not in wanted:
            system = {name: value for name, value in system.items() if name in wanted}
        if system:
            shown = ",".join(f'"{name}":"{value}"' for name, value in system.items())
            parts.append(f',"Attributes":{{{shown}}}')
        if message.attributes and "message" in wanted:
            parts.append(f',"MessageAttributes":{json.dumps(message.attributes)}')
    parts.append("}")
    return "".join(parts)
