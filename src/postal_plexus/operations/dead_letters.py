"""The dead letters of a stack: messages that could be neither delivered nor bounced.

Each host has a queue of them. Each is the complete queue entry of its message, with the reason, the
recipient and SES's id of the message as attributes (`deliver.non_delivery`). SQS keeps it for 14
days.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from postal_plexus.mail.dead_letter import REASON, RECIPIENT, VIRUS
from postal_plexus.mail.held import release
from postal_plexus.mail.receipt import NotificationError, Receipt, read_notification
from postal_plexus.operations.system import OperationError, told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postal_plexus.operations.system import System

# How long a dead letter is hidden from others while it is being read.
_VISIBILITY_SECONDS = 60
# A long poll asks all of SQS's servers. It is repeated once, because one is best effort.
_EMPTY_ANSWERS = 2


class LetterError(OperationError):
    """There is no such dead letter, or it cannot be delivered."""


class UnknownLetterError(LetterError):
    """No dead letter has this id, or several begin with it."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter.

    Attributes:
        id: SQS's.
        since: when it became a dead letter.
        host: the number of the host whose queue has it.
        receipt: SES's record of the message, or None if the entry is not a message.
    """

    id: str
    reason: str
    recipient: str
    since: datetime
    body: str
    receipt: Receipt | None
    handle: str
    host: int = 1

    @property
    def sender(self) -> str:
        """The envelope sender; empty for the null sender and for an entry that is not a message."""
        return self.receipt.envelope.sender if self.receipt else ""

    def header(self, name: str) -> str:
        """Return a header field as far as SES reported it, by its name in lower case."""
        return self.receipt.header(name) if self.receipt else ""


def chosen(letters: list[Letter], ids: list[str]) -> list[Letter]:
    """Return the dead letters with these ids, or with unique beginnings of ids.

    Raises:
        UnknownLetterError: an id matches none, or several.
    """
    found: dict[str, Letter] = {}
    for wanted in ids:
        matching = [each for each in letters if each.id.startswith(wanted)]
        if len(matching) != 1:
            what = "several dead letters have" if matching else "no dead letter has"
            raise UnknownLetterError(f"{what} the id {wanted}; see plexus dead-letters list")
        found[matching[0].id] = matching[0]
    return list(found.values())


class DeadLetters:
    """The dead-letter queues of all hosts."""

    def __init__(self, system: System) -> None:
        self._sqs: Any = system.client("sqs")
        # By the hosts' numbers.
        self._dead = [str(host.parts["dead_letter_queue_url"]) for host in system.hosts]
        self._mails = [str(host.parts["queue_url"]) for host in system.hosts]

    @property
    def hosts(self) -> int:
        """The number of hosts."""
        return len(self._dead)

    def read(self) -> list[Letter]:
        """Return all dead letters, the oldest first. They stay in their queues."""
        letters = list(self._take())
        self._let_go(letters)
        return sorted(letters, key=lambda letter: letter.since)

    def deliver(self, ids: list[str]) -> list[Letter]:
        """Put dead letters back into their hosts' queues, each for its recipient. Return them.

        A dead letter is deleted after its message is in the queue. After an interruption the
        message may be there twice, and `deliver` stores it once. A message with a virus was held
        by all hosts, and host 1 has the dead letter: each host gets it back for its mailboxes.

        Raises:
            LetterError: one does not exist, or is not a message.
        """
        letters = self._hold(ids)
        for letter in letters:
            if letter.receipt is None:
                self._let_go(letters)
                raise LetterError(f"{letter.id} is not a message ({letter.reason}); drop it")
        for letter in letters:
            held = letter.reason == VIRUS
            attributes = {REASON: letter.reason, RECIPIENT: letter.recipient}
            for url in self._mails if held else [self._mails[letter.host - 1]]:
                with told("SQS"):
                    self._sqs.send_message(
                        QueueUrl=url,
                        MessageBody=release(letter.body) if held else letter.body,
                        MessageAttributes={
                            name: {"DataType": "String", "StringValue": text}
                            for name, text in attributes.items()
                            if text
                        },
                    )
            self._delete(letter)
        return letters

    def drop(self, ids: list[str]) -> list[Letter]:
        """Delete dead letters permanently. Return them. Raise LetterError if one does not exist."""
        letters = self._hold(ids)
        for letter in letters:
            self._delete(letter)
        return letters

    def _hold(self, ids: list[str]) -> list[Letter]:
        """Take the dead letters with these ids, hidden from others, and release the rest."""
        letters = list(self._take())
        held: list[Letter] = []
        try:
            held = chosen(letters, ids)
        finally:
            self._let_go([each for each in letters if each not in held])
        return held

    def _take(self) -> Iterator[Letter]:
        for host, url in enumerate(self._dead, 1):
            yield from self._take_of(host, url)

    def _take_of(self, host: int, url: str) -> Iterator[Letter]:
        seen: set[str] = set()
        empty = 0
        while empty < _EMPTY_ANSWERS:
            with told("SQS"):
                answer = self._sqs.receive_message(
                    QueueUrl=url,
                    MaxNumberOfMessages=10,
                    VisibilityTimeout=_VISIBILITY_SECONDS,
                    WaitTimeSeconds=1,
                    MessageAttributeNames=["All"],
                    MessageSystemAttributeNames=["SentTimestamp"],
                )
            fresh = [each for each in answer.get("Messages", ()) if each["MessageId"] not in seen]
            empty = 0 if fresh else empty + 1
            for each in fresh:
                seen.add(each["MessageId"])
                yield _letter(each, host)

    def _let_go(self, letters: list[Letter]) -> None:
        for host, url in enumerate(self._dead, 1):
            its = [each for each in letters if each.host == host]
            for start in range(0, len(its), 10):
                entries = [
                    {"Id": str(number), "ReceiptHandle": letter.handle, "VisibilityTimeout": 0}
                    for number, letter in enumerate(its[start : start + 10])
                ]
                with told("SQS"):
                    self._sqs.change_message_visibility_batch(QueueUrl=url, Entries=entries)

    def _delete(self, letter: Letter) -> None:
        url = self._dead[letter.host - 1]
        with told("SQS"):
            self._sqs.delete_message(QueueUrl=url, ReceiptHandle=letter.handle)


def _letter(message: dict[str, Any], host: int) -> Letter:
    attributes: dict[str, dict[str, str]] = message.get("MessageAttributes", {})

    def attribute(name: str) -> str:
        return attributes.get(name, {}).get("StringValue", "")

    try:
        read = read_notification(message["Body"])
    except NotificationError:
        read = None
    return Letter(
        id=message["MessageId"],
        reason=attribute(REASON) or "received too often",
        recipient=attribute(RECIPIENT),
        since=datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, UTC),
        body=message["Body"],
        receipt=read if isinstance(read, Receipt) else None,
        handle=message["ReceiptHandle"],
        host=host,
    )
