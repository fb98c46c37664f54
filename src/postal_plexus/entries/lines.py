"""Lines of iCalendar and vCard: unfold them, and find properties by name. Pure."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_ENDS = re.compile(r"\r\n|\n|\r")
# A name, with a vCard's group before it; parameters, which may have a colon in quotes; a value.
_PROPERTY = re.compile(
    r'(?:[A-Za-z0-9-]+\.)?([A-Za-z0-9-]+)((?:;(?:"[^"]*"|[^":])*)?):(.*)', re.DOTALL
)


@dataclass(frozen=True)
class Property:
    """One property of a component: its name in capitals, its parameters as written, its value."""

    name: str
    parameters: str
    value: str


def content_lines(text: str) -> list[str]:
    """Return the physical lines. Only CR and LF end one: other separators belong to the text."""
    return _ENDS.split(text.removeprefix("\ufeff"))


def unfolded(lines: Iterable[str]) -> Iterator[str]:
    """Yield the logical lines: one that begins with a space or tab continues the one before."""
    current: list[str] = []
    for line in lines:
        if line[:1] in {" ", "\t"} and current:
            current.append(line[1:])
            continue
        if current:
            yield "".join(current)
        current = [line]
    if current:
        yield "".join(current)


def folded(line: str) -> str:
    """Return a logical line in physical ones of at most 75 octets (RFC 5545, 3.1)."""
    pieces: list[str] = []
    piece, octets = "", 0
    for each in line:
        size = len(each.encode("utf-8", "replace"))
        if octets + size > 75:
            pieces.append(piece)
            piece, octets = " ", 1
        piece += each
        octets += size
    return "\r\n".join([*pieces, piece])


def properties(lines: Iterable[str]) -> Iterator[Property]:
    """Yield the properties of a component itself, not of those inside it; skip unreadable lines."""
    depth = 0
    for line in unfolded(lines):
        found = _PROPERTY.fullmatch(line)
        if found is None:
            continue
        name = found[1].upper()
        if name == "BEGIN":
            depth += 1
        elif name == "END":
            depth -= 1
        elif depth == 1:
            yield Property(name, found[2], found[3])


def first(lines: Iterable[str], *names: str) -> str:
    """Return the value of the first of these properties that has one, by the names' order."""
    found: dict[str, str] = {}
    for each in properties(lines):
        if each.name in names and each.value.strip():
            found.setdefault(each.name, each.value.strip())
    return next((found[name] for name in names if name in found), "")


def components(lines: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the components right below the outermost one: name and physical lines."""
    depth, name = 0, ""
    collected: list[str] = []
    for line in lines:
        # A line that begins with a space continues a text, whatever it says.
        word = line.rstrip().upper()
        if word.startswith("BEGIN:"):
            depth += 1
            if depth == 2:
                name, collected = word[6:].strip(), []
        if depth >= 2:
            collected.append(line)
        if word.startswith("END:"):
            depth -= 1
            if depth == 1 and collected:
                yield name, collected
                collected = []


def uid_of(text: str) -> str:
    """Return the UID of a stored entry, or "" if it has none."""
    lines = content_lines(text)
    if lines[0].strip().upper() == "BEGIN:VCARD":
        return first(lines, "UID")
    inside = (first(each, "UID") for name, each in components(lines) if name != "VTIMEZONE")
    return next((uid for uid in inside if uid), "")


@dataclass(frozen=True)
class Version:
    """How new an entry is: SEQUENCE, and when it changed as digits of UTC, "" if it does not say.

    That is LAST-MODIFIED (RFC 5545, 3.8.7.3) or REV (RFC 6350, 6.7.4). DTSTAMP does not count,
    because many programs write the time of the export there.
    """

    sequence: int
    changed: str

    def is_newer_than(self, other: "Version") -> bool:
        """Return whether this is certainly the newer one."""
        if self.changed and other.changed:
            return self.changed > other.changed
        return self.sequence > other.sequence


def version_of(text: str) -> Version:
    """Return how new an entry is; of several components, the newest."""
    lines = content_lines(text)
    whole = lines[0].strip().upper() == "BEGIN:VCARD"
    parts = [lines] if whole else [its for name, its in components(lines) if name != "VTIMEZONE"]
    found = [version(part) for part in parts] or [Version(0, "")]
    return Version(max(each.sequence for each in found), max(each.changed for each in found))


def version(lines: Iterable[str]) -> Version:
    """Return how new a component is."""
    lines = list(lines)
    sequence = first(lines, "SEQUENCE")
    digits = re.sub(r"[^0-9]", "", first(lines, "LAST-MODIFIED", "REV"))[:14]
    known = sequence.isascii() and sequence.isdigit()
    return Version(int(sequence[:9]) if known else 0, digits.ljust(14, "0") if digits else "")
