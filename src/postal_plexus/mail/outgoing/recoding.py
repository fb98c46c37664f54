"""Re-encode bodies with lines over 998 octets part by part, so that every line is short. Pure.

RFC 5322, 2.1.1 allows 998 octets; Postfix would break a longer line anywhere, even within a
character. Each MIME part with a long line gets another Content-Transfer-Encoding (RFC 2045):
quoted-printable for text, otherwise base64. Multiparts and attached messages must not be encoded
themselves (RFC 2046, 5.2.1), so their parts are. Lines of a preamble stay. Within a
multipart/signed this breaks the signature (RFC 1847, 2.1: its first part is opaque to relays);
`Survey.breaks_signature` reports that.

Two passes over the same chunks, of any size, with CRLF line ends: `survey`, then `recoded`. Memory
is bounded for any input: a line may be 40 MB long.
"""

import re
from binascii import b2a_base64, b2a_qp
from collections.abc import Callable, Iterable, Iterator

LONGEST_LINE = 998
_PIECE = 16 * 1024
_LONGEST_HEADER = 128 * 1024
_DEEPEST = 100
_LINES = re.IGNORECASE | re.MULTILINE
_TYPE = re.compile(rb"^content-type[ \t]*:[ \t\r\n]*([a-z0-9.+-]+)/([a-z0-9.+-]+)", _LINES)
_BOUNDARY = re.compile(
    rb"""boundary[ \t]*=[ \t\r\n]*(?:"((?:[^"\\]|\\.){1,200})"|([^\s";]{1,200}))""", re.IGNORECASE
)
_ENCODING = re.compile(rb"^content-transfer-encoding[ \t]*:[ \t\r\n]*\"?([a-z0-9-]+)", _LINES)
_PRINTABLE = bytes((*range(33, 61), *range(62, 127), 9, 32, 13, 10))

QUOTED_PRINTABLE = "quoted-printable"
BASE64 = "base64"
_REWRAP = "rewrap"
_SOFT = "soft"


class LongestLine:
    """Measures the longest line in chunks, without its line end."""

    __slots__ = ("_open", "octets")

    def __init__(self) -> None:
        self.octets = 0
        self._open = 0

    def feed(self, chunk: bytes) -> None:
        """Take the next chunk."""
        lines = chunk.split(b"\n")
        lengths = list(map(len, lines))
        lengths[0] += self._open
        self._open = lengths[-1]
        # A CR before LF belongs to the line end.
        longest = max(lengths) - (1 if len(lengths) > 1 else 0)
        self.octets = max(self.octets, longest)


class _Part:
    """What is known about a part, from its header and from the first pass over its body."""

    __slots__ = (
        *("boundary", "encoding", "is_mail", "is_signed", "is_text"),
        *("escapes", "line", "long", "octets", "returns"),
    )

    def __init__(self, header: bytes) -> None:
        unfolded = header[:_LONGEST_HEADER]
        kind = _TYPE.search(unfolded)
        main, sub = (kind[1].lower(), kind[2].lower()) if kind else (b"text", b"plain")
        encoding = _ENCODING.search(unfolded)
        self.encoding = encoding[1].lower() if encoding else b"7bit"
        self.boundary = b""
        self.is_signed = main == b"multipart" and sub == b"signed"
        if main == b"multipart" and kind is not None:
            rest = unfolded[kind.end() :]
            found = _BOUNDARY.search(rest)
            if found:
                self.boundary = b"--" + re.sub(rb"\\(.)", rb"\1", found[1] or found[2])
        encoded = self.encoding in (b"base64", b"quoted-printable")
        self.is_mail = main == b"message" and sub in (b"rfc822", b"global") and not encoded
        self.is_text = main in (b"text", b"message")
        self.long = False
        self.line = self.octets = self.escapes = self.returns = 0

    def measure(self, piece: bytes, *, ends: bool) -> None:
        self.line += len(piece) - (2 if ends else 0)
        self.long = self.long or self.line > LONGEST_LINE
        self.octets += len(piece)
        self.escapes += len(piece.translate(None, _PRINTABLE))
        self.returns += piece.count(b"\r") - (1 if piece.endswith(b"\r\n") else 0)
        if ends:
            self.line = 0

    @property
    def leaf(self) -> bool:
        return not self.boundary and not self.is_mail

    @property
    def remedy(self) -> str:
        """How its body must be re-encoded; "" if it may stay."""
        if not self.long or not self.leaf:
            return ""
        if self.encoding == b"base64":
            return _REWRAP
        if self.encoding == b"quoted-printable":
            return _SOFT
        if self.is_text and self.escapes * 4 < self.octets and not self.returns:
            return QUOTED_PRINTABLE
        return BASE64


class Survey:
    """The result of the first pass: each part's remedy in order, and the size of the result.

    `breaks_signature`: a part that must be re-encoded is in a multipart/signed.
    """

    __slots__ = ("breaks_signature", "octets", "remedies")

    def __init__(self, remedies: list[str], octets: int, *, breaks_signature: bool) -> None:
        self.remedies = remedies
        self.octets = octets
        self.breaks_signature = breaks_signature

    @property
    def needed(self) -> bool:
        """Whether any part must be re-encoded."""
        return any(self.remedies)

    @property
    def top_encoding(self) -> str:
        """The new Content-Transfer-Encoding of the message's own header; "" if it stays."""
        return _new_encoding(self.remedies[0])


def _new_encoding(remedy: str) -> str:
    return remedy if remedy in (QUOTED_PRINTABLE, BASE64) else ""


def survey(header: bytes, chunks: Iterable[bytes]) -> Survey:
    """Find the parts with long lines. `header` is the message's own Content-* fields, as lines."""
    parts: list[_Part] = []
    for _ in _walk(header, chunks, parts, _nothing):
        pass
    remedies = [part.remedy for part in parts]
    octets = 0
    for part in parts:
        octets += part.octets
        if part.remedy == BASE64:
            octets += part.octets * 3 // 8
        elif part.remedy == QUOTED_PRINTABLE:
            octets += part.escapes * 2 + part.octets // 20
        elif part.remedy:
            octets += part.octets // 20
    broken = any(part.is_signed and part.remedy for part in parts)
    return Survey(remedies, octets, breaks_signature=broken)


def recoded(header: bytes, chunks: Iterable[bytes], found: Survey) -> Iterator[bytes]:
    """Yield the body with every part's remedy applied."""

    def writer(number: int) -> "_Writer | None":
        remedy = found.remedies[number] if number < len(found.remedies) else ""
        writer = _WRITERS[remedy]() if remedy else None
        if writer is not None:
            writer.is_whole = number == 0
        return writer

    yield from _walk(header, chunks, [], writer)


def _nothing(_number: int) -> None:
    return None


def _walk(  # noqa: PLR0912, PLR0915  (one state machine, in one place)
    header: bytes,
    chunks: Iterable[bytes],
    parts: list[_Part],
    writer_of: "Callable[[int], _Writer | None]",
) -> Iterator[bytes]:
    """Go through a body line by line; yield it with the writers' changes."""
    stack: list[bytes] = []
    signed: list[bool] = []  # for each open multipart: whether it is, or is in, a signed one
    held: list[bytes] | None = None  # header lines of the new part, until its blank line
    held_octets = 0
    part = _Part(header)
    parts.append(part)
    writer = writer_of(0) if part.leaf else None
    if part.boundary:
        stack.append(part.boundary)
        signed.append(part.is_signed)
    elif part.is_mail:
        held = []
    begins = True
    for piece in _pieces(chunks):
        ends = piece.endswith(b"\n")
        if begins and piece.startswith(b"--") and stack:
            closed = _closed(piece, stack)
            if closed is not None:
                if held is not None:
                    yield b"".join(held)
                if writer is not None:
                    yield writer.finish()
                    writer = None
                level, over = closed
                del stack[level + 1 :], signed[level + 1 :]
                if over:
                    stack.pop()
                    signed.pop()
                    held, part = None, _Part(b"Content-Type: multipart/closed\r\n")
                    part.is_mail = True  # an epilogue stays as it is
                else:
                    held, held_octets = [], 0
                yield piece
                begins = ends
                continue
        if held is not None:
            held.append(piece)
            held_octets += len(piece)
            if (begins and piece in (b"\r\n", b"\n")) or held_octets > _LONGEST_HEADER:
                lines = b"".join(held)
                held, held_octets = None, 0
                part = _Part(lines)
                parts.append(part)
                writer = writer_of(len(parts) - 1) if part.leaf else None
                encoding = writer.encoding if writer is not None else ""
                yield _with_encoding(lines, encoding) if encoding else lines
                part.is_signed = part.is_signed or any(signed[-1:])
                if part.boundary and len(stack) < _DEEPEST:
                    stack.append(part.boundary)
                    signed.append(part.is_signed)
                elif part.is_mail and len(parts) < 10_000:
                    held = []
        elif writer is not None:
            yield writer.feed(piece, ends=ends)
        else:
            if part.leaf:
                part.measure(piece, ends=ends)
            else:
                part.octets += len(piece)
            yield piece
        begins = ends
    if held is not None:
        yield b"".join(held)
    if writer is not None:
        yield writer.finish()


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines with their ends; long ones in pieces that never separate a CR from its LF."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            place = 0
            while len(line) - place > _PIECE:
                yield line[place : place + _PIECE - 1]
                place += _PIECE - 1
            yield line[place:] + b"\n"
        while len(rest) > _PIECE:
            yield rest[: _PIECE - 1]
            rest = rest[_PIECE - 1 :]
    if rest:
        yield rest


def _closed(line: bytes, stack: list[bytes]) -> tuple[int, bool] | None:
    """Return (level, whether it is the last) if a line is one of the open boundaries."""
    said = line.rstrip(b" \t\r\n")
    for level in range(len(stack) - 1, -1, -1):
        if said == stack[level]:
            return level, False
        if said == stack[level] + b"--":
            return level, True
    return None


def _with_encoding(header: bytes, encoding: str) -> bytes:
    """Return a part's header, including the blank line, with another Content-Transfer-Encoding."""
    kept: list[bytes] = []
    leaving = False
    for line in header.splitlines(keepends=True):
        if line[:1] not in (b" ", b"\t"):
            leaving = line.lower().startswith(b"content-transfer-encoding")
        if not leaving:
            kept.append(line)
    blank = kept.pop() if kept and not kept[-1].strip() else b"\r\n"
    return b"".join((*kept, b"Content-Transfer-Encoding: ", encoding.encode(), b"\r\n", blank))


class _Writer:
    """Writes one part's body anew. The last line end is the next boundary's, so it stays outside,
    but for a body that is the whole mail's (`is_whole`).
    """

    encoding = ""
    is_whole = False

    def feed(self, piece: bytes, *, ends: bool) -> bytes:
        raise NotImplementedError

    def finish(self) -> bytes:
        return b""


class _Quoted(_Writer):
    encoding = QUOTED_PRINTABLE

    def feed(self, piece: bytes, *, ends: bool) -> bytes:
        text = piece.rstrip(b"\r\n") if ends else piece
        quoted = b2a_qp(text, istext=True).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        # A line with only a dot, or a "From ", needs no care here: Postfix stuffs dots.
        return quoted + (b"\r\n" if ends else b"=\r\n")


class _Base64(_Writer):
    encoding = BASE64

    def __init__(self) -> None:
        self._rest = b""
        self._end = b""

    def feed(self, piece: bytes, *, ends: bool) -> bytes:
        octets = self._rest + self._end + piece
        self._end = b""
        if ends:
            text = octets.rstrip(b"\n").removesuffix(b"\r") if octets.endswith(b"\n") else octets
            self._end = octets[len(text) :]
            octets = text
        cut = len(octets) // 57 * 57
        self._rest = octets[cut:]
        return _lines(octets[:cut])

    def finish(self) -> bytes:
        rest, self._rest = self._rest + (self._end if self.is_whole else b""), b""
        return _lines(rest)


class _Rewrap(_Writer):
    """base64 in lines that are too long."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes, *, ends: bool) -> bytes:  # noqa: ARG002
        octets = self._rest + piece.translate(None, b"\r\n\t ")
        cut = len(octets) // 76 * 76
        self._rest = octets[cut:]
        return b"".join(octets[at : at + 76] + b"\r\n" for at in range(0, cut, 76))

    def finish(self) -> bytes:
        return self._rest + b"\r\n" if self._rest else b""


class _SoftBreaks(_Writer):
    """quoted-printable in lines that are too long."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes, *, ends: bool) -> bytes:
        octets = self._rest + piece
        self._rest = b""
        lines: list[bytes] = []
        end = octets[len(octets.rstrip(b"\r\n")) :] if ends else b""
        text = octets[: len(octets) - len(end)]
        while len(text) > 75:
            cut = 75
            equals = text.rfind(b"=", cut - 2, cut)
            if equals >= 0:
                cut = equals
            lines.append(text[:cut] + b"=\r\n")
            text = text[cut:]
        if ends:
            lines.append(text + end)
        else:
            self._rest = text
        return b"".join(lines)

    def finish(self) -> bytes:
        return self._rest


_WRITERS: "dict[str, type[_Writer]]" = {
    QUOTED_PRINTABLE: _Quoted,
    BASE64: _Base64,
    _REWRAP: _Rewrap,
    _SOFT: _SoftBreaks,
}


def _lines(octets: bytes) -> bytes:
    """base64 in lines of 76."""
    return b"".join(
        b2a_base64(octets[at : at + 57], newline=False) + b"\r\n"
        for at in range(0, len(octets), 57)
    )
