"""Read one message as a stream: its stored content, its name, and its header's flags and date.

The stored content has LF line ends. The header fields in which an mbox records flags (Status,
X-Mozilla-Status and so on) are removed. The name is a hash of the content without the fields that
Google adds, because labels change: the same message has the same name in any file.
"""

import calendar
import hashlib
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from email.utils import parsedate_tz
from typing import BinaryIO, cast

from postal_plexus.maintenance.mail_records import LARGEST, is_keyword
from postal_plexus.operations.mail_files import labels as gmail

LONGEST_LINE = 65_536
"""Octets of a piece: a longer line comes in several."""

_IN_MEMORY = 1 << 20
_LONGEST_VALUE = 16_384
_LATEST = 4_102_444_800  # 2100: a later date is wrong
_NOTES = {
    *(b"status", b"x-status", b"x-keywords", b"x-uid", b"x-imap", b"x-imapbase"),
    *(b"x-mozilla-status", b"x-mozilla-status2", b"x-mozilla-keys", b"content-length"),
}
_OF_GOOGLE = {b"x-gmail-labels", b"x-gm-thrid"}
_READ = _NOTES | _OF_GOOGLE | {b"received", b"date", b"x-unsent"}
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:")

# https://github.com/mozilla/releases-comm-central/blob/master/mailnews/base/public/nsMsgMessageFlags.idl
_MOZILLA = ((0x0001, "S"), (0x0002, "R"), (0x0004, "F"))
_MOZILLA_EXPUNGED, _MOZILLA_FORWARDED = 0x0008, 0x1000


@dataclass(frozen=True)
class Found:
    """A message in a source.

    Attributes:
        levels: the levels of its folder in the source; `()` for the inbox.
        where: the file, and the place in it, for error messages.
        pieces: its octets; each piece is a line, or a part of a long one. Can be read once, before
            the source's next message.
        flags: a Maildir's letters, if the source stores them outside the message; None: they are in
            the header, if anywhere.
        date: of its arrival, in seconds since 1970, if the source knows it.
        else_date: the date to use if the header has none, either.
        is_mbox: whether a message without flags in its header is unread.
    """

    levels: tuple[str, ...]
    where: str
    pieces: Iterable[bytes]
    flags: str | None = None
    keywords: tuple[str, ...] = ()
    date: int | None = None
    else_date: int = 0
    is_mbox: bool = False


@dataclass
class Mail:
    """A message that was read.

    Attributes:
        content: the content to store, positioned at its beginning; truncated if it is too large.
        octets: the size of the content; of all of it, if it is too large.
        lines: the number of lines: IMAP counts one more octet for each.
        digest: its name, 16 octets.
        labels: Gmail's, None if there are none.
        is_expunged: its owner has deleted it, and the file was not compacted yet.
    """

    content: BinaryIO
    octets: int = 0
    lines: int = 0
    digest: bytes = b""
    flags: str = ""
    keywords: tuple[str, ...] = ()
    date: int = 0
    labels: list[str] | None = None
    is_expunged: bool = False

    @property
    def imap_octets(self) -> int:
        """The octets as IMAP counts them."""
        return self.octets + self.lines

    @property
    def is_too_large(self) -> bool:
        """Whether it is too large for any mailbox."""
        return self.imap_octets > LARGEST


@dataclass
class _Header:
    """The header of one message, field by field."""

    values: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    name: bytes = b""
    is_first: bool = False

    def begin(self, line: bytes) -> None:
        """Take the first piece of a field."""
        found = _FIELD.match(line)
        self.name = found[1].lower() if found else b""
        # The top Received is the last hop; of all other fields the first counts, too.
        self.is_first = self.name in _READ and self.name not in self.values
        if found and self.is_first:
            self.values[self.name] = line[found.end() :]

    def add(self, piece: bytes) -> None:
        """Take another piece of the field."""
        if self.is_first and len(self.values[self.name]) < _LONGEST_VALUE:
            self.values[self.name] += piece

    def text(self, name: bytes) -> str:
        """Return a field's value, or "" if it is missing."""
        return self.values.get(name, b"")[:_LONGEST_VALUE].decode("utf-8", "replace").strip()


def pieces_of(stream: BinaryIO) -> Iterator[bytes]:
    """Yield a stream's lines; a long one in several pieces."""
    while piece := stream.readline(LONGEST_LINE):
        yield piece


def read(found: Found) -> Mail:
    """Read a message to its end. The caller closes its `content`."""
    content = cast("BinaryIO", tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY))  # noqa: SIM115
    mail, header, digest = Mail(content), _Header(), hashlib.sha256()
    in_header = at_start = True
    ends = 0  # line ends that are not hashed yet: how many are at the end depends on the file
    for piece in _with_line_feeds(found.pieces):
        if in_header:
            if at_start and piece == b"\n":
                in_header = False
                header.name = b""
            elif at_start and not piece.startswith((b" ", b"\t")):
                if not mail.octets and piece.startswith((b"From ", b">From ")):
                    at_start = piece.endswith(b"\n")
                    header.name = b"status"  # an mbox's field, to be left out to its end
                    continue
                header.begin(piece)
            else:
                header.add(piece)
        at_start = piece.endswith(b"\n")
        if header.name in _NOTES:
            continue
        mail.octets += len(piece)
        mail.lines += at_start
        if piece == b"\n":
            ends += 1
        elif header.name not in _OF_GOOGLE:
            digest.update(b"\n" * ends + piece.removesuffix(b"\n"))
            ends = int(at_start)
        if mail.imap_octets <= LARGEST:
            content.write(piece)
    content.seek(0)
    mail.digest = digest.digest()[:16]
    _describe(mail, header, found)
    return mail


def _with_line_feeds(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces with LF instead of CRLF, even if a piece ends between the two."""
    held = False
    for given in pieces:
        piece = given
        if held and piece != b"\n":
            piece = b"\r" + piece
        held = piece.endswith(b"\r")
        if held:
            piece = piece[:-1]
        elif piece.endswith(b"\r\n"):
            piece = piece[:-2] + b"\n"
        if piece:
            yield piece
    if held:
        yield b"\r"


def _describe(mail: Mail, header: _Header, found: Found) -> None:
    """Set a message's flags, keywords, labels and date from its header and its source."""
    flags, keywords = set(found.flags or ""), list(found.keywords)
    if header.text(b"x-gmail-labels"):
        mail.labels = gmail.read_labels(header.text(b"x-gmail-labels"))
        flags |= set(gmail.flags(mail.labels))
    elif found.flags is None:
        flags |= _noted(header, keywords)
        if not found.is_mbox and not flags and not _has_notes(header):
            flags = {"S"}
    mozilla = _mozilla(header)
    mail.is_expunged = bool(mozilla & _MOZILLA_EXPUNGED)
    if header.text(b"x-unsent") == "1":
        flags.add("D")
    mail.flags = "".join(sorted(flags))
    mail.keywords = tuple(dict.fromkeys(each for each in keywords if is_keyword(each)))[:100]
    mail.date = next(
        (
            each
            for each in (
                found.date,
                date_of(header.text(b"received").rpartition(";")[2]),
                date_of(header.text(b"date")),
            )
            if each is not None and 0 < each < _LATEST
        ),
        found.else_date,
    )


def _has_notes(header: _Header) -> bool:
    return bool(header.values.keys() & {b"status", b"x-status", b"x-mozilla-status"})


def _mozilla(header: _Header) -> int:
    text = header.text(b"x-mozilla-status")
    return int(text, 16) if re.fullmatch(r"[0-9A-Fa-f]{1,8}", text) else 0


def _noted(header: _Header, keywords: list[str]) -> set[str]:
    """Return the flags in an mbox's fields, and add its keywords."""
    flags: set[str] = set()
    status = header.text(b"status") + header.text(b"x-status")
    for letter, flag in (("R", "S"), ("A", "R"), ("F", "F"), ("T", "D"), ("D", "T")):
        if letter in status:
            flags.add(flag)
    mozilla = _mozilla(header)
    flags |= {flag for bit, flag in _MOZILLA if mozilla & bit}
    if mozilla & _MOZILLA_FORWARDED:
        keywords.append("$Forwarded")
    for name in (b"x-keywords", b"x-mozilla-keys"):
        keywords += header.text(name).replace(",", " ").split()
    return flags


def date_of(text: str) -> int | None:
    """Return the seconds since 1970 of a Date field's value; None if it is not a date."""
    try:
        parsed = parsedate_tz(text.strip())
        # A date without a zone is UTC, not local time.
        return (
            None if parsed is None else calendar.timegm((*parsed[:6], 0, 0, 0)) - (parsed[9] or 0)
        )
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
