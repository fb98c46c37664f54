"""An operator's task imports and exports calendars beside the real Radicale, which serves on."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest

from postal_plexus.calendars import bounds, tasks
from postal_plexus.calendars.application import Calendars, radicale_application
from postal_plexus.calendars.homes import EntryError, Home, check
from postal_plexus.calendars.shares import Share
from postal_plexus.entries import CALENDAR, read_entries
from postal_plexus.maintenance.codes import StatusError
from postal_plexus.maintenance.output import Output

ANN = "ann@example.org"
SHARES = (Share("family", "calendars", {ANN: "read"}),)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Provide the home of a user who has never logged in."""
    store = tmp_path / "store"
    store.mkdir()
    return Home(store, tmp_path / "cache", ANN, SHARES)


@pytest.fixture
def server(home: Home, tmp_path: Path) -> Calendars:  # noqa: ARG001  makes the store
    """Provide the running server of the same store."""
    return radicale_application(tmp_path / "store", tmp_path / "cache", SHARES)


def ask(
    server: Calendars, method: str, path: str, body: bytes = b"", **more: str
) -> tuple[str, str]:
    """Return status and text of the server's answer to the user."""
    said: list[str] = []

    def start(status: str, _headers: object) -> None:
        said.append(status)

    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "SCRIPT_NAME": "/dav",
        "SERVER_NAME": "x",
        "SERVER_PORT": "443",
        "CONTENT_LENGTH": str(len(body)),
        "REMOTE_USER": ANN,
        "wsgi.errors": io.StringIO(),
        "wsgi.input": io.BytesIO(body),
        "wsgi.url_scheme": "https",
        **more,
    }
    text = b"".join(server(environ, start)).decode()
    return said[0][:3], text


def event(uid: str, *lines: str) -> str:
    text = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:x", "BEGIN:VEVENT", f"UID:{uid}"]
    text += ["DTSTAMP:20261101T000000Z", "DTSTART:20261201T120000Z", *lines]
    return "\r\n".join([*text, "END:VEVENT", "END:VCALENDAR", ""])


def card(uid: str, name: str) -> str:
    return f"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{uid}\r\nFN:{name}\r\nEND:VCARD\r\n"


def bring(home: Home, text: str, **more: Any) -> tuple[int, list[dict[str, Any]]]:
    """Import a file as the operator's command does; the exit code, and the lines."""
    how = {name: more.pop(name, False) for name in ("replace", "look")}
    records = [
        json.dumps({"kind": each.kind, "uid": each.uid, "text": each.text, **more})
        for each in read_entries(text).entries
    ]
    said = io.StringIO()
    upload = io.BytesIO("\n".join(records).encode())
    code = tasks.import_entries(home, upload, Output(said), **how)
    lines = [json.loads(line) for line in said.getvalue().splitlines()]
    return code, [line for line in lines if line["kind"] != "progress"]


def counts(line: dict[str, Any]) -> tuple[str, int, int, int]:
    return line["name"], line["new"], line["replaced"], line["unchanged"]


def exported(home: Home) -> dict[str, str]:
    """Return all files of an export."""
    to = io.BytesIO()
    assert 0 == tasks.export_all(home, Output(io.StringIO()), to)
    with zipfile.ZipFile(to) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_what_is_imported_is_served_at_once_and_once(home: Home, server: Calendars) -> None:
    """New to a user who has never logged in; again nothing is new, and a newer version replaces."""
    whole = event("a", "SUMMARY:one") + event("b/é", "SUMMARY:two") + card("z", "Zoë")
    code, lines = bring(home, whole)
    assert (0, [("Calendar", 2, 0, 0), ("Contacts", 1, 0, 0)]) == (code, list(map(counts, lines)))
    status, text = ask(server, "GET", f"/{ANN}/calendar/a.ics")
    assert ("200", True) == (status, "SUMMARY:one" in text)
    assert "FN:Zoë" in ask(server, "GET", f"/{ANN}/contacts/")[1]
    # A device that has synchronized before hears of what another import brings.
    question = b'<sync-collection xmlns="DAV:"><sync-token>%s</sync-token><prop><getetag/></prop></sync-collection>'
    answer = ask(server, "REPORT", f"/{ANN}/calendar/", question % b"")[1]
    token = answer.partition("<sync-token>")[2].partition("<")[0].encode()
    newer = event("a", "SUMMARY:newer", "SEQUENCE:1") + event("c") + event("b/é", "SUMMARY:other")
    assert [("Calendar", 1, 1, 1)] == list(map(counts, bring(home, newer)[1]))
    answer = ask(server, "REPORT", f"/{ANN}/calendar/", question % token)[1]
    assert {"a.ics", "c.ics"} == {
        each.partition("<")[0].rpartition("/")[2] for each in answer.split("<href>")[1:]
    }
    assert "SUMMARY:two" in ask(server, "GET", f"/{ANN}/calendar/")[1]
    assert [("Calendar", 0, 1, 0)] == list(
        map(counts, bring(home, event("b/é", "SUMMARY:forced"), replace=True)[1])
    )


def test_an_event_that_a_device_made_is_the_same_by_its_uid(home: Home, server: Calendars) -> None:
    """Under any file name; what a user has changed here since the export stays."""
    home.make()
    changed = event("a", "SUMMARY:here", "LAST-MODIFIED:20260202T000000Z").encode()
    assert "201" == ask(server, "PUT", f"/{ANN}/calendar/odd-name.ics", changed)[0]
    older = event("a", "SUMMARY:there", "LAST-MODIFIED:20260101T000000Z")
    assert [("Calendar", 0, 0, 1)] == list(map(counts, bring(home, older)[1]))
    whole = exported(home)["calendars/Calendar.ics"]
    assert (1, True) == (whole.count("BEGIN:VEVENT"), "SUMMARY:here" in whole)
    # The device may still change it.
    assert ask(server, "PUT", f"/{ANN}/calendar/odd-name.ics", changed)[0] in {"201", "204"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (event("a", "RRULE:FREQ=SECONDLY"), "recurs more than"),
        (event("a", "RRULE:FREQ=DAILY;NONSENSE=1"), "cannot be read"),
        (event("a", "DTEND:tomorrow"), "cannot be read"),
        (event("a", "a line without a colon"), "cannot be read"),
        (event("a", f"DESCRIPTION:{'x' * (3 << 20)}"), "is larger than 2 MB"),
        (event("a", "SUMMARY:\ud800"), "cannot be read"),
        ("BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n" * 2, "cannot be read"),
    ],
)
def test_what_the_server_could_not_show_is_refused(text: str, reason: str) -> None:
    """The reason has nothing of the content, because it is in a log."""
    with pytest.raises(EntryError, match=reason) as raised:
        check(text, CALENDAR)
    assert "NONSENSE" not in str(raised.value)


def test_a_broken_entry_is_told_and_costs_no_other(home: Home) -> None:
    """The task reports the number of each, stores the others, and succeeds."""
    whole = event("a") + event("b", "RRULE:FREQ=MINUTELY") + event("c", "DTEND:soon") + event("d")
    code, lines = bring(home, whole)
    assert [1, 2] == [line["number"] for line in lines if line["kind"] == "left-out"]
    assert (0, ("Calendar", 2, 0, 0)) == (code, counts(lines[-1]))


def test_calendars_by_name(home: Home) -> None:
    """The file's own name makes one; a shared one only if asked for; a dry run makes none."""
    assert ("School", 1, 0, 0) == counts(bring(home, event("a"), name="School", look=True)[1][0])
    assert {"Calendar", "Contacts", "family"} == {each.name for each in home.collections()}
    _, (line,) = bring(home, event("a"), name="School")
    assert (True, ("School", 1, 0, 0)) == (line["created"], counts(line))
    _, (line,) = bring(home, event("a"), name="school")
    assert (False, ("School", 0, 0, 1)) == (line["created"], counts(line))
    _, (line,) = bring(home, event("f"), name="family")
    assert line["created"]
    # Now there are two of the name.
    code, (line,) = bring(home, event("f"), into="family")
    assert (0, "left-out", True) == (code, line["kind"], "2 with the name" in line["reason"])
    _, (line,) = bring(home, event("s"), into="shared.family")
    assert ("family", 1, 0, 0) == counts(line)
    files = exported(home)
    assert {
        *("calendars/Calendar.ics", "calendars/School.ics", "calendars/family.ics"),
        *("calendars/shared/family.ics", "contacts/Contacts.vcf"),
    } == files.keys()
    assert "UID:s" in files["calendars/shared/family.ics"]


def test_an_export_that_is_imported_elsewhere_is_the_same(home: Home, tmp_path: Path) -> None:
    """Another home then has the same entries in collections of the same names."""
    whole = event("a", "SUMMARY:one") + event("b") + card("y", "Yves") + card("z", "Zoë")
    bring(home, whole)
    files = exported(home)
    (tmp_path / "other").mkdir()
    other = Home(tmp_path / "other", tmp_path / "other-cache", "ben@example.org", ())
    for text in files.values():
        assert 0 == bring(other, text)[0]
    assert {
        name: sorted(each.uid for each in read_entries(text).entries)
        for name, text in files.items()
        if "family" not in name
    } == {
        name: sorted(each.uid for each in read_entries(text).entries)
        for name, text in exported(other).items()
    }


def test_one_collection_is_exported_as_it_is(home: Home) -> None:
    """By its name, without a zip file; for an unknown name the task lists those that exist."""
    bring(home, event("a") + card("z", "Zoë"))
    to, said = io.BytesIO(), io.StringIO()
    assert 0 == tasks.export_one(home, "contacts", Output(said), to)
    assert card("z", "Zoë") == to.getvalue().decode()
    assert 65 == tasks.export_one(home, "no such", Output(said), to)
    assert "'Calendar', 'Contacts', 'family'" in said.getvalue()


def test_a_file_that_is_damaged_in_the_store_is_exported_as_it_is(
    home: Home, tmp_path: Path
) -> None:
    """It is in a folder of its own, so that the other files can be imported."""
    bring(home, event("a"))
    folder = tmp_path / "store/collection-root" / ANN / "calendar"
    (folder / "torn.ics").write_text("BEGIN:VCALEN")
    files = exported(home)
    assert "BEGIN:VCALEN" == files["damaged/calendars/Calendar.ics/torn.ics"]
    assert "UID:a" in files["calendars/Calendar.ics"]


def test_names_of_calendars_are_no_paths(home: Home) -> None:
    """Users choose names; in the zip file they are short, and safe on every system."""
    for name in ("../../etc", "a/b", "A/B", ".", "x" * 300, "con: <b>"):
        bring(home, event("a"), into=name)
    for path in exported(home):
        assert path.count("/") in {1, 2}
        assert ".." not in path.split("/")
        assert not set(path) & set('<>:"\\|?*')
        assert len(path) < 150


def test_what_does_not_fit_is_told(home: Home, tmp_path: Path) -> None:
    """What is there already takes no room; the exit code says that there was none."""
    bring(home, event("a"))
    stored = bounds.stored_bytes(tmp_path / "store/collection-root" / ANN)
    full = Home(tmp_path / "store", tmp_path / "cache", ANN, SHARES, stored + 300)
    code, lines = bring(full, event("a") + event("b") + event("c", "SUMMARY:" + "x" * 200))
    assert (73, [2]) == (code, [line["number"] for line in lines if line["kind"] == "left-out"])
    assert ("Calendar", 1, 0, 1) == counts(lines[-1])


def test_devices_get_their_turn_and_nothing_is_lost(home: Home, server: Calendars) -> None:
    """While an import runs, a device writes; all is there, and each once."""
    home.make()
    wrong: list[str] = []

    def write() -> None:
        for number in range(20):
            status, _ = ask(
                server, "PUT", f"/{ANN}/calendar/d{number}.ics", event(f"d{number}").encode()
            )
            if status != "201":
                wrong.append(status)

    device = threading.Thread(target=write)
    device.start()
    bring(home, "".join(event(f"i{number}") for number in range(120)))
    device.join()
    assert [] == wrong
    found = read_entries(exported(home)["calendars/Calendar.ics"]).entries
    assert sorted([*(f"i{n}" for n in range(120)), *(f"d{n}" for n in range(20))]) == sorted(
        each.uid for each in found
    )


@pytest.mark.parametrize(
    "line", [b"{", b"[]", b'{"kind": "calendar"}', b'{"kind": 1, "uid": "a", "text": ""}']
)
def test_an_upload_that_is_none_is_refused(line: bytes) -> None:
    """The error names the line."""
    with pytest.raises(StatusError, match="line 0 of the upload"):
        list(tasks.read_records(io.BytesIO(line)))
