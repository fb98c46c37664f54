"""Calendars and contacts beside the real Dovecot: what client programs do, what strangers reach."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import caldav
import pytest

from service.account_page import Page
from service.container_engine import Network
from service.mail_host import HOSTNAME, ODD_ADDRESS, PASSWORD, STACK, MailHost, prepared
from service.web_client import Answer, WebClient

pytestmark = pytest.mark.timeout(300)

ANN, BEN, EVA = "ann@example.org", "ben@example.org", "eva@xn--strae-oqa.example"
RENAMED, FIRST = "carla@example.org", "carl@example.org"
SHARED = {
    "calendars": {"family": {ANN: "write", BEN: "read", FIRST: "write"}},
    "address-books": {"customers": {ANN: "write", BEN: "write"}},
}
SITE = {
    "PLEXUS_WEB_NAMES": HOSTNAME,
    "PLEXUS_WEB_PARTS": "calendars",
    "PLEXUS_SHARED": json.dumps(SHARED),
}
NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def host(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailHost]:
    """Provide a host with Dovecot, and calendars in the web container."""
    hash_of_all = STACK["mailboxes"][0]["password-hash"]
    stack = {
        "domains": [*STACK["domains"], "straße.example"],
        "mailboxes": [
            *STACK["mailboxes"],
            {"address": RENAMED, "stored-as": FIRST, "password-hash": hash_of_all},
            {"address": EVA, "password-hash": hash_of_all},
        ],
        "aliases": STACK["aliases"],
    }
    root = tmp_path_factory.mktemp("host")
    with prepared(network, root, "dovecot", "web", has_web=True) as made:
        made.write_directory(stack)
        made.start("dovecot")
        made.start("web", SITE)
        yield made


@pytest.fixture(autouse=True)
def _nobody_has_guessed(host: MailHost) -> None:  # pyright: ignore[reportUnusedFunction]
    """Each test begins without notes of wrong passwords."""
    for notes in (host.root / "run/dovecot/guesses").iterdir():
        notes.unlink()


@pytest.fixture
def visitor(host: MailHost) -> WebClient:
    """Somebody who sends what they like."""
    return WebClient(host.containers["web"].port(443), host.tls())


def basic(address: str, password: str = PASSWORD) -> dict[str, str]:
    """Return the header with a password."""
    given = base64.b64encode(f"{address}:{password}".encode()).decode()
    return {"Authorization": f"Basic {given}"}


def home(address: str) -> str:
    return f"/dav/{address}/"


def event(uid: str, *lines: str) -> bytes:
    """Return an event of one hour, in RFC 5545's form."""
    text = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//test//EN", "BEGIN:VEVENT", f"UID:{uid}"]
    text += ["DTSTAMP:20261101T000000Z", "DTSTART:20261201T120000Z", "DTEND:20261201T130000Z"]
    text += [f"SUMMARY:{uid}", *lines, "END:VEVENT", "END:VCALENDAR", ""]
    return "\r\n".join(text).encode()


def put(visitor: WebClient, path: str, content: bytes, address: str = ANN) -> Answer:
    return visitor.ask(path, method="PUT", body=content, headers=basic(address))


def program(host: MailHost, address: str, password: str = PASSWORD) -> caldav.DAVClient:
    """Return a calendar client configured with a server's name and a password."""
    port = host.containers["web"].port(443)
    return caldav.DAVClient(
        f"https://localhost:{port}/.well-known/caldav",
        username=address,
        password=password,
        ssl_verify_cert=False,
        enable_rfc6764=False,
    )


def test_a_program_finds_its_calendar_and_another_device_what_it_wrote(host: MailHost) -> None:
    """By the well-known address; a calendar is there from the start; tasks and changes come, too."""
    with program(host, ANN) as telephone, program(host, ANN) as desk:
        calendars = {each.name: each for each in telephone.principal().calendars()}
        assert {"Calendar", "family"} == calendars.keys()
        mine = calendars["Calendar"]
        token = mine.get_objects_by_sync_token()
        mine.add_event(dtstart=NOON, dtend=NOON + timedelta(hours=1), summary="Lunch", uid="lunch")
        mine.add_event(
            dtstart=NOON, dtend=NOON + timedelta(hours=1), summary="Walk", rrule={"FREQ": "DAILY"}
        )
        mine.add_todo(summary="Buy bread")

        theirs = next(each for each in desk.principal().calendars() if each.name == "Calendar")
        week = NOON + timedelta(days=7)
        found = theirs.search(start=week, end=week + timedelta(hours=2), event=True, expand=True)
        assert ["Walk"] == [str(each.icalendar_component["SUMMARY"]) for each in found]
        lunch = theirs.get_event_by_uid("lunch")
        lunch.icalendar_component["SUMMARY"] = "Late lunch"
        lunch.save()
        assert ["Buy bread"] == [str(e.icalendar_component["SUMMARY"]) for e in theirs.todos()]
        token.sync()
        assert 3 == len(list(token))
        theirs.get_event_by_uid("lunch").delete()
        token.sync()
        assert 2 == len(list(token))
        made = desk.principal().make_calendar(name="Holidays")
        assert "Holidays" in {each.name for each in telephone.principal().calendars()}
        made.delete()


VDIRSYNCER = """
[general]
status_path = "{folder}/status"
[pair {name}]
a = "{name}_here"
b = "{name}_there"
collections = ["from b"]
metadata = ["displayname"]
[storage {name}_here]
type = "filesystem"
path = "{folder}/{name}"
fileext = "{ending}"
[storage {name}_there]
type = "{name}"
url = "https://localhost:{port}/"
username = "{address}"
password = "{password}"
verify_fingerprint = "{fingerprint}"
"""
CARD = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{uid}\r\nFN:{name}\r\nN:{name};;;;\r\nEND:VCARD\r\n"


def run_vdirsyncer(host: MailHost, folder: Path, name: str, address: str, command: str) -> None:
    """Let vdirsyncer look for collections and make them here (`discover`), or carry both ways (`sync`)."""
    port = host.containers["web"].port(443)
    pem = ssl.get_server_certificate(("127.0.0.1", port))
    text = VDIRSYNCER.format(
        folder=folder,
        name=name,
        ending=".ics" if name == "caldav" else ".vcf",
        port=port,
        address=address,
        password=PASSWORD,
        fingerprint=hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest(),
    )
    folder.mkdir(exist_ok=True)
    (folder / "config").write_text(text)
    program = [sys.executable, "-m", "vdirsyncer", "-c", str(folder / "config"), command]
    subprocess.run(program, input="y\n" * 9, text=True, check=True, timeout=120)


def test_contacts_go_up_and_down_and_a_shared_book_to_both_users(
    host: MailHost, visitor: WebClient, tmp_path: Path
) -> None:
    """By CardDAV, found from the host's name alone, with vdirsyncer for each user."""
    shared = f"{home(BEN)}shared.customers.cards/"
    card = CARD.format(uid="of-ben", name="Bär").encode()
    assert 201 == put(visitor, f"{shared}ben.vcf", card, BEN).status
    run_vdirsyncer(host, tmp_path, "carddav", ANN, "discover")
    for book in ("contacts", "shared.customers.cards"):
        card = CARD.format(uid=f"z-{book}", name="Zoë Ångström").encode()
        (tmp_path / "carddav" / book / "z.vcf").write_bytes(card)
    run_vdirsyncer(host, tmp_path, "carddav", ANN, "sync")
    (bens,) = (tmp_path / "carddav/shared.customers.cards").glob("[!z]*.vcf")
    assert "FN:Bär" in bens.read_bytes().decode()
    assert "FN:Zoë" in visitor.ask(shared, headers=basic(BEN)).text
    assert "FN:Zoë" in visitor.ask(f"{home(ANN)}contacts/", headers=basic(ANN)).text
    assert "FN:Zoë" not in visitor.ask(f"{home(BEN)}contacts/", headers=basic(BEN)).text


def test_a_shared_calendar_is_every_members_by_their_rights(
    host: MailHost, visitor: WebClient
) -> None:
    """Who may write writes; who may read reads; nobody deletes it, and others do not know of it."""
    there = "shared.family/"
    assert 201 == put(visitor, f"{home(ANN)}{there}party.ics", event("party")).status
    seen = visitor.ask(f"{home(BEN)}{there}party.ics", headers=basic(BEN))
    assert (200, True) == (seen.status, "SUMMARY:party" in seen.text)
    assert 403 == put(visitor, f"{home(BEN)}{there}b.ics", event("b"), BEN).status
    assert 403 == put(visitor, f"{home(BEN)}{there}party.ics", event("party"), BEN).status
    for user in (ANN, BEN):
        for path in (f"{home(user)}{there}", home(user)):
            assert 403 == visitor.ask(path, method="DELETE", headers=basic(user)).status, path
    # A mailbox that was renamed has its calendars, and its share, by its first address.
    answer = visitor.ask(
        f"/dav/{FIRST}/{there}", method="PROPFIND", headers=basic(RENAMED) | {"Depth": "1"}
    )
    assert (207, True) == (answer.status, "party.ics" in answer.text)
    with program(host, EVA) as stranger:
        assert ["Calendar"] == [each.name for each in stranger.principal().calendars()]
    assert 403 == visitor.ask(f"{home(EVA)}{there}", headers=basic(EVA)).status
    assert 403 == visitor.ask(f"{home(EVA)}shared.new/", method="MKCOL", headers=basic(EVA)).status


def test_odd_names_have_a_home(host: MailHost, visitor: WebClient) -> None:
    """Signs of an address mean nothing in a path; a domain may be typed as it is read."""
    for typed, kept in ((ODD_ADDRESS, ODD_ADDRESS), ("Eva@Straße.example", EVA)):
        there = f"/dav/{quote(kept, safe='')}/calendar/a.ics"
        assert 201 == put(visitor, there, event("a"), typed).status
        assert "SUMMARY:a" in visitor.ask(there, headers=basic(typed)).text
    homes = {each.name for each in (host.root / "calendars/collection-root").iterdir()}
    assert {ODD_ADDRESS, EVA} <= homes


BOMB = """<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]>
<D:propfind xmlns:D="DAV:"><D:prop>&b;</D:prop></D:propfind>"""
OUTSIDE = """<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>
<D:propfind xmlns:D="DAV:"><D:prop>&a;</D:prop></D:propfind>"""


def test_hostile_requests_reach_nothing_and_end_nothing(host: MailHost, visitor: WebClient) -> None:
    """Other homes, paths that climb, XML that grows, bodies and rules without end; it serves on."""
    assert 201 == put(visitor, f"{home(BEN)}calendar/secret.ics", event("secret"), BEN).status
    climbing = (
        *(home(BEN), f"{home(BEN)}calendar/", f"{home(BEN)}calendar/secret.ics"),
        *(f"{home(ANN)}../{BEN}/calendar/secret.ics", f"{home(ANN)}%2e%2e/{BEN}/calendar/"),
        *(f"{home(ANN)}..%2f{BEN}/calendar/secret.ics", f"{home(ANN)}calendar/..%2f..%2f{BEN}/"),
        *("/dav/..%2f..%2f..%2fetc/passwd", "/dav/%2fetc%2fpasswd", f"//dav/{BEN}/calendar/"),
        *(f"{home(ANN)}.Radicale.props", f"{home(ANN)}calendar/.Radicale.props"),
        *(f"{home(ANN)}shared.family/../../../../shared/", "/dav/.Radicale.lock", "/dav/%00"),
        *(f"{home(ANN)}calendar/%0d%0aX: y", f"{home(ANN)}{'a/' * 500}", f"{home(ANN)}{'é' * 90}/"),
    )
    for path in climbing:
        quoted = path.replace("é", "%C3%A9").replace(" ", "%20")
        for method in ("GET", "PROPFIND", "PUT", "DELETE"):
            answer = visitor.ask(quoted, method=method, body=event("x"), headers=basic(ANN))
            assert answer.status in {400, 401, 403, 404, 405, 409}, (method, path)
            assert "secret" not in answer.text, (method, path)
    move = basic(ANN) | {"Destination": f"https://localhost{home(BEN)}calendar/x.ics"}
    assert 201 == put(visitor, f"{home(ANN)}calendar/x.ics", event("x")).status
    moved = visitor.ask(f"{home(ANN)}calendar/x.ics", method="MOVE", headers=move)
    assert moved.status in {403, 502}
    for body in (BOMB, OUTSIDE, "<a>" * 20000, "\x00\x01", "<D:propfind"):
        question = {"method": "PROPFIND", "body": body.encode(), "headers": basic(ANN)}
        assert 400 == visitor.ask(home(ANN), **question).status, body[:60]
    large = event("large", "DESCRIPTION:" + "a" * (5 << 20))
    assert 413 == put(visitor, f"{home(ANN)}calendar/large.ics", large).status
    xml = b"<a/>" * 100_000
    assert 413 == visitor.ask(home(ANN), method="REPORT", body=xml, headers=basic(ANN)).status
    endless = put(
        visitor, f"{home(ANN)}calendar/e.ics", event("e", "RRULE:FREQ=SECONDLY;COUNT=99999999")
    )
    assert (403, True) == (endless.status, "max-instances" in endless.text)
    stuck = event("y", "X" + ";a=b" * 30)
    for content in (b"", b"no calendar", event("y").replace(b"END:VEVENT\r\n", b""), stuck):
        assert 400 == put(visitor, f"{home(ANN)}calendar/y.ics", content).status
    # Everything of a calendar at once, which would replace it.
    assert 403 == put(visitor, f"{home(ANN)}calendar/", event("only")).status
    for method in ("POST", "TRACE", "LOCK", "COPY", "ACL"):
        assert 405 == visitor.ask(home(ANN), method=method, headers=basic(ANN)).status, method
    assert 200 == visitor.ask(f"{home(BEN)}calendar/secret.ics", headers=basic(BEN)).status
    log = host.containers["web"].logs()
    assert "beginning it again" not in log
    assert PASSWORD not in log


def test_a_large_event_fits_the_container(host: MailHost, visitor: WebClient) -> None:
    """A picture inside an event, near the limit, at once by three devices; nothing is killed."""
    picture = base64.b64encode(os.urandom(1 << 20)).decode()
    lines = "\r\n ".join(picture[at : at + 70] for at in range(0, len(picture), 70))
    content = event("picture", f"ATTACH;ENCODING=BASE64;VALUE=BINARY:{lines}")
    assert 201 == put(visitor, f"{home(ANN)}calendar/picture.ics", content).status
    seen = visitor.ask(f"{home(ANN)}calendar/picture.ics", headers=basic(ANN))
    assert picture[-1000:] in seen.text.replace("\r\n ", "")
    assert "beginning it again" not in host.containers["web"].logs()


def test_guesses_count_for_the_devices_address(host: MailHost, visitor: WebClient) -> None:
    """With all other protocols; who has guessed too often is told to wait, not that it was wrong."""
    notes = host.root / f"run/dovecot/guesses/address-{host.network.gateway}"
    assert 401 == visitor.ask("/dav/", method="PROPFIND", headers=basic(BEN, "a guess")).status
    assert 1 == len(notes.read_text().splitlines())
    notes.write_text("".join(f"{int(time.time())} {number:032x}\n" for number in range(10)))
    refused = visitor.ask("/dav/", method="PROPFIND", headers=basic(BEN))
    assert (503, True) == (refused.status, "retry-after" in refused.headers)
    notes.unlink()
    assert 207 == visitor.ask("/dav/", method="PROPFIND", headers=basic(BEN)).status
    # An address that a client claims is not believed.
    claimed = basic(BEN, "a guess") | {"X-Real-IP": "192.0.2.7", "X-Forwarded-For": "192.0.2.7"}
    assert 401 == visitor.ask("/dav/", method="PROPFIND", headers=claimed).status
    assert notes.exists()
    assert not notes.with_name("address-192.0.2.7").exists()
    logins = (host.root / "mail/last-logins" / BEN).read_text()
    assert f" main calendars {host.network.gateway}\n" in logins


def test_app_passwords_open_calendars_and_can_be_all_that_does(
    host: MailHost, visitor: WebClient
) -> None:
    """One from the account page works at once, and is refused as soon as it is revoked."""
    page = Page(host, BEN)
    page.login()
    made = page.ask("make-app", name="phone")["password"]

    def status(password: str) -> int:
        return visitor.ask("/dav/", method="PROPFIND", headers=basic(BEN, password)).status

    assert (207, 207) == (status(made), status(PASSWORD))
    page.ask("only-apps", on="yes")
    assert (207, 401) == (status(made), status(PASSWORD))
    page.ask("revoke-app", name="phone")
    assert 401 == status(made)
    (host.root / "mail/example.org/ben/.passwords").unlink()


def test_a_browsers_window_is_not_asked_for_a_password(visitor: WebClient) -> None:
    """So it has none to send for a page that wants something; a program is asked."""
    window = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    refused = visitor.ask("/dav/", headers=window)
    assert (401, False) == (refused.status, "www-authenticate" in refused.headers)
    assert 403 == visitor.ask("/dav/", headers=window | basic(ANN)).status
    other = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "empty"}
    assert 403 == visitor.ask("/dav/", headers=other | basic(ANN)).status
    asked = visitor.ask("/dav/", method="PROPFIND")
    assert (401, "Basic") == (asked.status, asked.headers["www-authenticate"][:5])
    for path in ("/.well-known/caldav", "/.well-known/carddav", "/dav"):
        led = visitor.ask(path, method="PROPFIND")
        assert (301, "/dav/") == (led.status, led.headers["location"]), path
    assert visitor.ask("/").status in {403, 404}
    seen = visitor.ask(f"{home(ANN)}", method="PROPFIND", headers=basic(ANN)).headers
    assert {"nosniff", "default-src 'none'; frame-ancestors 'none'"} <= set(seen.values())


def test_calendars_outlive_the_container_and_its_caches(host: MailHost, visitor: WebClient) -> None:
    """They are on the store alone; who leaves a share loses the sight of it, and nobody its events."""
    assert 201 == put(visitor, f"{home(ANN)}shared.family/kept.ics", event("kept")).status
    with program(host, ANN) as client:
        mine = next(e for e in client.principal().calendars() if e.name == "family")
        token = mine.get_objects_by_sync_token()
        before = len(list(token))
    shutil.rmtree(host.root / "webmail/calendars")
    fewer = {"calendars": {"family": {ANN: "read"}}}
    host.start("web", SITE | {"PLEXUS_SHARED": json.dumps(fewer)})
    again = WebClient(host.containers["web"].port(443), host.tls())
    seen = again.ask(f"{home(ANN)}shared.family/kept.ics", headers=basic(ANN))
    assert (200, True) == (seen.status, "SUMMARY:kept" in seen.text)
    assert 403 == put(again, f"{home(ANN)}shared.family/new.ics", event("new")).status
    assert 403 == again.ask(f"{home(BEN)}shared.family/kept.ics", headers=basic(BEN)).status
    with program(host, BEN) as client:
        assert "family" not in {each.name for each in client.principal().calendars()}
    with program(host, ANN) as client:
        mine = next(e for e in client.principal().calendars() if e.name == "family")
        assert before == len(list(mine.get_objects_by_sync_token()))
