"""A message as the page shows it: fields, text, harmless HTML, attachments, source.

Everything in a message is its sender's. The browser keeps its HTML harmless: it is shown in a frame
without scripts, forms and an origin, under a policy that loads nothing (`app`). In addition, `nh3`
removes what such a policy does not cover, such as links that open connections ahead of time, and
what is not needed. Pure; any octets produce a view.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from email import policy
from email.errors import HeaderParseError, MessageError
from email.parser import BytesHeaderParser, BytesParser
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import nh3

from postal_plexus.mail.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage

MOST_SHOWN = 2_000_000
"""How many octets of text, of HTML and of source are shown; the rest is in the download."""
_MOST_INLINE = 8_000_000
_MOST_PARTS = 500
_LONGEST_NAME = 120

# Types that a browser or a desktop opens without running anything of the sender's.
_QUIET_TYPES = frozenset(
    {
        *("image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf"),
        *("text/plain", "text/csv", "text/calendar", "application/zip", "application/gzip"),
    }
)
_IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp"})
# In addition to nh3's own: the layout of messages. `style` elements are removed.
_TAGS = nh3.ALLOWED_TAGS | {"font", "center", "style"}
_EVERYWHERE = frozenset(
    {
        *("style", "class", "align", "valign", "bgcolor", "color", "width", "height", "dir"),
        *("lang", "title", "border", "cellpadding", "cellspacing", "role", "face", "size"),
    }
)
_ATTRIBUTES = {
    **nh3.ALLOWED_ATTRIBUTES,
    "*": set(_EVERYWHERE),
    "img": {"src", "alt"},
    "a": {"href", "name"},
}
_ELSEWHERE = re.compile(r"(?:https?:)?//", re.IGNORECASE)
# Within a style. The frame's policy forbids what these miss. Style sheets of other servers are
# never loaded, images only on request.
_SHEETS = re.compile(r"@import\b[^;<]*", re.IGNORECASE)
_PICTURES = re.compile(
    r"""\burl\(\s*(?:["']|&quot;)?\s*(?!["'\s]|&quot;|data:)[^)<]*\)?""", re.IGNORECASE
)
_LINKS = re.compile(r"(?:https?:|mailto:|tel:)", re.IGNORECASE)
_UNSAFE_IN_NAMES = re.compile(r'[\\/:*?"<>|;]')


@dataclass(frozen=True, slots=True)
class Attachment:
    """A part to be saved. `name` is safe as a file's name; `size` is in octets, decoded."""

    number: int
    name: str
    type: str
    size: int


@dataclass(frozen=True, slots=True)
class MailView:
    """A message. `html` is empty if it has none; `remote` is whether it refers to other servers."""

    fields: tuple[tuple[str, str], ...]
    subject: str
    text: str
    html: str
    remote: bool
    attachments: tuple[Attachment, ...]
    source: str
    cut: bool


def view(content: bytes, *, remote: bool = False) -> MailView:
    """Parse a message.

    Args:
        content: the message, any octets.
        remote: whether its HTML keeps what loads from other servers.
    """
    message = _parsed(content)
    parts = list(_parts(message))
    html = next((part for part in parts if _is_body(part, "text/html")), None)
    text = next((part for part in parts if _is_body(part, "text/plain")), None)
    page = _Page(_images(parts), keep_remote=remote)
    shown = page.harmless(_text(html)) if html is not None else ""
    listed = [
        Attachment(number, _name(part, number), _type(part), len(_octets(part)))
        for number, part in enumerate(parts)
        if part is not html and part is not text and _content_id(part) not in page.used
    ]
    return MailView(
        fields=tuple(_fields(message)),
        subject=_field(message, "subject"),
        text=_text(text) if text is not None else "",
        html=shown,
        remote=page.wants_remote,
        attachments=tuple(listed),
        source=content[:MOST_SHOWN].decode("utf-8", "backslashreplace").replace("\r\n", "\n"),
        cut=len(content) > MOST_SHOWN,
    )


def attachment(content: bytes, number: int) -> tuple[Attachment, bytes] | None:
    """Return one part, decoded, by its number in `view`, or None."""
    for place, part in enumerate(_parts(_parsed(content))):
        if place == number:
            octets = _octets(part)
            return Attachment(number, _name(part, number), _type(part), len(octets)), octets
    return None


def summary(beginning: bytes) -> dict[str, str]:
    """Return `from`, `to` and `subject` from a message's first octets."""
    try:
        message = BytesHeaderParser(policy=policy.default).parsebytes(beginning)
    except (MessageError, ValueError, LookupError):
        return {"from": "", "to": "", "subject": ""}
    return {name: _field(message, name) for name in ("from", "to", "subject")}


def _parsed(content: bytes) -> EmailMessage:
    try:
        return BytesParser(policy=policy.default).parsebytes(content)
    except RecursionError:
        # Nested deeper than any real message: only the fields, and the source.
        return BytesHeaderParser(policy=policy.default).parsebytes(content)


def _parts(message: EmailMessage) -> Iterator[EmailMessage]:
    """Return the parts that have content of their own; an attached message is one part."""
    waiting: list[Any] = [message]
    for _ in range(_MOST_PARTS):
        if not waiting:
            return
        part = waiting.pop(0)
        payload: Any = part.get_payload()
        if part.get_content_maintype() == "multipart" and isinstance(payload, list):
            waiting[:0] = payload
        else:
            yield part


def _is_body(part: EmailMessage, wanted: str) -> bool:
    return part.get_content_type() == wanted and _disposition(part) != "attachment"


def _disposition(part: EmailMessage) -> str:
    try:
        return part.get_content_disposition() or ""
    except (HeaderParseError, ValueError, IndexError, AttributeError):
        return "attachment"


def _octets(part: EmailMessage) -> bytes:
    try:
        payload: Any = part.get_payload(decode=True)
        if isinstance(payload, bytes):
            return payload
        nested: list[Any] = part.get_payload()  # pyright: ignore[reportAssignmentType]
        return bytes(nested[0]) if nested else b""  # a message inside this one
    except (ValueError, LookupError, TypeError, AttributeError, UnicodeError):
        return b""


def _text(part: EmailMessage) -> str:
    octets = _octets(part)[:MOST_SHOWN]
    try:
        return octets.decode(part.get_content_charset("utf-8"), "replace")
    except (LookupError, ValueError):
        return octets.decode("utf-8", "replace")


def _fields(message: EmailMessage) -> Iterator[tuple[str, str]]:
    for name in ("from", "to", "cc", "reply-to", "date", "message-id"):
        if value := _field(message, name):
            yield name.title().replace("-Id", "-ID"), value


def _field(message: EmailMessage, name: str) -> str:
    try:
        return printable(str(message.get(name, "")), 1000).strip()
    except (MessageError, ValueError, LookupError, TypeError, AttributeError):
        # The parser cannot parse this field.
        raw = next((value for key, value in message.raw_items() if key.lower() == name), "")
        return printable(str(raw).encode("utf-8", "replace").decode(), 1000).strip()


def _type(part: EmailMessage) -> str:
    found = part.get_content_type()
    return found if found in _QUIET_TYPES else "application/octet-stream"


def _name(part: EmailMessage, number: int) -> str:
    """Return a name that no file system takes for a path, a device or a hidden file."""
    try:
        given = part.get_filename() or ""
    except (HeaderParseError, ValueError, LookupError, AttributeError, TypeError):
        given = ""
    if not given and part.get_content_type() == "message/rfc822":
        given = "mail.eml"
    safe = _UNSAFE_IN_NAMES.sub("_", printable(given, 1000)).strip(". ")
    stem, dot, extension = safe.rpartition(".")
    if dot and len(extension) <= 10:
        safe = f"{stem[: _LONGEST_NAME - len(extension)]}.{extension}"
    return safe[: _LONGEST_NAME + 1] or f"part-{number}"


def _content_id(part: EmailMessage) -> str:
    return _field(part, "content-id").strip("<>")


def _images(parts: list[EmailMessage]) -> dict[str, str]:
    """Return the images in the message, by Content-ID, as data: URLs."""
    found: dict[str, str] = {}
    room = _MOST_INLINE
    for part in parts:
        name, kind = _content_id(part), part.get_content_type()
        if name and kind in _IMAGES and len(octets := _octets(part)) <= room:
            room -= len(octets)
            found[name] = f"data:{kind};base64,{base64.b64encode(octets).decode()}"
    return found


class _Page:
    """Makes HTML harmless; notes which images it uses, and whether it refers to other servers."""

    def __init__(self, images: dict[str, str], *, keep_remote: bool) -> None:
        self._images = images
        self._keep_remote = keep_remote
        self.used: set[str] = set()
        self.wants_remote = False

    def harmless(self, html: str) -> str:
        """Return the HTML without active content and, unless requested, without what loads."""
        cleaned = nh3.clean(
            html,
            tags=_TAGS,
            clean_content_tags={"script"},
            attributes=_ATTRIBUTES,
            attribute_filter=self._attribute,
            url_schemes={"http", "https", "mailto", "tel", "cid", "data"},
            link_rel="noopener noreferrer nofollow",
            set_tag_attribute_values={"a": {"target": "_blank"}},
        )
        cleaned = _SHEETS.sub("", cleaned)
        if any(_ELSEWHERE.search(found[0]) for found in _PICTURES.finditer(cleaned)):
            self.wants_remote = True
        return cleaned if self._keep_remote else _PICTURES.sub("none", cleaned)

    def _attribute(self, element: str, name: str, value: str) -> str | None:
        address = value.strip()
        if element == "img" and name == "src":
            return self._source(address)
        if name == "href":
            return address if _LINKS.match(address) else None
        return value

    def _source(self, address: str) -> str | None:
        if address.lower().startswith("cid:"):
            name = unquote(address[4:])
            self.used.add(name)
            return self._images.get(name)
        if address.lower().startswith("data:image/"):
            return address
        if not _ELSEWHERE.match(address):
            return None  # relative: to what?
        self.wants_remote = True
        return address if self._keep_remote else None
