"""Small messages for tests of Postfix, and where they arrived."""

from __future__ import annotations

from service.container_engine import Container
from service.mail_host import MailHost
from service.ways_out import OUTSIDE
from wire import await_true


def mail(sender: str, subject: str, more: str = "") -> str:
    """Return a small mail as a client writes it."""
    return f"From: {sender}\r\nTo: {OUTSIDE}\r\nSubject: {subject}\r\n{more}\r\nHello\r\n"


def subjects(host: MailHost, address: str) -> list[bytes]:
    """Return subjects in a user's inbox."""
    with host.imap(address) as client:
        if client.select(readonly=True)[1] == [b"0"]:
            return []
        parts = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
    return [part[1].strip() for part in parts if isinstance(part, tuple)]


def await_subject(host: MailHost, address: str, subject: str) -> None:
    """Wait until a user has a mail."""
    wanted = f"Subject: {subject}".encode()
    await_true(f"{address} to get {subject}", lambda: wanted in subjects(host, address))


def queue(container: Container) -> str:
    """Return the queue as Postfix lists it."""
    return container.exec("postqueue", "-p")
