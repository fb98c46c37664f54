"""SQS's JSON protocol over the queues: one method for each call that a consumer makes.

Answers and errors are AWS's ("Amazon SQS API Reference"); a receive on an empty queue waits.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import deque
from typing import TYPE_CHECKING, Any

from benchmarks.aws_stub.queue import Message, Queue, QueueError, in_json

if TYPE_CHECKING:
    from collections.abc import Callable

MAXIMUM_BODY = 1024 * 1024  # bytes, "Amazon SQS message quotas"
ACCOUNT = "000000000000"


class Sqs:
    """All queues, and the receivers that wait at them."""

    def __init__(self, clock: Callable[[], float], epoch: float) -> None:
        self.queues: dict[str, Queue] = {}
        self._clock = clock
        self._epoch = epoch
        self._waiting: dict[str, deque[_Receiver]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def queue_of(self, payload: dict[str, Any]) -> Queue:
        """Return the queue that a call names. Raises QueueError."""
        url = str(payload.get("QueueUrl", ""))
        queue = self.queues.get(url.rpartition("/")[2])
        if queue is None:
            raise QueueError(
                "com.amazonaws.sqs#QueueDoesNotExist", "The specified queue does not exist."
            )
        return queue

    # --- receiving ------------------------------------------------------------------------------

    def receive(
        self,
        payload: dict[str, Any],
        answer: Callable[[bytes], None],
        gone: Callable[[], bool],
    ) -> None:
        """ReceiveMessage: answers now, or when a message becomes visible, or when the wait ends."""
        queue = self.queue_of(payload)
        queue.figures.receive_calls += 1
        if queue.figures.first_receive_call_at is None:
            queue.figures.first_receive_call_at = self._clock()
        receiver = _Receiver(payload, answer, gone)
        messages = queue.receive(receiver.limit, receiver.visibility)
        wait = float(payload.get("WaitTimeSeconds", 0))
        if not 0 <= wait <= 20:
            raise QueueError("InvalidParameterValue", "WaitTimeSeconds must be 0 to 20")
        if messages or not wait:
            answer(self._shown(messages, receiver))
            return
        loop = asyncio.get_running_loop()
        receiver.timer = loop.call_later(wait, self._give_up, queue, receiver)
        self._waiting.setdefault(queue.name, deque()).append(receiver)
        self.wake(queue)

    def wake(self, queue: Queue) -> None:
        """Hand what is visible to waiting receivers; come back when the next message shows."""
        waiting = self._waiting.get(queue.name)
        while waiting and queue.has_visible():
            receiver = waiting.popleft()
            assert receiver.timer is not None
            receiver.timer.cancel()
            if receiver.gone():
                continue
            receiver.answer(
                self._shown(queue.receive(receiver.limit, receiver.visibility), receiver)
            )
        timer = self._timers.pop(queue.name, None)
        if timer is not None:
            timer.cancel()
        shows_at = queue.next_visible_at()
        if waiting and shows_at is not None:
            later = max(0.001, shows_at - self._clock())
            loop = asyncio.get_running_loop()
            self._timers[queue.name] = loop.call_later(later, self.wake, queue)

    def _give_up(self, queue: Queue, receiver: _Receiver) -> None:
        waiting = self._waiting[queue.name]
        if receiver in waiting:
            waiting.remove(receiver)
            receiver.answer(b"{}")

    def _shown(self, messages: list[Message], receiver: _Receiver) -> bytes:
        if not messages:
            return b"{}"
        shown = [in_json(message, self._epoch, receiver.wanted) for message in messages]
        return f'{{"Messages":[{",".join(shown)}]}}'.encode()

    # --- everything else ------------------------------------------------------------------------

    def call(self, name: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Any call but ReceiveMessage. Raises QueueError."""
        method = {
            "SendMessage": self._send,
            "SendMessageBatch": self._send_batch,
            "DeleteMessage": self._delete,
            "DeleteMessageBatch": self._delete_batch,
            "ChangeMessageVisibility": self._change,
            "ChangeMessageVisibilityBatch": self._change_batch,
            "GetQueueUrl": self._url,
            "GetQueueAttributes": self._attributes,
            "PurgeQueue": self._purge,
        }.get(name)
        if method is None:
            raise QueueError("InvalidAction", f"The stub does not know {name}.")
        return method(payload)

    def _send(self, payload: dict[str, Any]) -> dict[str, Any]:
        queue = self.queue_of(payload)
        body = str(payload.get("MessageBody", ""))
        attributes = payload.get("MessageAttributes") or {}
        size = len(body.encode()) + len(json.dumps(attributes))
        if not body or size > MAXIMUM_BODY:
            raise QueueError("InvalidParameterValue", "MessageBody must be 1 byte to 1 MiB")
        if len(attributes) > 10:
            raise QueueError("InvalidParameterValue", "At most 10 message attributes")
        for attribute in attributes.values():
            if not attribute.get("DataType") or not (
                attribute.get("StringValue") or attribute.get("BinaryValue")
            ):
                raise QueueError("InvalidParameterValue", "An attribute's value must not be empty")
        message = queue.send(body, attributes, delay=float(payload.get("DelaySeconds", 0)))
        self.wake(queue)
        return {
            "MessageId": message.message_id,
            "MD5OfMessageBody": hashlib.md5(body.encode()).hexdigest(),
        }

    def _delete(self, payload: dict[str, Any]) -> dict[str, Any]:
        self.queue_of(payload).delete(str(payload.get("ReceiptHandle", "")))
        return {}

    def _change(self, payload: dict[str, Any]) -> dict[str, Any]:
        queue = self.queue_of(payload)
        seconds = float(payload.get("VisibilityTimeout", 0))
        queue.change_visibility(str(payload.get("ReceiptHandle", "")), seconds)
        self.wake(queue)
        return {}

    def _send_batch(self, payload: dict[str, Any]) -> dict[str, Any]:
        return self._batch(payload, self._send, "send")

    def _delete_batch(self, payload: dict[str, Any]) -> dict[str, Any]:
        return self._batch(payload, self._delete, "delete")

    def _change_batch(self, payload: dict[str, Any]) -> dict[str, Any]:
        return self._batch(payload, self._change, "change")

    def _batch(
        self,
        payload: dict[str, Any],
        one: Callable[[dict[str, Any]], dict[str, Any]],
        operation: str,
    ) -> dict[str, Any]:
        queue = self.queue_of(payload)
        entries = payload.get("Entries") or []
        if not entries:
            raise QueueError(
                "com.amazonaws.sqs#EmptyBatchRequest", "The batch request has no entries."
            )
        if len(entries) > 10:
            raise QueueError(
                "com.amazonaws.sqs#TooManyEntriesInBatchRequest", "At most 10 entries a request."
            )
        names = [entry.get("Id") for entry in entries]
        if len(set(names)) != len(names):
            raise QueueError(
                "com.amazonaws.sqs#BatchEntryIdsNotDistinct", "Two entries have the same Id."
            )
        successful: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []
        for entry in entries:
            message = queue.find(str(entry.get("ReceiptHandle", "")))
            if message is not None and queue.take_fault(message, f"{operation}-entry") is not None:
                failed.append(_failure(entry, "InternalError", "We failed.", sender=False))
                continue
            try:
                done = one({**entry, "QueueUrl": payload["QueueUrl"]})
            except QueueError as error:
                failed.append(_failure(entry, error.code, str(error), sender=True))
            else:
                successful.append({"Id": entry["Id"], **done})
        answer: dict[str, Any] = {"Successful": successful}
        if failed:
            answer["Failed"] = failed
        return answer

    def _url(self, payload: dict[str, Any]) -> dict[str, Any]:
        name = str(payload.get("QueueName", ""))
        self.queue_of({"QueueUrl": name})
        return {"QueueUrl": f"/{ACCOUNT}/{name}"}

    def _attributes(self, payload: dict[str, Any]) -> dict[str, Any]:
        queue = self.queue_of(payload)
        shown = {name: str(value) for name, value in queue.counts().items()}
        shown["VisibilityTimeout"] = str(int(queue.visibility))
        return {"Attributes": shown}

    def _purge(self, payload: dict[str, Any]) -> dict[str, Any]:
        self.queue_of(payload).purge()
        return {}


class _Receiver:
    """One ReceiveMessage that may have to wait."""

    def __init__(
        self,
        payload: dict[str, Any],
        answer: Callable[[bytes], None],
        gone: Callable[[], bool],
    ) -> None:
        self.answer = answer
        self.gone = gone
        self.limit = int(payload.get("MaxNumberOfMessages", 1))
        visibility = payload.get("VisibilityTimeout")
        self.visibility = None if visibility is None else float(visibility)
        wanted = {
            *(payload.get("MessageSystemAttributeNames") or ()),
            *(payload.get("AttributeNames") or ()),
        }
        if payload.get("MessageAttributeNames"):
            wanted.add("message")
        self.wanted = frozenset(wanted)
        self.timer: asyncio.TimerHandle | None = None


def _failure(entry: dict[str, Any], code: str, text: str, *, sender: bool) -> dict[str, Any]:
    return {"Id": entry["Id"], "SenderFault": sender, "Code": code, "Message": text}
