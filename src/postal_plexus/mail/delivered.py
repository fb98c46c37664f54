"""Records of deliveries: `deliver` writes them to the archive, and `plexus replay` reads them.

Pure.

A message as SES stored it does not contain its envelope: blind-copy recipients and aliases are in
no header. So `deliver` stores the queue's entry, and for each mailbox that has the message the
envelope recipients that led there. A replay is that entry again, for one mailbox.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

PREFIX = "deliveries/"
"""The prefix of the records in the archive.

They are named by time: DATE/TIME-RANDOM.jsonl, in UTC.
"""
REPLAY = "Replay"
"""The attribute of a queue entry that makes it a replay. Only operators can set one: what SES and
SNS send has no attributes, whatever the mail says."""
# `json.dumps` with options would make an encoder for each record.
_ENCODER = json.JSONEncoder(separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Record:
    """One delivered entry of the queue.

    Attributes:
        mailboxes: for each mailbox that has the message, by name, the recipients that led there.
        entry: the queue's, unchanged.
    """

    mailboxes: Mapping[str, tuple[str, ...]]
    entry: str


@dataclass(frozen=True, slots=True)
class Replay:
    """The mailbox for which a message comes again, and the envelope recipients that led there."""

    mailbox: str
    originals: tuple[str, ...]


def write_record(record: Record) -> bytes:
    """Return the record as one line of JSON."""
    document = {"mailboxes": record.mailboxes, "entry": record.entry}
    return _ENCODER.encode(document).encode() + b"\n"


def read_records(octets: bytes) -> Iterator[Record]:
    """Parse lines of `write_record`. Lines that are not records are skipped."""
    for line in octets.splitlines():
        fields = _fields(line)
        entry, mailboxes = fields.get("entry"), fields.get("mailboxes")
        if isinstance(entry, str) and isinstance(mailboxes, dict):
            named = cast("dict[str, object]", mailboxes)
            yield Record({name: _texts(each) for name, each in named.items()}, entry)


def write_replay(replay: Replay) -> str:
    """Return the value of the attribute."""
    return json.dumps({"mailbox": replay.mailbox, "originals": replay.originals})


def read_replay(value: str) -> Replay:
    """Parse the attribute's value; an invalid one names no mailbox ("")."""
    fields = _fields(value)
    mailbox = fields.get("mailbox")
    return Replay(mailbox if isinstance(mailbox, str) else "", _texts(fields.get("originals")))


def _fields(text: str | bytes) -> dict[str, object]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _texts(value: object) -> tuple[str, ...]:
    values = cast("list[object]", value) if isinstance(value, list) else []
    return tuple(each for each in values if isinstance(each, str))
