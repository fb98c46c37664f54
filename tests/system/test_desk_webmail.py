"""Webmail and calendars of a running desk: deployed by the Pulumi program, reached by what is printed."""

from __future__ import annotations

import base64
import json
import ssl
from urllib.parse import urlsplit

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
    told = json.loads(desk.plexus("status", "--json").stdout)["webmail"]
    assert f"Webmail:             {told}\n" in desk.plexus("status").stdout
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


def test_a_calendar_is_on_the_file_system_and_shared(desk: Desk) -> None:
    """Mounted by its own access point, whose owner alone writes there; the stack file's share is in it."""
    visitor = visitor_of(desk, json.loads(desk.plexus("status", "--json").stdout)["webmail"])
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
