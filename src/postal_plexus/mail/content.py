"""Transform a message's content in chunks of any size on its way into a mailbox.

`LineEnds` makes every line end CRLF, `HeaderBlock` puts trace headers on top and renames forged
ones, `DotStuffing` prepares for DATA (RFC 5321, section 4.5.2). Chained in that order they prevent
SMTP smuggling: after `LineEnds` there is no bare CR or LF that a server could take for the end of
the content. Each buffers a limited number of octets. None of them fails, because every octet string
is a message, except if a header block is longer than its `HeaderBlock` allows
(`HeaderTooLongError`).
"""

import re
from dataclasses import dataclass
from io import IncrementalNewlineDecoder

# The longest field that is examined completely before a decision. Longer ones are renamed, because
# only somebody who uses our name has a reason to write such a long one.
_LONGEST_FIELD = 4096
_SHORTEST_OWN = b"x-plexus-"
_RESULTS = b"authentication-results"
_DELIVERED_TO = b"delivered-to:"
_MOST_DELIVERED_TO = 128
_FORGED = b"X-Forged-"
TraceFields = tuple[tuple[str, str], ...]
"""Name and value of each field to put on top of a message."""
_NAME_END = re.compile(rb"[ \t\r\n]*:")


class HeaderTooLongError(Exception):
    """The header block exceeds its limit."""


@dataclass(frozen=True, slots=True)
class HeaderBound:
    """The octets and fields that a header block may have."""

    octets: int
    fields: int


class LineEnds:
    """Converts bare LF and bare CR to CRLF, and ends the content with CRLF."""

    def __init__(self) -> None:
        self._held_cr = False
        self._open_line = False

    def feed(self, chunk: bytes) -> bytes:
        """Return the chunk with CRLF line ends; a CR at its end waits for the next chunk."""
        if self._held_cr:
            chunk = b"\r" + chunk
        self._held_cr = chunk.endswith(b"\r")
        if self._held_cr:
            chunk = chunk[:-1]
        if not chunk:
            return b""
        # Nearly all content has CRLF only. This sees it in one pass; counting takes four times as
        # long.
        seen = IncrementalNewlineDecoder(None, translate=False)
        seen.decode(chunk.decode("latin-1"), final=True)
        if seen.newlines not in (None, "\r\n"):
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
        self._open_line = not chunk.endswith(b"\n")
        return chunk

    def finish(self) -> bytes:
        """Return what is still due at the end of the content."""
        owed = b"\r\n" if self._held_cr or self._open_line else b""
        self._held_cr = self._open_line = False
        return owed


class DotStuffing:
    """Doubles a dot at the beginning of a line. Requires content with CRLF line ends."""

    def __init__(self) -> None:
        self._at_line_start = True

    def feed(self, chunk: bytes) -> bytes:
        """Return the chunk, dot-stuffed."""
        if not chunk:
            return b""
        stuffed = chunk.replace(b"\n.", b"\n..")
        if self._at_line_start and chunk.startswith(b"."):
            stuffed = b"." + stuffed
        self._at_line_start = chunk.endswith(b"\n")
        return stuffed


class HeaderBlock:
    """Puts `trace` headers on top and renames headers that only we may write.

    All `X-Plexus-*` and each `Authentication-Results` that names our `authserv_id` (RFC 8601,
    section 5) get the prefix `X-Forged-`. Requires content with CRLF line ends. After the header
    block, chunks pass unchanged.

    `received` counts the Received fields so far and `delivered_to` holds the addresses of the
    Delivered-To fields (lower case), both for loop detection. `feed` raises HeaderTooLongError if a
    chunk ends beyond the `bound` and the header block has not ended.
    """

    def __init__(
        self, trace: TraceFields, authserv_id: str, bound: HeaderBound | None = None
    ) -> None:
        self._bound = bound
        self._octets = self._fields = 0
        # Values may come from an envelope: whatever they contain, each stays on one line.
        self._trace = b"".join(
            f"{name}: {value}\r\n".encode()
            if value.isprintable()
            else f"{name}: {''.join(c if c.isprintable() else '?' for c in value)}\r\n".encode()
            for name, value in trace
        )
        self._authserv_id = authserv_id.lower().encode()
        self._held = b""
        self._in_header = True
        self._in_line = False  # the beginning of the current line has been passed on
        self._started = False
        self.received = 0
        self.delivered_to: set[str] = set()

    @property
    def complete(self) -> bool:
        """Return whether the whole header block has been seen."""
        return not self._in_header

    def feed(self, chunk: bytes) -> bytes:
        """Return the chunk with its header lines checked; up to 4 KB may wait for the next."""
        if not self._in_header:
            return chunk
        if not chunk:
            return b""
        octets = self._held + chunk
        begun = self._begin(octets)
        end = self._end_of_header(octets)
        if end < 0:
            self._must_be_within_bound(chunk)
            return begun + self._partial(octets)
        self._in_header = False
        self._held = b""
        # The rest may be long: it is neither searched nor copied more than once.
        return b"".join((begun, self._lines(octets[:end]), memoryview(octets)[end:]))

    def finish(self) -> bytes:
        """Return what is still buffered at the end, and the trace headers of an empty content."""
        held, self._held = self._held, b""
        if not self._in_header:
            return held
        self._in_header = False
        return self._begin(held) + self._lines(held)

    def _begin(self, content: bytes) -> bytes:
        if self._started:
            return b""
        self._started = True
        # If the first line begins with white space, it would continue our last trace header, and
        # the sender could write into it. So it gets a header of its own to continue.
        continued = b"X-Plexus-Continued:\r\n" if content[:1] in (b" ", b"\t") else b""
        return self._trace + continued

    def _end_of_header(self, octets: bytes) -> int:
        """Return where the blank line begins that ends the header block, or -1."""
        if not self._in_line and octets.startswith(b"\r\n"):
            return 0
        end = octets.find(b"\r\n\r\n")
        return end + 2 if end >= 0 else -1

    def _partial(self, octets: bytes) -> bytes:
        """Pass on the complete fields; keep the last, which may continue in the next chunk."""
        cut = _last_field(octets)
        if cut == 0 and self._in_line:
            # The line's beginning is decided already: everything except a line end may pass.
            cut = len(octets)
        elif len(octets) - cut > _LONGEST_FIELD:
            passed = self._lines(octets)
            self._held, self._in_line = b"", not octets.endswith(b"\n")
            return passed
        passed, self._held = self._lines(octets[:cut]), octets[cut:]
        if cut:
            self._in_line = not octets[:cut].endswith(b"\n")
        return passed

    def _must_be_within_bound(self, chunk: bytes) -> None:
        """Count a chunk that is header to its end."""
        self._octets += len(chunk)
        folds = chunk.count(b"\n ") + chunk.count(b"\n\t")
        self._fields += chunk.count(b"\n") - folds
        bound = self._bound
        if bound is None:
            return
        if self._octets > bound.octets:
            raise HeaderTooLongError(f"the header has more than {bound.octets // 1024} KB")
        if self._fields > bound.fields:
            raise HeaderTooLongError(f"the header has more than {bound.fields} fields")

    def _lines(self, octets: bytes) -> bytes:
        """Return whole lines of the header block (the first may be the rest of a line)."""
        lower = octets.lower()
        self.received += lower.count(b"\nreceived:")
        if not self._in_line and lower.startswith(b"received:"):
            self.received += 1
        places: list[int] = []
        for name in (_SHORTEST_OWN, _RESULTS, _DELIVERED_TO):
            if not self._in_line and lower.startswith(name):
                self._look_at(name, lower, 0, places)
            place = lower.find(b"\n" + name)
            while place >= 0:
                self._look_at(name, lower, place + 1, places)
                place = lower.find(b"\n" + name, place + 1)
        if not places:
            return octets
        parts: list[bytes] = []
        done = 0
        for place in sorted(places):
            parts += [octets[done:place], _FORGED]
            done = place
        return b"".join([*parts, octets[done:]])

    def _look_at(self, name: bytes, lower: bytes, place: int, renamed: list[int]) -> None:
        if name is _SHORTEST_OWN:
            renamed.append(place)
            return
        field = lower[place : place + _LONGEST_FIELD]
        end = _field_end(field)
        if name is _DELIVERED_TO:
            if len(self.delivered_to) < _MOST_DELIVERED_TO:
                address = field[len(name) : end].strip().strip(b"<>")
                self.delivered_to.add(address.decode("ascii", "replace"))
            return
        if _NAME_END.match(field, len(name)) is None:
            return  # a longer name with the same beginning
        value = field[:end]
        whole = end < len(field) or len(field) < _LONGEST_FIELD
        if not whole or self._authserv_id in _authserv(value.partition(b":")[2]):
            renamed.append(place)


def _authserv(value: bytes) -> bytes:
    """Return the authserv-id of an Authentication-Results field (RFC 8601, section 2.2).

    Comments and white space may precede it, and it may be quoted. If a comment or quoted string has
    no end, readers may differ: then all of the value counts.
    """
    found = bytearray()
    depth, quoted, escaped = 0, False, False
    for octet in value:
        if escaped:
            escaped = False
        elif octet == 0x5C:  # a backslash
            escaped = depth > 0 or quoted
            continue
        elif quoted or (octet == 0x22 and not depth):
            quoted = quoted != (octet == 0x22)
            if octet == 0x22:
                continue
        elif octet in b"()":
            depth = max(0, depth + (1 if octet == 0x28 else -1))
            continue
        elif octet == 0x3B and not depth:  # a semicolon
            return bytes(found)
        if not depth and octet not in b" \t\r\n":
            found.append(octet)
    return value if depth or quoted else bytes(found)


def _field_end(field: bytes) -> int:
    """Return where a header field ends: at the first line end that no white space follows."""
    end = field.find(b"\r\n")
    while end >= 0 and field[end + 2 : end + 3] in (b" ", b"\t"):
        end = field.find(b"\r\n", end + 2)
    return end if end >= 0 else len(field)


def _last_field(octets: bytes) -> int:
    """Return where the last header field of a chunk begins, with all its continuation lines."""
    start = octets.rfind(b"\n")
    # A line end at the end of a chunk may be followed by a continuation line in the next one.
    if start == len(octets) - 1:
        start = octets.rfind(b"\n", 0, start)
    while start >= 0 and octets[start + 1 : start + 2] in (b" ", b"\t"):
        start = octets.rfind(b"\n", 0, start)
    return start + 1
