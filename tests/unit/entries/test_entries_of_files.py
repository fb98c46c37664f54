"""Files of calendars and contacts, as programs export them, are split into entries and joined again."""

from __future__ import annotations

import vobject
from hypothesis import given
from hypothesis import strategies as st
from icalendar import Calendar

from postal_plexus.entries import (
    CALENDAR,
    CARDS,
    Entry,
    joined_calendar,
    read_entries,
    uid_of,
    version_of,
)

# As Google exports a calendar: folded lines, a zone for all, an exception of a series.
GOOGLE = """BEGIN:VCALENDAR
PRODID:-//Google Inc//Google Calendar 70.9054//EN
VERSION:2.0
CALSCALE:GREGORIAN
METHOD:PUBLISH
X-WR-CALNAME:Family\\, all
X-WR-TIMEZONE:Europe/Berlin
BEGIN:VTIMEZONE
TZID:Europe/Berlin
BEGIN:STANDARD
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
TZNAME:CET
DTSTART:19701025T030000
RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU
END:STANDARD
END:VTIMEZONE
BEGIN:VEVENT
DTSTART;TZID=Europe/Berlin:20261201T190000
DTEND;TZID=Europe/Berlin:20261201T200000
RRULE:FREQ=WEEKLY
DTSTAMP:20261129T090000Z
UID:choir@google.com
DESCRIPTION:A line that is long enough to be folded by the program that wr
 ites it\\, and that then goes on:
 BEGIN:VEVENT is only text here.
SUMMARY:Choir
BEGIN:VALARM
ACTION:DISPLAY
DESCRIPTION:Reminder
TRIGGER:-P0DT0H30M0S
END:VALARM
END:VEVENT
BEGIN:VEVENT
DTSTART;TZID=Europe/Berlin:20261208T180000
DTEND;TZID=Europe/Berlin:20261208T190000
DTSTAMP:20261129T090000Z
UID:choir@google.com
RECURRENCE-ID;TZID=Europe/Berlin:20261208T190000
SUMMARY:Choir\\, earlier
END:VEVENT
BEGIN:VEVENT
DTSTART;VALUE=DATE:20261224
DTSTAMP:20261129T090000Z
UID:party@google.com
SUMMARY:Party
END:VEVENT
END:VCALENDAR
"""
OUTLOOK_ZONE = """BEGIN:VTIMEZONE
TZID:Customized Time Zone
BEGIN:STANDARD
DTSTART:16010101T000000
TZOFFSETFROM:{0}
TZOFFSETTO:{0}
END:STANDARD
END:VTIMEZONE
"""


def calendar(*lines: str, zone: str = "") -> str:
    return "\r\n".join(
        [
            "BEGIN:VCALENDAR",
            "VERSION:2.0",
            "PRODID:x",
            *zone.splitlines(),
            *lines,
            "END:VCALENDAR",
            "",
        ]
    )


def event(uid: str, *lines: str, start: str = "20261201T120000Z") -> str:
    named = [f"UID:{uid}"] if uid else []
    return "\r\n".join(["BEGIN:VEVENT", *named, f"DTSTART:{start}", *lines, "END:VEVENT"])


def titles(entries: tuple[Entry, ...]) -> list[str]:
    return [each.title for each in entries]


def test_a_calendar_of_google_is_one_entry_for_each_series() -> None:
    """With its exceptions, alarms and the zones that it names; read by two other libraries."""
    found = read_entries(GOOGLE)
    assert ("Family, all", ()) == (found.name, found.broken)
    assert ["choir@google.com", "party@google.com"] == [each.uid for each in found.entries]
    assert ["Choir", "Party"] == titles(found.entries)
    series, party = found.entries
    assert (CALENDAR, 18) == (series.kind, series.line)
    assert "METHOD" not in series.text
    assert "VTIMEZONE" not in party.text
    read = Calendar.from_ical(series.text)
    assert ["VTIMEZONE", "VEVENT", "VEVENT"] == [each.name for each in read.subcomponents]
    assert "BEGIN:VEVENT is only text here." in str(read.events[0]["DESCRIPTION"])
    assert 2 == len(vobject.readOne(series.text).vevent_list)


def test_entries_joined_and_split_again_are_the_same() -> None:
    """In a file with the name of the calendar, and each time zone once."""
    found = read_entries(GOOGLE).entries
    whole = "".join(joined_calendar("Family, all", [each.text for each in found]))
    again = read_entries(whole)
    assert ("Family, all", ()) == (again.name, again.broken)
    assert 1 == whole.count("BEGIN:VTIMEZONE")
    for before, after in zip(found, again.entries, strict=True):
        # The product's name and GREGORIAN, the default, belong to the file.
        assert (
            before.text[before.text.index("BEGIN:V", 9) :]
            == after.text[after.text.index("BEGIN:V", 9) :]
        )
    assert 3 == len(Calendar.from_ical(whole).events)


def test_zones_of_one_name_that_differ_stay_different() -> None:
    """Outlook calls each of them "Customized Time Zone"."""
    texts = [
        read_entries(
            calendar(
                "BEGIN:VEVENT",
                f"UID:{offset}",
                'DTSTART;TZID="Customized Time Zone":20261201T120000',
                "END:VEVENT",
                zone=OUTLOOK_ZONE.format(offset),
            )
        )
        .entries[0]
        .text
        for offset in ("+0100", "+0500", "+0100")
    ]
    whole = Calendar.from_ical("".join(joined_calendar("x", texts)))
    hours = {
        str(each["UID"]): each["DTSTART"].dt.utcoffset().seconds // 3600 for each in whole.events
    }
    assert {"+0100": 1, "+0500": 5} == hours
    assert 2 == len([each for each in whole.subcomponents if each.name == "VTIMEZONE"])


def test_each_broken_entry_is_told_and_costs_no_other() -> None:
    """Each with its line, title and reason, in the file's order."""
    text = calendar(
        event("a", "SUMMARY:first"),
        "BEGIN:VEVENT\r\nUID:b\r\nSUMMARY:no end\r\nDTSTART:20261201",
        event("c", "SUMMARY:third"),
        event("d", "SUMMARY:an alarm", "BEGIN:VALARM", "ACTION:DISPLAY"),
        event("e", "SUMMARY:stray", "END:VALARM"),
        "BEGIN:VFREEBUSY\r\nEND:VFREEBUSY",
        event("f", "SUMMARY:last"),
    )
    found = read_entries(
        f"\ufeffhello\r\n{text}BEGIN:VEVENT\r\nUID:g\r\nEND:VEVENT\r\nBEGIN:VCARD\r\nFN:cut"
    )
    assert ["first", "third", "last"] == titles(found.entries)
    expected = [
        (1, "", "calendar nor"),
        (10, "no end", "no END:VEVENT"),
        (19, "an alarm", "no END:VALARM"),
        (26, "stray", "without BEGIN:VALARM"),
        (32, "", "VFREEBUSY"),
        (40, "", "outside"),
        (43, "cut", "before END:VCARD"),
    ]
    assert [each[:2] for each in expected] == [(each.line, each.title) for each in found.broken]
    for (*_, reason), each in zip(expected, found.broken, strict=True):
        assert reason in each.reason


def test_a_file_that_was_cut_off_is_told() -> None:
    """The entries before the cut are read; the rest is one problem."""
    found = read_entries(GOOGLE[: GOOGLE.index("UID:party")])
    assert ["Choir"] == titles(found.entries)
    assert ["the file ends before END:VEVENT"] == [each.reason for each in found.broken]
    found = read_entries(GOOGLE.removesuffix("END:VCALENDAR\n"))
    assert 2 == len(found.entries)
    assert "cut off" in found.broken[0].reason


def test_what_is_repeated_becomes_one_and_the_latest() -> None:
    """By LAST-MODIFIED, whatever the order in the file."""
    older = event("a", "SUMMARY:older", "LAST-MODIFIED:20260101T000000Z")
    newer = event("a", "SUMMARY:newer", "LAST-MODIFIED:20260201T000000Z")
    assert ["newer"] == titles(read_entries(calendar(newer, older)).entries)
    assert ["newer"] == titles(read_entries(calendar(older, newer)).entries)


def test_entries_without_a_uid_get_one_that_stays() -> None:
    """From the content, so that another export of the same entry is the same one."""
    first = read_entries(calendar(event("", "SUMMARY:a", "DTSTAMP:20260101T000000Z"))).entries
    again = read_entries(calendar(event("", "SUMMARY:a", "DTSTAMP:20260909T000000Z"))).entries
    other = read_entries(calendar(event("", "SUMMARY:b"))).entries
    assert first[0].uid == again[0].uid == uid_of(first[0].text)
    assert first[0].uid != other[0].uid


def test_one_uid_for_all_does_not_make_them_one() -> None:
    """Some programs write the same UID into every event."""
    text = calendar(
        event("1", "SUMMARY:a", start="20261201"), event("1", "SUMMARY:b", start="20261202")
    )
    found = read_entries(text)
    assert ["a", "b"] == titles(found.entries)
    assert 2 == len({each.uid for each in found.entries})
    assert found == read_entries(text)
    cards = "".join(f"BEGIN:VCARD\nVERSION:3.0\nUID:1\nFN:{name}\nEND:VCARD\n" for name in "ab")
    assert 2 == len({each.uid for each in read_entries(cards).entries})


OUTLOOK_CARD = """BEGIN:VCARD\r
VERSION:2.1\r
N;CHARSET=Windows-1252;ENCODING=QUOTED-PRINTABLE:M=FCller;J=F6rg\r
FN;CHARSET=Windows-1252;ENCODING=QUOTED-PRINTABLE:J=F6rg M=FCller\r
TEL;WORK;VOICE:+49 30 1234\r
EMAIL;PREF;INTERNET:joerg@example.com\r
NOTE;ENCODING=QUOTED-PRINTABLE:first=0D=0A=\r
second\r
PHOTO;TYPE=JPEG;ENCODING=BASE64:\r
 /9j/4AAQ\r
 SkZJRg==\r
\r
REV:20261129T100000Z\r
END:VCARD\r
"""


def test_a_vcard_of_outlook_is_one_that_every_program_reads() -> None:
    """vCard 2.1 becomes 3.0: character sets, types, line breaks and the picture."""
    (card,) = read_entries(OUTLOOK_CARD).entries
    read = vobject.readOne(card.text)
    assert ("3.0", "Jörg Müller") == (read.version.value, read.fn.value)
    assert ("Müller", "Jörg") == (read.n.value.family, read.n.value.given)
    assert ["WORK", "VOICE"] == read.tel.params["TYPE"][0].split(",") or read.tel.type_paramlist
    assert "first\nsecond" == read.note.value
    assert b"\xff\xd8\xff\xe0\x00\x10JFIF" == read.photo.value
    assert (CARDS, card.uid) == (card.kind, uid_of(card.text))


def test_contacts_without_a_name_or_a_uid_come_too() -> None:
    """Google exports contacts without UID, and some with an address only, in several files."""
    card = (
        "BEGIN:VCARD\r\nVERSION:3.0\r\nitem1.EMAIL;TYPE=INTERNET:zoe@example.com\r\nEND:VCARD\r\n"
    )
    named = "BEGIN:VCARD\r\nVERSION:3.0\r\nN:Bär;Zoë;;;\r\nEND:VCARD\r\n"
    found = read_entries(card + named + card)
    assert ["zoe@example.com", "Zoë Bär"] == titles(found.entries)
    assert {uid_of(each.text) for each in found.entries} == {each.uid for each in found.entries}
    for each in found.entries:
        vobject.readOne(each.text).serialize()


def test_the_newer_one_of_two() -> None:
    """By when it changed; the time of an export says nothing, and in doubt none is newer."""

    def at(*lines: str) -> str:
        return calendar(event("a", *lines))

    old, new = "LAST-MODIFIED:20260101T000000Z", "LAST-MODIFIED:20260101T000001Z"
    for newer, older in (
        (at(new), at(old)),
        (at("SEQUENCE:2"), at("SEQUENCE:1")),
        (at(new, "SEQUENCE:1"), at(old, "SEQUENCE:5")),
        (at("SEQUENCE:1", new), at()),
        (
            "BEGIN:VCARD\nREV:2026-01-02T00:00:00Z\nEND:VCARD",
            "BEGIN:VCARD\nREV:20260101\nEND:VCARD",
        ),
    ):
        assert version_of(newer).is_newer_than(version_of(older))
        assert not version_of(older).is_newer_than(version_of(newer))
    stamped = at("DTSTAMP:20260909T000000Z")
    assert not version_of(stamped).is_newer_than(version_of(at("DTSTAMP:20200101T000000Z")))


@given(
    st.lists(
        st.sampled_from(
            [
                *("BEGIN:VCALENDAR", "END:VCALENDAR", "BEGIN:VEVENT", "END:VEVENT", "BEGIN:VCARD"),
                *("END:VCARD", "BEGIN:VTIMEZONE", "END:VTIMEZONE", "BEGIN:VALARM", "END:VALARM"),
                *(
                    "UID:a",
                    "UID:b",
                    "TZID:z",
                    "SUMMARY:s",
                    "DTSTART;TZID=z:1",
                    " more",
                    "RECURRENCE-ID:1",
                ),
                *(
                    "VERSION:2.1",
                    "FN:n",
                    "N;ENCODING=QUOTED-PRINTABLE:=\t=",
                    "",
                    ":",
                    ";",
                    "END:",
                    "\x00",
                ),
            ]
        ),
        max_size=40,
    )
)
def test_any_lines_are_entries_or_told(lines: list[str]) -> None:
    """Each entry has its own UID and is whole; every closed event or card is one or is told."""
    found = read_entries("\r\n".join(lines))
    uids = [(each.kind, each.uid) for each in found.entries]
    for each in found.entries:
        assert each.uid == uid_of(each.text)
        again = read_entries(each.text)
        assert ([each.uid], ()) == ([e.uid for e in again.entries], again.broken)
    begun = [n for n, line in enumerate(lines, 1) if line in {"BEGIN:VEVENT", "BEGIN:VCARD"}]
    if begun:
        assert uids or found.broken
