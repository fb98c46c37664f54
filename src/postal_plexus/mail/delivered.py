"""Records of deliveries: what `deliver` writes beside the archive, and `plexus replay` reads. Pure.

A mail as SES stored it does not say whom it was for: SES writes no envelope, and a blind recipient
or an alias stands in no header. So `deliver` keeps the queue's entry, and for each mailbox that has
the mail the envelope recipients that led there. A replay is that entry once more, for one mailbox.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

PREFIX = "deliveries/"
"""Where the records lie in the archive, named by time: DATE/TIME-RANDOM.jsonl, in UTC."""
REPLAY = "Replay"
"""The attribute of a queue entry that makes it a replay. Only operators can set one: what SES and
SNS send has no attributes, whatever the mail says."""


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of the queue that was delivered.

    Attributes:
        mailboxes: by name of each mailbox that has the mail, the recipients that led there.
        entry: the queue's, as it came.
    """

    mailboxes: Mapping[str, tuple[str, ...]]
    entry: str


@dataclass(frozen=True, slots=True)
class Replay:
    """For which mailbox a mail comes again, and by which of its envelope recipients."""

    mailbox: str
    originals: tuple[str, ...]


def write_record(record: Record) -> bytes:
    """Give the record as one line of JSON."""
    document = {"mailboxes": record.mailboxes, "entry": record.entry}
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def read_records(octets: bytes) -> Iterator[Record]:
    """Read lines of `write_record`. What is no record is left out: it costs no other the mail."""
    for line in octets.splitlines():
        fields = _fields(line)
        entry, mailboxes = fields.get("entry"), fields.get("mailboxes")
        if isinstance(entry, str) and isinstance(mailboxes, dict):
            named = cast("dict[str, object]", mailboxes)
            yield Record({name: _texts(each) for name, each in named.items()}, entry)


def write_replay(replay: Replay) -> str:
    """Give the value of the attribute."""
    return json.dumps({"mailbox": replay.mailbox, "originals": replay.originals})


def read_replay(value: str) -> Replay:
    """Read the attribute's value; what is not of this form names no mailbox ("")."""
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
