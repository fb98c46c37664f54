"""Webmail of a running desk: deployed by the Pulumi program, reached by the address that is printed."""

from __future__ import annotations

import json
import ssl
from urllib.parse import urlsplit

from service.web_client import WebClient
from system.desk import Desk, letter
from wire import await_true


def test_a_mail_from_the_world_is_in_the_browser(desk: Desk) -> None:
    """Webmail has the desk's certificate, accepts the account's password, and lists the message."""
    mark = "seen in a browser"
    told = json.loads(desk.plexus("status", "--json").stdout)["webmail"]
    assert f"Webmail:             {told}\n" in desk.plexus("status").stdout
    content = letter("friend@elsewhere.example", desk.ann, mark).as_bytes()
    assert {} == desk.receive("friend@elsewhere.example", [desk.ann], content)
    site = urlsplit(told)
    visitor = WebClient(
        site.port or 0, ssl.create_default_context(cafile=desk.ca_file), host=site.hostname or ""
    )
    assert 302 == visitor.log_in(desk.ann, desk.password(desk.ann)).status
    listed = "/?_task=mail&_action=list&_mbox=INBOX&_remote=1"
    xhr = {"X-Requested-With": "XMLHttpRequest"}
    token = visitor.token("/?_task=mail")
    await_true(
        "the mail in the browser",
        lambda: mark in visitor.ask(listed, headers=xhr | {"X-Roundcube-Request": token}).text,
    )
