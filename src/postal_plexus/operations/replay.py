"""Replay: bring back messages that a mailbox has lost, from the archive.

`deliver` has recorded who got which message (`mail.delivered`). A replay puts the message's entry
into the queue again, marked for one mailbox. `deliver` asks Dovecot whether the message is in any
folder of the mailbox, and delivers it if not. So a replay that is interrupted, or repeated,
duplicates nothing.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from postal_plexus.config.names import DELIVERIES_PREFIX
from postal_plexus.directory import Directory, DirectoryError
from postal_plexus.mail.delivered import REPLAY, Record, Replay, read_records, write_replay
from postal_plexus.mail.receipt import NotificationError, Receipt, is_released, read_notification
from postal_plexus.operations.archive import Archive
from postal_plexus.operations.system import OperationError, told

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from postal_plexus.operations.archive import Stored
    from postal_plexus.operations.system import System

_READERS = 8
_CLOCKS_DIFFER = timedelta(minutes=10)
# SQS accepts ten entries at once, and before August 2025 256 KiB.
_BATCH, _BATCH_OCTETS = 10, 250_000


class UnknownMailboxError(OperationError):
    """The directory has no such mailbox."""


@dataclass(frozen=True)
class Mail:
    """A message that a mailbox had: SES's record of it, its size in octets, and its queue entry."""

    receipt: Receipt
    size: int
    originals: tuple[str, ...]
    entry: str

    @property
    def received_at(self) -> datetime:
        """When SES accepted it."""
        return datetime.fromtimestamp(self.receipt.accepted_at, UTC)


@dataclass(frozen=True)
class Found:
    """The messages to replay, the oldest first, and how many the archive no longer has."""

    mails: Sequence[Mail]
    gone: int


def chosen(
    records: Iterable[Record],
    stored: Iterable[Stored],
    mailbox: str,
    since: datetime,
    until: datetime,
) -> Found:
    """Select the records of messages that `mailbox` had and SES accepted in a period. Pure.

    A message has several records if its entry came again, or if two rules matched it. The record of
    a message that an operator released from a virus takes precedence.
    """
    sizes = {each.message_id: each.size for each in stored}
    found: dict[str, Mail] = {}
    gone: set[str] = set()
    for record in records:
        originals = record.mailboxes.get(mailbox)
        if originals is None:
            continue
        try:
            receipt = read_notification(record.entry)
        except NotificationError:
            continue
        if not isinstance(receipt, Receipt) or not (
            since.timestamp() <= receipt.accepted_at < until.timestamp()
        ):
            continue
        name = receipt.message_id
        size = sizes.get(name)
        if size is None:
            gone.add(name)
            continue
        before = found.get(name)
        entry = record.entry
        if before is not None:
            originals = tuple(dict.fromkeys(before.originals + originals))
            entry = before.entry if is_released(before.entry) else entry
        found[name] = Mail(receipt, size, originals, entry)
    mails = sorted(found.values(), key=lambda mail: mail.receipt.accepted_at)
    return Found(mails, len(gone))


def mailbox_of(directory: Directory, address: str) -> str:
    """Return a mailbox as the directory writes it. Pure.

    Raises:
        UnknownMailboxError: the address has no mailbox.
    """
    resolved = directory.resolve(address)
    if address.lower() in resolved.mailboxes:
        return address.lower()
    if resolved.mailboxes:
        leads = ", ".join(resolved.mailboxes)
        raise UnknownMailboxError(f"{address} is not a mailbox, it leads to {leads}; name one")
    raise UnknownMailboxError(f"there is no mailbox {address}")


def queue_urls(parts: Mapping[str, Any]) -> list[str]:
    """Return the queues of a stack's hosts, by their numbers. Pure."""
    others: list[dict[str, str]] = parts.get("other_hosts", [])
    return [parts["queue_url"], *(each["queue_url"] for each in others)]


class Replays:
    """What a replay needs: the archive and the queue of a stack."""

    def __init__(self, system: System) -> None:
        self._archive = Archive(system)
        self._bucket: str = system.parts["bucket"]
        self._directory: str = system.parts["directory_object"]
        # By the hosts' numbers.
        self._queue_urls = queue_urls(system.parts)
        self._homes: Directory | None = None
        self._s3: Any = system.client("s3")
        self._sqs: Any = system.client("sqs")

    def directory(self) -> Directory:
        """Return the directory that the containers use."""
        if self._homes is None:
            self._homes = self._read_directory()
        return self._homes

    def _read_directory(self) -> Directory:
        bucket, _, key = self._directory.removeprefix("s3://").partition("/")
        with told("S3"):
            octets = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        try:
            return Directory.from_json(octets)
        except DirectoryError as error:
            raise OperationError(f"the directory {self._directory} {error}; see doctor") from error

    def find(self, mailboxes: Sequence[str], since: datetime, until: datetime) -> dict[str, Found]:
        """Return the messages that each of some mailboxes had, if the archive has them."""
        stored = list(self._archive.since(since - _CLOCKS_DIFFER))
        with ThreadPoolExecutor(_READERS) as readers:
            objects = list(readers.map(self._read, self._keys(since - _CLOCKS_DIFFER)))
        records = [record for octets in objects for record in read_records(octets)]
        return {each: chosen(records, stored, each, since, until) for each in mailboxes}

    def put(self, mails: Sequence[Mail], mailbox: str) -> Iterator[int]:
        """Put messages for a mailbox into its host's queue. Yield the number in each batch.

        Raises:
            OperationError: SQS did not accept all of a batch. What it accepted is delivered once.
        """
        queue_url = self._queue_urls[self.directory().home(mailbox) - 1]
        for batch in _batches(mails):
            entries = [
                {
                    "Id": str(number),
                    "MessageBody": mail.entry,
                    "MessageAttributes": {
                        REPLAY: {
                            "DataType": "String",
                            "StringValue": write_replay(Replay(mailbox, mail.originals)),
                        }
                    },
                }
                for number, mail in enumerate(batch)
            ]
            with told("SQS"):
                answer = self._sqs.send_message_batch(QueueUrl=queue_url, Entries=entries)
            if failed := answer.get("Failed"):
                why = f"{failed[0].get('Code')}: {failed[0].get('Message', '')}"
                raise OperationError(
                    f"SQS did not accept {len(failed)} messages ({why}); run it again"
                )
            yield len(batch)

    def _keys(self, moment: datetime) -> Iterator[str]:
        """Yield the keys of the records written at that moment or later, by the time in them."""
        with told("S3"):
            pages = self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket,
                Prefix=DELIVERIES_PREFIX,
                StartAfter=f"{DELIVERIES_PREFIX}{moment:%Y-%m-%d/%H-%M-%S}",
            )
            for page in pages:
                yield from (each["Key"] for each in page.get("Contents", ()))

    def _read(self, key: str) -> bytes:
        with told("S3"):
            return self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()


def _batches(mails: Sequence[Mail]) -> Iterator[list[Mail]]:
    batch: list[Mail] = []
    octets = 0
    for mail in mails:
        size = len(mail.entry.encode()) + sum(map(len, mail.originals)) + 500
        if batch and (len(batch) == _BATCH or octets + size > _BATCH_OCTETS):
            yield batch
            batch, octets = [], 0
        batch.append(mail)
        octets += size
    if batch:
        yield batch
