"""Parse a message's header block, as far as SES needs it for its JSON and its checks.

The bytes may be anything: bare LF, no header at all, 8-bit, NUL. Nothing fails; a line that is not
a header field is skipped, and undecodable bytes become U+FFFD.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header, make_header

from awsdesk.ses import addresses as address_lists

# Only the beginning of a message is searched for its header: 40 MB without an empty line are
# content, not a header (SES itself truncates headers in notifications at 10 KB).
HEADER_SEARCH_LIMIT = 1024 * 1024
# RFC 5322 2.2: printable US-ASCII except colon and space.
_FIELD = re.compile(rb"^([\x21-\x39\x3b-\x7e]+)[ \t]*:(.*)$", re.DOTALL)
_SPECIALS = re.compile(r'[()<>\[\]:;@\\,."]')
# Some codecs take a time that grows with the square of the length.
_DECODED_LIMIT = 10 * 1024
_END = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True)
class Field:
    """One header field: its name as written, its value unfolded, and where its bytes are."""

    name: str
    value: str
    start: int
    end: int


def split(content: bytes) -> tuple[bytes, int]:
    """Return the header block (without its closing empty line) and where the body starts."""
    head = content[:HEADER_SEARCH_LIMIT]
    if head.startswith((b"\r\n", b"\n")):
        return b"", 2 if head.startswith(b"\r\n") else 1
    end = _END.search(head)
    if end is None:
        return head, len(head)
    first_break = 2 if head[end.start() : end.start() + 2] == b"\r\n" else 1
    return head[: end.start() + first_break], end.end()


def fields(content: bytes) -> tuple[Field, ...]:
    """Return the header fields in order, unfolded (RFC 5322 2.2.3)."""
    block, _ = split(content)
    found: list[Field] = []
    current: tuple[int, bytearray] | None = None
    position = 0
    for line in block.splitlines(keepends=True):
        if line[:1] in (b" ", b"\t"):
            if current is not None:
                current[1].extend(b" " + line.strip())
        else:
            _close(found, current, position)
            current = (position, bytearray(line.rstrip(b"\r\n")))
        position += len(line)
    _close(found, current, position)
    return tuple(found)


def _close(found: list[Field], current: tuple[int, bytearray] | None, end: int) -> None:
    if current is None:
        return
    start, raw = current
    match = _FIELD.match(bytes(raw))
    if match is None:
        return
    name = match.group(1).decode("ascii")
    value = match.group(2).strip().decode("utf-8", errors="replace")
    found.append(Field(name, value, start, end))


def shown_in_json(found: tuple[Field, ...], limit: int) -> tuple[list[dict[str, str]], bool]:
    """Return the fields as name and value up to `limit` bytes, and whether some were left out."""
    kept: list[dict[str, str]] = []
    size = 0
    for field in found:
        size += field.end - field.start
        if size > limit:
            return kept, True
        kept.append({"name": field.name, "value": field.value})
    return kept, False


def values(found: tuple[Field, ...], name: str) -> list[str]:
    """Return the values of every field of that name."""
    return [field.value for field in found if field.name.lower() == name.lower()]


def decoded(value: str) -> str:
    """Return a field's value with RFC 2047 encoded words decoded, or as it is if it is broken."""
    if "=?" not in value or len(value) > _DECODED_LIMIT:
        return value
    try:
        text = str(make_header(decode_header(value)))
    except (HeaderParseError, LookupError, UnicodeError, ValueError):
        return value
    # UTF-7 and the like can yield lone surrogates, which JSON cannot contain.
    return text.encode("utf-8", "replace").decode("utf-8")


def addresses(found: tuple[Field, ...], name: str) -> list[str]:
    """Return the addr-specs of every address in the fields of that name."""
    return [one.address for one in _mailboxes(found, name)]


def displayed(found: tuple[Field, ...], name: str) -> list[str]:
    """Return the addresses in the fields of that name with their display names decoded."""
    return [
        f"{_phrase(decoded(one.name))} <{one.address}>" if one.name else one.address
        for one in _mailboxes(found, name)
    ]


def _phrase(name: str) -> str:
    """Return a display name as one line, in quotes if it needs them (RFC 5322 3.2.5)."""
    line = " ".join(name.split())
    quoted = re.sub(r'(["\\\\])', r"\\\1", line)
    return f'"{quoted}"' if _SPECIALS.search(line) else line


def _mailboxes(found: tuple[Field, ...], name: str) -> list[address_lists.Mailbox]:
    lists = [address_lists.read(value) for value in values(found, name)]
    return [one for each in lists for one in each.mailboxes if one.address]


def without(content: bytes, names: frozenset[str]) -> bytes:
    """Return the message without the header fields of these (lower-case) names, else unchanged."""
    block, body = split(content)
    kept = bytearray()
    position = 0
    for field in fields(content):
        if field.name.lower() not in names:
            continue
        kept += block[position : field.start]
        position = field.end
    kept += block[position:]
    return bytes(kept) + content[len(block) :] if body else content
