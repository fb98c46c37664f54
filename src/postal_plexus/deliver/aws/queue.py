"""SQS through its JSON protocol (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/).

Times are whole seconds. Every call raises AwsError. If single entries of a batch fail, the call
returns them, because the rest of the batch succeeded.
"""

import json
from dataclasses import dataclass
from typing import cast

from postal_plexus.deliver.aws.errors import UnreachableError
from postal_plexus.deliver.aws.session import AwsAccount, AwsSession
from postal_plexus.deliver.aws.signing import Signer, payload_hash
from postal_plexus.mail.dead_letter import REASON, RECIPIENT
from postal_plexus.mail.delivered import REPLAY, Replay, read_replay

RECEIVE_AT_MOST = 10
BATCH_AT_MOST = 10
LONGEST_VISIBILITY = 12 * 3600 - 60
_POLL_SECONDS = 20
_ANSWER_SECONDS = 35.0
_ASKED = ["ApproximateReceiveCount", "SentTimestamp"]

_Answer = dict[str, list[dict[str, object]]]


@dataclass(frozen=True, slots=True)
class QueueMessage:
    """One delivery of one queue entry.

    Attributes:
        receive_count: 1 at the first.
        redriven: set if a dead letter was put back into the queue: the recipient to whom it could
            not be delivered, or "" if that is not known.
        replay: set if an operator replays the message: the mailbox.
        sent_at: when it was put into the queue, in seconds since the epoch.
    """

    body: str
    receipt_handle: str
    queue_id: str
    receive_count: int
    redriven: str | None = None
    replay: Replay | None = None
    sent_at: float = 0.0

    @property
    def owed_since(self) -> float | None:
        """Since when the message is owed again, or None for an entry from SES."""
        return None if self.redriven is None and self.replay is None else self.sent_at


class Queue:
    """One queue, for one thread. `aws` is shared and only read."""

    def __init__(self, account: AwsAccount, signer: Signer, url: str) -> None:
        self.url = url
        region_host = f"sqs.{account.region}.{account.suffix}"
        self._session = AwsSession(
            account, "sqs", account.endpoint("sqs", region_host), signer, _ANSWER_SECONDS
        )

    def receive(self, visibility: int, most: int = RECEIVE_AT_MOST) -> list[QueueMessage]:
        """Wait up to 20 s for entries, and hide them from others for `visibility`. One attempt."""
        answer = self._call(
            "ReceiveMessage",
            {
                "MaxNumberOfMessages": min(most, RECEIVE_AT_MOST),
                "WaitTimeSeconds": _POLL_SECONDS,
                "VisibilityTimeout": visibility,
                "MessageSystemAttributeNames": _ASKED,
                # The name used before 2024, for emulators; AWS accepts both.
                "AttributeNames": _ASKED,
                # Attributes of a redriven dead letter, and of a replay.
                "MessageAttributeNames": [REASON, RECIPIENT, REPLAY],
            },
            attempts=1,
        )
        try:
            return [_message(entry) for entry in answer.get("Messages") or ()]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UnreachableError("ReceiveMessage", "BadAnswer", type(error).__name__) from error

    def delete(self, receipt_handles: list[str]) -> list[str]:
        """Delete up to ten entries. Return the handles that failed."""
        entries = [
            {"Id": str(index), "ReceiptHandle": handle}
            for index, handle in enumerate(receipt_handles)
        ]
        answer = self._call("DeleteMessageBatch", {"Entries": entries})
        return [receipt_handles[index] for index in _failed(answer)]

    def change_visibility(self, wanted: list[tuple[str, int]]) -> list[str]:
        """Hide up to ten entries (handle, seconds) from now. Return the handles that failed."""
        entries = [
            {"Id": str(index), "ReceiptHandle": handle, "VisibilityTimeout": seconds}
            for index, (handle, seconds) in enumerate(wanted)
        ]
        answer = self._call("ChangeMessageVisibilityBatch", {"Entries": entries})
        return [wanted[index][0] for index in _failed(answer)]

    def send(self, body: str, attributes: dict[str, str]) -> None:
        """Put an entry into the queue, with string attributes (empty ones are left out)."""
        self._call(
            "SendMessage",
            {
                "MessageBody": body,
                "MessageAttributes": {
                    name: {"DataType": "String", "StringValue": value}
                    for name, value in attributes.items()
                    if value
                },
            },
        )

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def abort(self) -> None:
        """Wake the waiting thread. For other threads."""
        self._session.abort()

    def _call(self, operation: str, fields: dict[str, object], attempts: int = 4) -> _Answer:
        payload = json.dumps({"QueueUrl": self.url, **fields}).encode()
        answer = self._session.request(
            operation,
            "POST",
            "/",
            {
                "content-type": "application/x-amz-json-1.0",
                "content-length": str(len(payload)),
                "x-amz-target": f"AmazonSQS.{operation}",
            },
            payload,
            payload_hash(payload),
            attempts=attempts,
        )
        body = answer.read_all()
        try:
            value: object = json.loads(body) if body else {}
        except ValueError as error:
            raise UnreachableError(operation, "BadAnswer", "not JSON") from error
        if not isinstance(value, dict):
            raise UnreachableError(operation, "BadAnswer", "not an object")
        return cast("_Answer", value)


def sqs_signer(region: str) -> Signer:
    """Return the signer that all queues share."""
    return Signer("sqs", region)


def _message(entry: dict[str, object]) -> QueueMessage:
    attributes = cast("dict[str, str]", entry.get("Attributes") or {})
    told = cast("dict[str, dict[str, str]]", entry.get("MessageAttributes") or {})
    return QueueMessage(
        cast("str", entry["Body"]),
        cast("str", entry["ReceiptHandle"]),
        cast("str", entry["MessageId"]),
        int(attributes.get("ApproximateReceiveCount", "1")),
        told.get(RECIPIENT, {}).get("StringValue", "") if REASON in told else None,
        read_replay(told[REPLAY].get("StringValue", "")) if REPLAY in told else None,
        int(attributes.get("SentTimestamp", "0")) / 1000,
    )


def _failed(answer: _Answer) -> list[int]:
    return [int(cast("str", entry["Id"])) for entry in answer.get("Failed") or ()]
