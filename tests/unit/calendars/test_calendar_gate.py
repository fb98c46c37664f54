"""What reaches Radicale, and as whom: with the real Radicale, and a Dovecot that the test plays."""

from __future__ import annotations

import base64
import io
import logging
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from postal_plexus.account.password_check import Outcome, Verdict
from postal_plexus.calendars.application import radicale_application
from postal_plexus.calendars.bounds import Store, Watchdog
from postal_plexus.calendars.gate import Gate, credentials
from postal_plexus.calendars.links import create_shared
from postal_plexus.calendars.shares import Share

ANN, BEN = "ann@example.org", "ben@example.org"
SHARES = (Share("family", "calendars", {ANN: "write", BEN: "read"}),)


def verify(name: str, password: str, remote: str) -> Verdict:
    """Dovecot, which knows one password, and what happens with others."""
    assert remote == "192.0.2.1"
    if password == "away":
        raise ConnectionError("no socket")
    outcome = {"right": Outcome.RIGHT, "later": Outcome.LATER}.get(password, Outcome.WRONG)
    return Verdict(outcome, name, "first@example.org" if name == "renamed@example.org" else name)


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """Provide the gate and Radicale on an empty store."""
    logging.disable(logging.WARNING)
    store = tmp_path / "store"
    create_shared(store, SHARES)
    bound = Store(most=60_000, unmeasured=20_000)
    radicale = radicale_application(store, tmp_path / "cache", SHARES)
    return Gate(radicale, verify, store, SHARES, bound=bound)


def ask(
    gate: Callable[..., Any],
    method: str,
    path: str,
    body: bytes = b"",
    user: str = ANN,
    password: str = "right",
    **headers: str,
) -> tuple[int, str]:
    """Return status and text of an answer."""
    given = base64.b64encode(f"{user}:{password}".encode()).decode()
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "SCRIPT_NAME": "",
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_AUTHORIZATION": f"Basic {given}",
        "HTTP_HOST": "mail.example.org",
        "HTTP_X_REAL_IP": "192.0.2.1",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "8080",
        "wsgi.errors": io.StringIO(),
        "wsgi.input": io.BytesIO(body),
        "wsgi.url_scheme": "https",
        **headers,
    }
    heads: list[str] = []
    octets = b"".join(gate(environ, lambda status, _: heads.append(status)))
    return int(heads[0][:3]), octets.decode()


def event(*lines: str) -> bytes:
    text = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//test//EN", "BEGIN:VEVENT", "UID:a"]
    text += ["DTSTAMP:20261101T000000Z", "DTSTART:20261201T120000Z", *lines]
    return "\r\n".join([*text, "END:VEVENT", "END:VCALENDAR", ""]).encode()


@pytest.mark.parametrize(
    ("password", "status"), [("right", 207), ("wrong", 401), ("later", 503), ("away", 503)]
)
def test_dovecots_word_decides(gate: Gate, password: str, status: int) -> None:
    """What cannot be said now is no wrong password: a device would ask its user for another one."""
    assert status == ask(gate, "PROPFIND", "/dav/", password=password)[0]


def test_a_first_question_makes_a_home_with_what_is_shared(gate: Gate) -> None:
    """A calendar, an address book and the shared ones are in the first answer; twice is once."""
    for _ in range(2):
        answer = ask(gate, "PROPFIND", "/dav/ben@example.org/", user=BEN, HTTP_DEPTH="1")[1]
        for name in ("calendar", "contacts", "shared.family"):
            assert 1 == answer.count(f"<response><href>/dav/ben%40example.org/{name}/</href>"), name


def test_a_renamed_mailbox_is_where_it_was(gate: Gate) -> None:
    """Its first address is its name here."""
    question = b'<propfind xmlns="DAV:"><prop><current-user-principal/></prop></propfind>'
    answer = ask(gate, "PROPFIND", "/dav/", question, user="renamed@example.org")[1]
    assert "/dav/first%40example.org/" in answer


def test_what_a_client_says_of_itself_is_not_believed(gate: Gate) -> None:
    """No header changes who it is, or where it is."""
    assert 201 == ask(gate, "PUT", "/dav/ben@example.org/calendar/a.ics", event(), BEN)[0]
    claims = {
        "HTTP_X_REMOTE_USER": BEN,
        "HTTP_REMOTE_USER": BEN,
        "HTTP_X_SCRIPT_NAME": "/dav/ben@example.org",
        "HTTP_X_FORWARDED_HOST": "evil.example",
        "HTTP_COOKIE": f"user={BEN}",
    }
    for path in (
        "/dav/ben@example.org/calendar/a.ics",
        "/dav/../ben@example.org/",
        "/ben@example.org/",
    ):
        assert ask(gate, "GET", path, **claims)[0] in {403, 404}, path


def test_nobody_reaches_what_is_not_theirs(gate: Gate) -> None:
    """Not by reading, writing, moving or deleting; nor does anybody end a shared calendar or a home."""
    assert 201 == ask(gate, "PUT", "/dav/ann@example.org/calendar/a.ics", event())[0]
    assert 201 == ask(gate, "PUT", "/dav/ann@example.org/shared.family/b.ics", event())[0]
    for method in ("GET", "PROPFIND", "PROPPATCH", "PUT", "DELETE", "MKCALENDAR", "REPORT"):
        for path in ("calendar/a.ics", "calendar/", "", "new/"):
            found = ask(gate, method, f"/dav/ann@example.org/{path}", event(), BEN)[0]
            assert 400 <= found < 500, (method, path)
    there = {"HTTP_DESTINATION": "https://mail.example.org/dav/ann@example.org/calendar/c.ics"}
    assert (
        403 == ask(gate, "MOVE", "/dav/ben@example.org/shared.family/b.ics", b"", BEN, **there)[0]
    )
    for user in (ANN, BEN):
        for path in ("", "shared.family/"):
            assert 403 == ask(gate, "DELETE", f"/dav/{user}/{path}", user=user)[0]
    assert 403 == ask(gate, "DELETE", "/dav/ben@example.org/shared.family/b.ics", user=BEN)[0]
    assert 200 == ask(gate, "DELETE", "/dav/ann@example.org/shared.family/b.ics")[0]
    assert 200 == ask(gate, "GET", "/dav/ann@example.org/calendar/a.ics")[0]


def test_an_event_moves_between_ones_own_calendars(gate: Gate) -> None:
    """Its destination has the host's name, without a port."""
    at = "/dav/ann@example.org/{}/a.ics"
    assert 201 == ask(gate, "PUT", at.format("calendar"), event())[0]
    there = {"HTTP_DESTINATION": f"https://mail.example.org{at.format('shared.family')}"}
    assert 201 == ask(gate, "MOVE", at.format("calendar"), **there)[0]
    assert 200 == ask(gate, "GET", "/dav/ben@example.org/shared.family/a.ics", user=BEN)[0]
    assert 404 == ask(gate, "GET", at.format("calendar"))[0]


def test_a_user_stores_so_much_and_others_are_not_concerned(gate: Gate) -> None:
    """Beyond it 507; what was deleted counts no more; a shared calendar counts for itself."""
    content = event("DESCRIPTION:" + "a" * 9000)
    at = "/dav/ann@example.org/calendar/{}.ics"
    found = [
        ask(gate, "PUT", at.format(name), content.replace(b"UID:a", b"UID:" + name.encode()))[0]
        for name in "abcdefgh"
    ]
    assert found == sorted(found)
    assert {201, 507} == set(found)
    assert 201 == ask(gate, "PUT", "/dav/ann@example.org/shared.family/a.ics", content)[0]
    assert 201 == ask(gate, "PUT", "/dav/ben@example.org/calendar/a.ics", content, BEN)[0]
    for name in "abc":
        assert 200 == ask(gate, "DELETE", at.format(name))[0]
    assert 201 == ask(gate, "PUT", at.format("z"), content)[0]


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE x [<!ENTITY a "aa">]><propfind xmlns="DAV:"><prop>&a;</prop></propfind>',
        b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><propfind xmlns="DAV:">&a;</propfind>',
        b"<a>" * 5_000,
        b"\xff\xfe\x00",
        b"<propfind",
    ],
)
def test_xml_that_is_none_or_grows_is_refused(gate: Gate, body: bytes) -> None:
    """By 400, for each method that reads XML."""
    for method in ("PROPFIND", "PROPPATCH", "REPORT", "MKCALENDAR", "MKCOL"):
        path = "new/" if method.startswith("MK") else "calendar/"
        assert 400 == ask(gate, method, f"/dav/ann@example.org/{path}", body)[0], method
    assert 413 == ask(gate, "REPORT", "/dav/ann@example.org/calendar/", b"<a/>" * 100_000)[0]


def test_no_character_set_hides_what_is_checked(gate: Gate) -> None:
    """A body is UTF-8, whatever its header says."""
    endless = event("RRULE:FREQ=SECONDLY").decode().encode("utf-16")
    kind = "text/calendar; charset=utf-16"
    answer = ask(gate, "PUT", "/dav/ann@example.org/calendar/a.ics", endless, CONTENT_TYPE=kind)
    assert answer[0] in {400, 403}
    plain = ask(gate, "PUT", "/dav/ann@example.org/calendar/a.ics", event(), CONTENT_TYPE=kind)
    assert 201 == plain[0]


def test_a_line_that_would_occupy_the_server_is_refused(gate: Gate) -> None:
    """vobject would take hours for it, and no other thread would run."""
    line = "X" + ";a=b" * 40
    assert 400 == ask(gate, "PUT", "/dav/ann@example.org/calendar/a.ics", event(line))[0]


EXPAND = """<C:calendar-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop>
<C:calendar-data><C:expand start="{0}" end="{1}"/></C:calendar-data></D:prop><C:filter>
<C:comp-filter name="VCALENDAR"/></C:filter></C:calendar-query>"""


def test_occurrences_of_thousands_of_years_are_not_worked_out(gate: Gate) -> None:
    """Those of a year are."""
    path = "/dav/ann@example.org/calendar/"
    assert 201 == ask(gate, "PUT", f"{path}a.ics", event("RRULE:FREQ=DAILY"))[0]
    year = EXPAND.format("20270101T000000Z", "20280101T000000Z").encode()
    status, text = ask(gate, "REPORT", path, year)
    assert (207, 365) == (status, text.count("BEGIN:VEVENT"))
    for start, end in (
        ("00010101T000000Z", "99991231T235959Z"),
        ("20270101T000000Z", "20330101T000000Z"),
    ):
        assert 400 == ask(gate, "REPORT", path, EXPAND.format(start, end).encode())[0]


def test_an_event_that_never_ends_is_not_stored(gate: Gate) -> None:
    """RFC 4791 section 5.3.2.1 has a word for it."""
    status, text = ask(
        gate, "PUT", "/dav/ann@example.org/calendar/a.ics", event("RRULE:FREQ=SECONDLY")
    )
    assert (403, True) == (status, "max-instances" in text)
    assert 404 == ask(gate, "GET", "/dav/ann@example.org/calendar/a.ics")[0]


@pytest.mark.parametrize("path", ["/dav/ann@example.org/a\nb", "/dav/\x1b[2J", "/dav/a\x00"])
def test_a_name_is_printable(gate: Gate, path: str) -> None:
    """What would be a line of a log, or a terminal's command, is no name."""
    assert 400 == ask(gate, "PUT", path, event())[0]


@pytest.mark.parametrize(
    ("header", "given"),
    [
        ("Basic YW5uOng=", ("ann", "x")),
        ("basic YW5uOng6eQ==", ("ann", "x:y")),
        ("Basic " + base64.b64encode("ann:pässword".encode()).decode(), ("ann", "pässword")),
        ("Basic " + base64.b64encode("ann:pä".encode("latin-1")).decode(), ("ann", "pä")),
        ("", None),
        ("Bearer YW5uOng=", None),
        ("Basic", None),
        ("Basic !!!", None),
        ("Basic " + base64.b64encode(b"ann").decode(), None),
        ("Basic " + base64.b64encode(b":x").decode(), None),
        ("Basic " + base64.b64encode(b"ann:").decode(), None),
    ],
)
def test_what_an_authorization_says(header: str, given: tuple[str, str] | None) -> None:
    """RFC 7617, and the charset of clients before it."""
    assert given == credentials(header)


def test_the_watchdog_ends_what_runs_too_long() -> None:
    """And nothing else: what has ended, or has just begun."""
    ended: list[str] = []
    strict, patient = Watchdog(-1, ended.append), Watchdog(60, ended.append)
    with patient.watching("a REPORT"):
        patient.look()
    strict.look()
    assert ended == []
    with strict.watching("a REPORT"):
        strict.look()
    assert ended == ["a REPORT"]


_STUCK = """
import re, threading, time
from postal_plexus.calendars.bounds import Watchdog
threading.Thread(target=Watchdog(1, print).follow, daemon=True).start()
time.sleep(0.1)
re.match(r"(?:a|a)*b", "a" * 99)
"""


def test_the_kernel_ends_what_lets_no_thread_run() -> None:
    """A regular expression holds the interpreter, so no thread of the process could end it."""
    done = subprocess.run([sys.executable, "-c", _STUCK], timeout=60, check=False)
    assert -signal.SIGALRM == done.returncode
