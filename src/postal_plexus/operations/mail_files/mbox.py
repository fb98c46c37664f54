"""Split an mbox stream into its messages (RFC 4155, mboxrd and mboxo).

A message begins with a line `From SENDER DATE`, at the beginning or after an empty line. Programs
write the date in any format, so the line counts if a header follows; without an empty line before
it, it also needs a valid date. Inside a message ">From " loses a ">", as mboxrd specifies; mboxo
differs only for lines that had a ">" themselves. No content is skipped: a file with anything before
the first such line is not an mbox, and a wrongly split message is complete in its parts.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO

from postal_plexus.operations.mail_files.message import LONGEST_LINE, date_of

_HEADER = re.compile(rb"[!-9;-~]+[ \t]*:|>From ")
_QUOTED = re.compile(rb">+From ")
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")
_DATED = re.compile(rb"From .*\d{1,2}:\d{2}.*\b(19|20)\d\d\b|From .*\b(19|20)\d\d\b.*\d{1,2}:\d{2}")
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]


@dataclass(frozen=True)
class Part:
    """One message of an mbox.

    Attributes:
        number: from 1.
        separator: its "From " line, without the line end.
        pieces: its octets; can be read once.
    """

    number: int
    separator: bytes
    pieces: Iterator[bytes]


def is_mbox(begun: bytes) -> bool:
    """Return whether a file with this beginning is an mbox."""
    return begun.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n").startswith(b"From ")


def split(stream: BinaryIO) -> Iterator[Part]:
    """Yield the messages of an mbox; the next one skips the unread rest of the previous one."""
    reader = _Reader(stream)
    number = 0
    while reader.separator is not None:
        number += 1
        pieces = reader.mail()
        yield Part(number, reader.separator, pieces)
        for _ in pieces:
            pass


class _Reader:
    """The state between two messages."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._next: bytes | None = None
        self.separator: bytes | None = None
        line = self._line()
        while line in (b"\n", b"\r\n", b"\xef\xbb\xbf"):
            line = self._line()
        line = line.removeprefix(b"\xef\xbb\xbf")
        if line.startswith(b"From "):
            self._begin(line)

    def mail(self) -> Iterator[bytes]:
        """Yield the pieces of the current message; `separator` is then that of the next one."""
        self.separator = None
        at_start = in_header = True
        is_after_blank = False
        held = b""  # an empty line before a separator or the end is not part of the message
        while line := self._line():
            if (
                at_start
                and line.startswith(b"From ")
                and self._separates(line, is_after_blank=is_after_blank)
            ):
                self._begin(line)
                return
            if held:
                yield held
                held = b""
            is_after_blank = at_start and line in (b"\n", b"\r\n")
            if is_after_blank and not in_header:
                held = line
                continue
            in_header = in_header and not is_after_blank
            is_quoted = at_start and line.startswith(b">") and _QUOTED.match(line)
            at_start = line.endswith(b"\n")
            yield line[1:] if is_quoted else line

    def _separates(self, line: bytes, *, is_after_blank: bool) -> bool:
        """Return whether a message begins here, by the lines that follow."""
        if not line.endswith(b"\n"):
            return False
        self._next = self._line()
        is_dated = bool(_DATED.match(line))
        if not self._next:
            return is_dated and is_after_blank
        if self._next in (b"\n", b"\r\n"):
            return is_dated
        return bool(_HEADER.match(self._next)) and (is_dated or is_after_blank)

    def _begin(self, line: bytes) -> None:
        self.separator = line.rstrip(b"\r\n")
        while line and not line.endswith(b"\n"):
            line = self._line()

    def _line(self) -> bytes:
        if self._next is not None:
            line, self._next = self._next, None
            return line
        return self._stream.readline(LONGEST_LINE)


def received(separator: bytes) -> int | None:
    """Return the date in a "From " line, in seconds since 1970; None if it has none.

    The format is that of asctime in UTC (RFC 4155), the same with a zone before or after the year,
    or that of a Date field. "From - " is Mozilla's, with the date of the copy.
    """
    words = separator.decode("utf-8", "replace").split()[1:]
    if not words or words[0] == "-":
        return None
    text = " ".join(words[1:])
    with suppress(ValueError):
        at = datetime.fromisoformat(text)
        return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
    if (plain := date_of(text)) is not None and re.match(r"\w{3},", text):
        return plain
    found = _CLOCK.search(text)
    months = [each for each in words[1:] if each.lower()[:3] in _MONTHS]
    years = re.findall(r"(?<![\d:+-])(?:19|20)\d\d(?!\d|:)", text)
    days = re.findall(r"(?<![\d:+-])\d{1,2}(?![\d:])", text)
    if not (found and months and years and days):
        return plain
    zone = re.search(r"(?<!\d)[+-]\d{4}\b", text)
    clock = found[0] if found[1] else f"{found[0]}:00"
    return date_of(f"{days[0]} {months[0][:3]} {years[-1]} {clock} {zone[0] if zone else '+0000'}")
