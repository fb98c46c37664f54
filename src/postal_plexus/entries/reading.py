"""Read a file of calendars (.ics) or contacts (.vcf): its entries, each by itself. Pure.

An entry is what a server stores as one resource: a contact, or all components of an event, a task
or a journal with one UID (RFC 4791, section 4.1), with the time zones that they name. An entry
without a UID gets one from its content, so that another import finds it again. Repeated ones become
one, the latest; different ones to which a program gave the same UID stay different.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from postal_plexus.entries import vcards
from postal_plexus.entries.lines import content_lines, first, properties, unfolded, version

CALENDAR, CARDS = "calendar", "contacts"

_ENTRIES = ("VEVENT", "VTODO", "VJOURNAL")
_OUTERMOST = ("VCALENDAR", "VCARD")
# Whatever begins with one of these inside another one shows that the other has no end.
_TOP = (*_OUTERMOST, *_ENTRIES, "VTIMEZONE", "VFREEBUSY")
# What differs between two exports of the same entry.
_VOLATILE = {"DTSTAMP", "LAST-MODIFIED", "CREATED", "REV", "PRODID", "SEQUENCE", "UID"}
_MARK = re.compile(r"(BEGIN|END)[ \t]*:[ \t]*([A-Za-z0-9-]+)[ \t]*", re.IGNORECASE)
_TZID = re.compile(r';TZID=(?:"([^"]*)"|([^";:,]*))', re.IGNORECASE)
_LONGEST_UID = 250


@dataclass(frozen=True)
class Entry:
    """One entry: its UID, its whole text with CRLF line ends, its title, its line in the file."""

    kind: str
    uid: str
    text: str
    title: str
    line: int


@dataclass(frozen=True)
class Broken:
    """What cannot be used: its line in the file, its title if it has one, and why."""

    line: int
    title: str
    reason: str


@dataclass(frozen=True)
class Entries:
    """The content of a file; `name` is the calendar's own (X-WR-CALNAME, RFC 7986's NAME)."""

    name: str
    entries: tuple[Entry, ...]
    broken: tuple[Broken, ...]


@dataclass
class _Component:
    """One component with everything inside it."""

    name: str
    line: int
    lines: list[str] = field(default_factory=list[str])
    wrong: str = ""


@dataclass
class _Calendar:
    """A VCALENDAR: properties of its own, time zones by name, and components."""

    line: int
    header: list[str] = field(default_factory=list[str])
    zones: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    components: list[_Component] = field(default_factory=list[_Component])


def read_entries(text: str) -> Entries:
    """Read a file. Whatever is damaged is in `broken`; this never raises."""
    reader = _Reader()
    for number, line in enumerate(content_lines(text), 1):
        reader.take(number, line)
    reader.finish()
    entries: list[Entry] = []
    names: list[str] = []
    for calendar in reader.calendars:
        names.append(first(["BEGIN:VCALENDAR", *calendar.header], "X-WR-CALNAME", "NAME"))
        entries += _of_calendar(calendar, reader.broken)
    entries += _of_cards(reader.cards)
    name = next((_unescaped(each) for each in names if each), "")
    broken = sorted(reader.broken, key=lambda each: each.line)
    return Entries(name, tuple(entries), tuple(broken))


class _Reader:
    """Groups the lines of a file by their outermost components."""

    def __init__(self) -> None:
        self.calendars: list[_Calendar] = []
        self.cards: list[_Component] = []
        self.broken: list[Broken] = []
        self._calendar: _Calendar | None = None
        self._open: _Component | None = None
        self._inside: list[str] = []
        self._stray = False

    def take(self, number: int, line: str) -> None:
        """Take the next line."""
        mark = _MARK.fullmatch(line)
        if mark is None:
            self._text(number, line)
        elif mark[1].upper() == "BEGIN":
            self._begin(number, line, mark[2].upper())
        else:
            self._end(line, mark[2].upper())

    def finish(self) -> None:
        """Report what the file's end has cut off."""
        if self._open is not None:
            self._drop(f"the file ends before END:{self._open.name}")
        elif self._calendar is not None:
            line, why = self._calendar.line, "the file ends before END:VCALENDAR: it may be cut off"
            self.broken.append(Broken(line, "", why))

    def _text(self, number: int, line: str) -> None:
        if self._open is not None:
            # Neither format has empty lines; some programs write them.
            if line.strip():
                self._open.lines.append(line)
        elif self._calendar is not None:
            self._calendar.header.append(line)
        elif line.strip() and not self._stray:
            self._stray = True
            self.broken.append(Broken(number, "", "is neither a calendar nor a contact"))

    def _begin(self, number: int, line: str, name: str) -> None:
        self._stray = False
        if self._open is not None and name in _TOP:
            self._drop(f"has no END:{self._open.name}")
        if self._open is not None:
            self._inside.append(name)
            self._open.lines.append(line)
        elif name == "VCALENDAR":
            self._calendar = _Calendar(number)
            self.calendars.append(self._calendar)
        else:
            self._open = _Component(name, number, [f"BEGIN:{name}"])

    def _end(self, line: str, name: str) -> None:
        if self._open is None:
            if name == "VCALENDAR":
                self._calendar = None
            return
        if self._inside:
            if name == self._inside[-1]:
                self._inside.pop()
                self._open.lines.append(line)
                return
            self._open.wrong = self._open.wrong or f"has no END:{self._inside[-1]}"
            if name in self._inside:
                del self._inside[self._inside.index(name) :]
                return
        if name == self._open.name:
            self._open.lines.append(f"END:{name}")
            self._close(self._open)
        elif name == "VCALENDAR":
            self._drop(f"has no END:{self._open.name}")
            self._calendar = None
        else:
            self._open.wrong = self._open.wrong or f"has END:{name} without BEGIN:{name}"

    def _close(self, component: _Component) -> None:
        if component.wrong:
            self._drop(component.wrong)
            return
        self._open, self._inside = None, []
        if component.name == "VCARD":
            self.cards.append(component)
        elif component.name == "VTIMEZONE" and self._calendar is not None:
            self._calendar.zones.setdefault(first(component.lines, "TZID"), component.lines)
        elif component.name in _ENTRIES and self._calendar is not None:
            self._calendar.components.append(component)
        elif self._calendar is None:
            self._report(component, f"is a {component.name} outside of a calendar")
        else:
            self._report(component, f"is a {component.name}, no event, task or journal")

    def _drop(self, why: str) -> None:
        if self._open is not None:
            self._report(self._open, why)
        self._open, self._inside = None, []

    def _report(self, component: _Component, why: str) -> None:
        self.broken.append(Broken(component.line, title_of(component.lines), why))


def title_of(lines: list[str]) -> str:
    """Return what people call an entry, on one line, at most 80 characters."""
    text = _unescaped(first(lines, "SUMMARY", "FN", "ORG", "EMAIL", "DTSTART"))
    return "".join(each if each.isprintable() else " " for each in text)[:80]


def _unescaped(value: str) -> str:
    return re.sub(r"\\([\\;,nN])", lambda found: " " if found[1] in "nN" else found[1], value)


def _of_calendar(calendar: _Calendar, broken: list[Broken]) -> Iterator[Entry]:
    by_uid: dict[str, list[_Component]] = {}
    for each in calendar.components:
        uid = first(each.lines, "UID")
        if len(uid) > _LONGEST_UID or not uid.isprintable():
            uid = ""
        by_uid.setdefault(uid or _made_uid(each.lines), []).append(each)
    for uid, its in by_uid.items():
        for its_uid, group in _apart(uid, its):
            names = {each.name for each in group}
            if len(names) > 1:
                for each in group[1:]:
                    why = f"has the UID of the {group[0].name} in line {group[0].line}"
                    broken.append(Broken(each.line, title_of(each.lines), why))
            kept = _latest([each for each in group if each.name == group[0].name])
            yield _entry(calendar, its_uid, kept)


def _apart(uid: str, group: list[_Component]) -> Iterator[tuple[str, list[_Component]]]:
    """Give each event of its own a UID of its own, where a program gave all the same."""
    masters: dict[tuple[str, str], list[_Component]] = {}
    others: list[_Component] = []
    for each in group:
        if first(each.lines, "RECURRENCE-ID"):
            others.append(each)
        else:
            key = (first(each.lines, "SUMMARY"), first(each.lines, "DTSTART", "DUE"))
            masters.setdefault(key, []).append(each)
    keys = list(masters)
    same = [key for key in keys[1:] if key[0] == keys[0][0] or key[1] == keys[0][1]]
    yield uid, [each for key in [*keys[:1], *same] for each in masters[key]] + others
    for key in keys[1:]:
        if key not in same:
            yield _made_uid(masters[key][0].lines), masters[key]


def _latest(group: list[_Component]) -> list[_Component]:
    """Return one component for each occurrence, the latest version, the main one first."""
    found: dict[str, _Component] = {}
    for each in group:
        occurrence = first(each.lines, "RECURRENCE-ID")
        there = found.get(occurrence)
        if there is None or not version(there.lines).is_newer_than(version(each.lines)):
            found[occurrence] = each
    return [found[key] for key in sorted(found)]


def _entry(calendar: _Calendar, uid: str, group: list[_Component]) -> Entry:
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0"]
    lines += list(_kept_header(calendar.header))
    named = {
        found[1] or found[2]
        for each in group
        for line in unfolded(each.lines)
        for found in _TZID.finditer(line)
    }
    for name, zone in calendar.zones.items():
        if name in named:
            lines += zone
    for each in group:
        lines += _with_uid(each.lines, uid)
    lines += ["END:VCALENDAR", ""]
    main = group[0]
    return Entry(CALENDAR, uid, "\r\n".join(lines), title_of(main.lines), main.line)


def _kept_header(header: list[str]) -> Iterator[str]:
    """Yield what an entry keeps of its calendar: not METHOD, which no stored entry may have."""
    found = {each.name: each for each in properties(["BEGIN:VCALENDAR", *header])}
    product = found.get("PRODID")
    yield f"PRODID:{product.value}" if product and len(product.value) < 60 else "PRODID:-//import//"
    if "CALSCALE" in found:
        yield f"CALSCALE:{found['CALSCALE'].value}"


def _of_cards(cards: list[_Component]) -> Iterator[Entry]:
    by_uid: dict[str, Entry] = {}
    for card in cards:
        lines = vcards.modern(card.lines) if vcards.is_old(card.lines) else card.lines
        lines = vcards.with_a_name(lines)
        if not first(lines, "VERSION"):
            lines = [lines[0], "VERSION:3.0", *lines[1:]]
        uid = first(lines, "UID")
        if not uid or len(uid) > _LONGEST_UID or not uid.isprintable():
            uid = _made_uid(lines)
        text = "\r\n".join([*_with_uid(lines, uid), ""])
        entry = Entry(CARDS, uid, text, title_of(lines), card.line)
        there = by_uid.get(uid)
        if there is not None and there.text != text and there.title != entry.title:
            # Two people to whom a program gave one UID.
            uid = _made_uid(lines)
            text = "\r\n".join([*_with_uid(lines, uid), ""])
            entry = Entry(CARDS, uid, text, entry.title, card.line)
        by_uid[uid] = entry
    yield from by_uid.values()


def _with_uid(lines: list[str], uid: str) -> list[str]:
    """Return a component's lines with this UID as the only one."""
    if first(lines, "UID") == uid and len([p for p in properties(lines) if p.name == "UID"]) == 1:
        return lines
    found: list[str] = []
    depth, skipping = 0, False
    for line in lines:
        if skipping and line[:1] in {" ", "\t"}:
            continue
        mark = _MARK.fullmatch(line)
        depth += {"BEGIN": 1, "END": -1}[mark[1].upper()] if mark else 0
        skipping = depth == 1 and re.match(r"UID[;:]", line, re.IGNORECASE) is not None
        if not skipping:
            found.append(line)
    return [found[0], f"UID:{uid}", *found[1:]]


def _made_uid(lines: list[str]) -> str:
    """Return a UID that follows from the content, without what each export writes anew."""
    kept = sorted(
        line
        for line in unfolded(lines)
        if re.split(r"[;:]", line, maxsplit=1)[0].upper() not in _VOLATILE
    )
    return hashlib.sha256("\n".join(kept).encode("utf-8", "replace")).hexdigest()[:32]
