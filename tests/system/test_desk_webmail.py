"""Webmail and calendars of a running desk: deployed by the Pulumi program, reached by what is printed."""

from __future__ import annotations

import base64
import json
import socket
import ssl
from urllib.parse import urlsplit

from receiving_server import resolver_at
from service.web_client import WebClient
from system.desk import Desk, letter
from wire import await_true


def visitor_of(desk: Desk, address: str) -> WebClient:
    """A browser that trusts the desk's authority."""
    site = urlsplit(address)
    tls = ssl.create_default_context(cafile=desk.ca_file)
    return WebClient(site.port or 0, tls, host=site.hostname or "")


def test_a_mail_from_the_world_is_in_the_browser(desk: Desk) -> None:
    """Webmail has the desk's certificate, accepts the account's password, and lists the message."""
    mark = "seen in a browser"
    parts = json.loads(desk.plexus("status", "--json").stdout)["web"]
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
    told = urlsplit(json.loads(desk.plexus("status", "--json").stdout)["web"]["webmail"])
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
    visitor = visitor_of(desk, json.loads(desk.plexus("status", "--json").stdout)["web"]["webmail"])
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
