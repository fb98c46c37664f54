"""One mail of a file, read as a stream: what is stored, its name, and what its header says.

What is stored has LF line ends, and lacks the fields by which an mbox keeps its notes (Status,
X-Mozilla-Status and so on), which become flags. Its name is a hash of that, but for the fields that
Google adds, since labels change: a mail that comes again, from whichever file, has the same name.
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
_LATEST = 4_102_444_800  # 2100: a later date is a fault, or a joke
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
    """A mail as a source has it.

    Attributes:
        levels: of its folder in the source; `()` for the inbox.
        where: the file, and the place in it, for people.
        pieces: its octets; each piece is a line, or a part of a long one. To be read once, before
            the source's next mail.
        flags: as a Maildir's letters, where the source has them beside the mail; None: the header
            says them, or nothing does.
        date: of its arrival, in seconds since 1970, where the source knows.
        else_date: where the header does not know it, either.
        is_mbox: without a note in its header it is new.
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
    """A mail that was read.

    Attributes:
        content: what is stored, to be read from its beginning; without the rest of what is too
            large.
        octets: of that; of all, where it is too large.
        lines: how many there are: IMAP counts an octet more for each.
        digest: 16 octets of its name.
        labels: Gmail's, None where there are none.
        is_expunged: its owner has deleted it; the file was not yet made smaller.
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
        """Whether no mailbox takes it."""
        return self.imap_octets > LARGEST


@dataclass
class _Header:
    """What the header of one mail says, field by field."""

    values: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    name: bytes = b""
    is_first: bool = False

    def begin(self, line: bytes) -> None:
        """Take the first piece of a field."""
        found = _FIELD.match(line)
        self.name = found[1].lower() if found else b""
        # The top Received is the last hop; of all others the first counts, too.
        self.is_first = self.name in _READ and self.name not in self.values
        if found and self.is_first:
            self.values[self.name] = line[found.end() :]

    def add(self, piece: bytes) -> None:
        """Take a further piece of it."""
        if self.is_first and len(self.values[self.name]) < _LONGEST_VALUE:
            self.values[self.name] += piece

    def text(self, name: bytes) -> str:
        """Return a field's value; "" for none."""
        return self.values.get(name, b"")[:_LONGEST_VALUE].decode("utf-8", "replace").strip()


def pieces_of(stream: BinaryIO) -> Iterator[bytes]:
    """Give a stream's lines; a long one in several pieces."""
    while piece := stream.readline(LONGEST_LINE):
        yield piece


def read(found: Found) -> Mail:
    """Read a mail to its end. Its `content` is to be closed."""
    content = cast("BinaryIO", tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY))  # noqa: SIM115
    mail, header, digest = Mail(content), _Header(), hashlib.sha256()
    in_header = at_start = True
    ends = 0  # line ends that are not hashed yet: how many are last is the file's, not the mail's
    for piece in _with_line_feeds(found.pieces):
        if in_header:
            if at_start and piece == b"\n":
                in_header = False
                header.name = b""
            elif at_start and not piece.startswith((b" ", b"\t")):
                if not mail.octets and piece.startswith((b"From ", b">From ")):
                    at_start = piece.endswith(b"\n")
                    header.name = b"status"  # of an mbox, and to be left out to its end
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
    """Give the pieces with LF for CRLF, also where a long line was cut between both."""
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
    """Say a mail's flags, keywords, labels and date by its header and what its source knows."""
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
    """Return the flags in the fields of an mbox; its keywords are added."""
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
    """Return the seconds since 1970 of a date as mails have it; None if it is none."""
    try:
        parsed = parsedate_tz(text.strip())
        # Without a zone it is read as UTC, not as this machine's.
        return (
            None if parsed is None else calendar.timegm((*parsed[:6], 0, 0, 0)) - (parsed[9] or 0)
        )
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
