"""The stream that carries messages from an operator's files to a task. Pure.

Each message is a line of JSON and the message's octets, with LF line ends:

    {"folder": "Work/2020", "name": 32 hex digits, "flags": "FS", "keywords": ["x"],
     "date": seconds since 1970, "octets": 600}\\n...

The name is a hash of the content, by which a repeated message is recognized. As the name of a
Maildir's file it becomes the GUID. The sender is not trusted: what matches no pattern raises
RecordError.
"""

import json
import re
from dataclasses import asdict, dataclass
from typing import Any, Protocol, cast

from postal_plexus.maintenance.modified_utf7 import encode

INBOX = "INBOX"
LARGEST = 40 * 1024 * 1024
"""Octets of a mail that a mailbox takes (quota_mail_size, and SES), with CRLF line ends."""

_LONGEST_HEAD = 32_768
_MOST_KEYWORDS = 100
_NAME = re.compile(r"[0-9a-f]{32}")
_FLAGS = re.compile(r"D?F?R?S?T?")
# RFC 3501, atom; and what Dovecot's file of keywords can contain.
_KEYWORD = re.compile(r"[^\x00-\x20\x7f-\U0010ffff(){%*\"\\\]]{1,100}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_OWN = re.compile(
    r"cur|new|tmp|subscriptions|maildirfolder|[.~].*|dovecot.*|shared|INBOX", re.IGNORECASE
)


class RecordError(ValueError):
    """The input is not a stream of messages; the text says why."""


class Stream(Protocol):
    """The input."""

    def readline(self, size: int = -1, /) -> bytes:
        """Read to the end of a line."""
        ...


@dataclass(frozen=True)
class Record:
    """The head of one message.

    Attributes:
        folder: in Unicode, "/" between levels.
        name: a hash of the content, which becomes the GUID.
        flags: a Maildir's letters, sorted.
        keywords: the keywords.
        date: when the message was received, in seconds since 1970.
        octets: the size of the content that follows.
    """

    folder: str
    name: str
    flags: str
    keywords: tuple[str, ...]
    date: int
    octets: int


def is_reserved(level: str) -> bool:
    """Return whether a Maildir, or a mailbox here, reserves a folder name."""
    return bool(_OWN.fullmatch(level))


def is_keyword(text: str) -> bool:
    """Return whether a message here can have this keyword."""
    return bool(_KEYWORD.fullmatch(text))


def write_head(record: Record) -> bytes:
    """Return the line before a message's octets."""
    return json.dumps(asdict(record), separators=(",", ":")).encode() + b"\n"


def read_head(stream: Stream) -> Record | None:
    """Return the next message's head; None at the end. Then read its octets.

    Raises:
        RecordError: the line is not one.
    """
    line = stream.readline(_LONGEST_HEAD)
    if not line:
        return None
    if not line.endswith(b"\n"):
        raise RecordError("a head is too long, or truncated")
    try:
        given = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RecordError("a head is no JSON") from error
    kinds: dict[str, type] = {
        "folder": str, "name": str, "flags": str, "keywords": list, "date": int, "octets": int,
    }  # fmt: skip
    if not isinstance(given, dict):
        raise RecordError("a head is not a JSON object")
    values = cast("dict[str, Any]", given)
    if values.keys() != kinds.keys() or any(type(values[key]) is not kinds[key] for key in kinds):
        raise RecordError("a head lacks a field, or has too many")
    if not all(isinstance(each, str) for each in values["keywords"]):
        raise RecordError("keywords are words")
    values["keywords"] = tuple(values["keywords"])
    record = Record(**values)
    _check(record)
    return record


def _check(record: Record) -> None:
    levels = record.folder.split("/")
    if record.folder != INBOX and any(
        not each or is_reserved(each) or _CONTROL.search(each) or len(encode(each)) > 255
        for each in levels
    ):
        raise RecordError(f"not a folder name: {record.folder[:100]!r}")
    if len(levels) > 20:
        raise RecordError("a folder has more than 20 levels")
    if not _NAME.fullmatch(record.name) or not _FLAGS.fullmatch(record.flags):
        raise RecordError("invalid name or flags of a message")
    if len(record.keywords) > _MOST_KEYWORDS or not all(
        is_keyword(each) for each in record.keywords
    ):
        raise RecordError("no keywords")
    if not 0 <= record.date < 1 << 32 or not 0 < record.octets <= LARGEST:
        raise RecordError("invalid date or size of a message")
