"""Files of calendars and contacts of this machine: which are read, and what is reported."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from postal_plexus.cli.importing import spelled_out
from postal_plexus.operations import calendar_files
from postal_plexus.operations.calendar_files import (
    FileError,
    Source,
    is_for_calendars,
    read_paths,
    text_of,
)

CARD = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:z\r\nFN:Zoë\r\nEND:VCARD\r\n"


def calendar(name: str, uid: str = "a") -> str:
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:x", f"X-WR-CALNAME:{name}", "BEGIN:VEVENT"]
    lines += [f"UID:{uid}", "DTSTART:20261201", "SUMMARY:s", "END:VEVENT", "END:VCALENDAR", ""]
    return "\r\n".join(lines)


def zipped(path: Path, **members: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


def uids(sources: list[Source]) -> list[str]:
    return [each.uid for one in sources if one.content for each in one.content.entries]


def test_googles_export_has_a_calendar_for_each_file(tmp_path: Path) -> None:
    """The account's own goes to the main calendar, the others to one of their name."""
    path = zipped(
        tmp_path / "ann@gmail.com.ical.zip",
        **{
            "ann@gmail.com.ics": calendar("ann@gmail.com"),
            "Family_abc@group.calendar.google.com.ics": calendar("Family", "b"),
            "Takeout/Contacts/All Contacts/All Contacts.vcf": CARD,
            "Takeout/archive_browser.html": "<html>",
        },
    )
    found = list(read_paths([path]))
    assert ["", "Family", ""] == [each.collection for each in found]
    assert ["a", "b", "z"] == uids(found)
    assert found[1].name == f"{path}: Family_abc@group.calendar.google.com.ics"


@pytest.mark.parametrize("name", ["Calendar", "Kalender", "Agenda", "ann@example.com", ""])
def test_a_main_calendar_goes_to_ours(tmp_path: Path, name: str) -> None:
    """Whatever the other program calls it."""
    path = tmp_path / "a.ics"
    path.write_text(calendar(name))
    assert [""] == [each.collection for each in read_paths([path])]


def test_files_of_every_character_set() -> None:
    """UTF-8 with and without its mark, UTF-16, Windows's code page, and a line of it within UTF-8."""
    for octets in (
        CARD.encode(),
        CARD.encode("utf-8-sig"),
        CARD.encode("utf-16"),
        CARD.encode("cp1252"),
        "ü\r\n".encode() + CARD.encode("cp1252"),
    ):
        assert "FN:Zoë\r\n" in text_of(octets)


def test_a_directory_is_read_and_its_links_are_not(tmp_path: Path) -> None:
    """As vdirsyncer writes one, a file for each entry."""
    below = tmp_path / "a" / "personal"
    below.mkdir(parents=True)
    for uid in ("b", "a"):
        (below / f"{uid}.ics").write_text(calendar("", uid))
    (below / "link.ics").symlink_to("/etc/passwd")
    os.mkfifo(below / "pipe.ics")
    assert ["a", "b"] == uids(list(read_paths([tmp_path / "a"])))


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    """Each with the reason; a torn zip file is read as a text without entries."""
    os.mkfifo(tmp_path / "pipe.ics")
    (tmp_path / "empty").mkdir()
    zipped(tmp_path / "mail.zip", **{"a.eml": "Subject: x\r\n\r\n"})
    (tmp_path / "torn.zip").write_bytes((tmp_path / "mail.zip").read_bytes()[:-10])
    for name, why in (
        ("missing.ics", "cannot be read: No such file"),
        ("pipe.ics", "is no file"),
        ("empty", "has no .ics and no .vcf"),
        ("mail.zip", "has no .ics and no .vcf"),
    ):
        with pytest.raises(FileError, match=why):
            list(read_paths([tmp_path / name]))
    # Not a zip file any more, so a text, in which nothing is an entry.
    (source,) = read_paths([tmp_path / "torn.zip"])
    assert source.content
    assert source.content.broken


def test_a_member_that_is_damaged_or_encrypted_costs_no_other(tmp_path: Path) -> None:
    """Its problem is reported; the other files of the zip file are read."""
    path = zipped(
        tmp_path / "a.zip", **{"bad.ics": calendar("x"), "good.ics": calendar("x", "good")}
    )
    octets = bytearray(path.read_bytes())
    at = octets.index(b"SUMMARY")
    octets[at : at + 7] = b"DAMAGED"
    path.write_bytes(octets)
    bad, good = read_paths([path])
    assert "is damaged" in bad.problem
    assert ["good"] == uids([good])
    octets[octets.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(octets)
    bad, good = read_paths([path])
    assert ("is encrypted", ["good"]) == (bad.problem, uids([good]))


def test_a_zip_bomb_is_a_file_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what it unpacks to."""
    monkeypatch.setattr(calendar_files, "MOST_OCTETS", 1 << 20)
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("a.ics", "w", force_zip64=True) as member:
            for _ in range(3):
                member.write(bytes(1 << 20))
        archive.writestr("b.ics", calendar("", "b"))
    bomb, other = read_paths([path])
    assert "larger than 1 MB" in bomb.problem
    assert ["b"] == uids([other])


def test_files_say_what_an_import_is_for(tmp_path: Path) -> None:
    """A zip file with mail is imported as mail, unless the command says otherwise."""
    both = zipped(tmp_path / "both.zip", **{"a.eml": "x", "a.ics": calendar("x")})
    only = zipped(tmp_path / "only.zip", **{"a.ics": calendar("x")})
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/a.VCF").write_text(CARD)
    for path, expected in (
        *((both, False), (only, True), (tmp_path / "folder", True), (tmp_path / "none", False)),
        *((tmp_path / "missing.ics", True), (tmp_path / "x.mbox", False)),
    ):
        assert expected == is_for_calendars(path), path
        kind = "calendars" if expected else "mail"
        words = ["import", "ann@example.org", str(path), "--dry-run"]
        assert ["import", kind, *words[1:]] == spelled_out(words)
    given = ["import", "calendars", "ann@example.org", str(both)]
    assert given == spelled_out(given)
    server = ["import", "ann@example.org", "imaps://a.ics"]
    assert ["import", "mail", *server[1:]] == spelled_out(server)
