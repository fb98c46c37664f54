"""Webmail and calendars of a running desk: deployed by the Pulumi program, reached by what is printed."""

from __future__ import annotations

import base64
import socket
import ssl
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import icalendar

from receiving_server import resolver_at
from service.web_client import WebClient
from system.desk import Desk, letter
from system.test_restore import back_up
from wire import await_true


def visitor_of(desk: Desk, address: str) -> WebClient:
    """A browser that trusts the desk's authority."""
    site = urlsplit(address)
    tls = ssl.create_default_context(cafile=desk.ca_file)
    return WebClient(site.port or 0, tls, host=site.hostname or "")


def test_a_mail_from_the_world_is_in_the_browser(desk: Desk) -> None:
    """Webmail has the desk's certificate, accepts the account's password, and lists the message."""
    mark = "seen in a browser"
    parts = desk.told()["web"]
    told, said = parts["webmail"], desk.plexus("status").stdout
    assert f"Webmail:             {told}\n" in said
    assert f"Account page:        {told}account/\n" in said
    assert f"Calendars:           {told}dav/\n" in said
    content = letter("friend@elsewhere.example", desk.ann, mark).as_bytes()
    assert {} == desk.receive("friend@elsewhere.example", [desk.ann], content)
    visitor = visitor_of(desk, told)
    assert 302 == visitor.log_in(desk.ann, desk.password(desk.ann)).status
    listed = "/?_task=mail&_action=list&_mbox=INBOX&_remote=1"
    xhr = {"X-Requested-With": "XMLHttpRequest"}
    token = visitor.token("/?_task=mail")
    await_true(
        "the mail in the browser",
        lambda: mark in visitor.ask(listed, headers=xhr | {"X-Roundcube-Request": token}).text,
    )


def test_webmail_has_a_name_in_each_domain(desk: Desk) -> None:
    """Its name is in the zone and in the certificate, and nginx answers there with the login page."""
    told = urlsplit(desk.told()["web"]["webmail"])
    tls = ssl.create_default_context(cafile=desk.ca_file)
    for name in ("webmail.example.org", "webmail.example.net", "mail.example.net"):
        assert list(resolver_at(*desk.endpoint("dns")).resolve(name, "A"))
        with (
            socket.create_connection(("127.0.0.1", told.port or 0), timeout=30) as plain,
            tls.wrap_socket(plain, server_hostname=name) as connection,
        ):
            connection.sendall(f"HEAD / HTTP/1.0\r\nHost: {name}\r\n\r\n".encode())
            assert b" 200 " in connection.recv(4096).splitlines()[0]


def test_a_calendar_is_on_the_file_system_and_shared(desk: Desk) -> None:
    """Mounted by its own access point, whose owner alone writes there; the stack file's share is in it."""
    visitor = visitor_of(desk, desk.told()["web"]["webmail"])
    password = base64.b64encode(f"{desk.ann}:{desk.password(desk.ann)}".encode()).decode()
    who = {"Authorization": f"Basic {password}"}
    text = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:zoe\r\nFN:Zoe\r\nN:Zoe;;;;\r\nEND:VCARD\r\n"
    at = f"/dav/{desk.ann}/"
    card = visitor.ask(f"{at}contacts/zoe.vcf", method="PUT", body=text.encode(), headers=who)
    assert card.status in {201, 204}
    found = visitor.ask(at, method="PROPFIND", headers=who | {"Depth": "1"})
    assert (207, True) == (found.status, "shared.family/" in found.text)
    (stored,) = (desk.directory / "efs").rglob(f"collection-root/{desk.ann}/contacts/zoe.vcf")
    assert 5007 == stored.stat().st_uid


def test_calendars_are_imported_exported_and_restored(desk: Desk, tmp_path: Path) -> None:
    """By an operator without passwords: a zip file as Google's comes once, leaves whole, and comes back."""

    told = desk.told()
    visitor = visitor_of(desk, told["web"]["webmail"])

    def operate(*words: str) -> str:
        run = desk.operate(*words)
        assert run.returncode == 0, run.stderr
        return run.stdout

    entry = "BEGIN:VEVENT\r\nUID:{0}\r\nDTSTART:20261201T120000Z\r\nSUMMARY:{0}\r\nEND:VEVENT\r\n"
    events = "".join(entry.format(f"choir {number}") for number in range(60))
    broken = entry.format("broken").replace("20261201T120000Z", "soon")
    path = tmp_path / "takeout.zip"
    with zipfile.ZipFile(path, "w") as archive:
        head = f"BEGIN:VCALENDAR\r\nX-WR-CALNAME:Choir\r\n{events}"
        archive.writestr("Choir.ics", f"{head}{broken}END:VCALENDAR\r\n")
        archive.writestr("Contacts.vcf", "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Yves\r\nEND:VCARD\r\n")
    run = desk.operate("import", desk.ann, str(path))
    assert 65 == run.returncode, run.stderr
    assert "Choir (new): 60 new, 0 replaced, 0 unchanged\nContacts: 1 new," in run.stdout
    assert f"left out: {path}: Choir.ics, line 303 (broken): cannot be read" in run.stdout
    password = base64.b64encode(f"{desk.ann}:{desk.password(desk.ann)}".encode()).decode()
    who = {"Authorization": f"Basic {password}"}
    seen = visitor.ask(f"/dav/{desk.ann}/contacts/", headers=who)
    assert (200, True) == (seen.status, "FN:Yves" in seen.text)
    whole = tmp_path / "all.zip"
    operate("export", desk.ann, "--calendars", "--to", str(whole))
    with zipfile.ZipFile(whole) as archive:
        assert {"calendars/Choir.ics", "calendars/shared/family.ics", "contacts/Contacts.vcf"} <= {
            *archive.namelist()
        }
        found = icalendar.Calendar.from_ical(archive.read("calendars/Choir.ics"))
        assert {f"choir {number}" for number in range(60)} == {str(e["UID"]) for e in found.events}
    back_up(desk)
    (stored,) = (desk.directory / "efs").rglob(f"collection-root/{desk.ann}/contacts")
    for card in stored.glob("*.vcf"):
        card.unlink()
    lines = operate("restore", desk.ann, "--calendars").splitlines()
    (name,) = [line.rpartition(": ")[0] for line in lines if "Contacts" in line]
    one = tmp_path / "one.vcf"
    operate("export", desk.ann, "--calendar", name, "--to", str(one))
    assert "FN:Yves" in one.read_text()
    ghost = desk.operate("import", "ghost@example.org", str(one))
    assert (67, True) == (ghost.returncode, "there is no mailbox ghost@example.org" in ghost.stderr)
