"""What tests of outgoing mail share: the ways in to Postfix, and what SES has got."""

from __future__ import annotations

import contextlib
import smtplib
import socket
from collections.abc import Iterator

from mail_sockets import greeted
from service.mail_host import PASSWORD, MailHost
from service.managesieve import ManageSieve
from service.ses_endpoint import Relayed, SesEndpoint
from wire import await_true

OUTSIDE = "someone@elsewhere.example"
ANN, BEN = "ann@example.org", "ben@example.org"
AUTHENTIC = "X-Plexus-Verdicts: spam=PASS; virus=PASS; spf=PASS; dkim=PASS; dmarc=PASS\r\n"


def relayed(ses: SesEndpoint, subject: str) -> Relayed:
    """Return the relayed mail with a subject, once it is there."""
    mark = f"\r\nSubject: {subject}\r\n".encode()

    def found() -> list[Relayed]:
        return [each for each in ses.relayed if mark in each.content]

    return await_true(f"SES to get {subject}", found)[0]


def inject(host: MailHost) -> smtplib.SMTP:
    """Return a client on the socket of `deliver`."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(30)
    connection.connect(str(host.root / "run/postfix/inject.sock"))
    return greeted(smtplib.SMTP(), connection)


def forward(host: MailHost, content: bytes | str, owner: str = "away@example.org") -> None:
    """Give Postfix a mail as `deliver` does for an alias that leads outside."""
    content = content.encode() if isinstance(content, str) else content
    with inject(host) as smtp:
        smtp.sendmail(
            "postmaster+fwd-1-2@example.org",
            [OUTSIDE],
            f"X-Plexus-Forwarder: {owner}\r\n".encode() + content,
        )


@contextlib.contextmanager
def filtering(host: MailHost, address: str, script: str) -> Iterator[None]:
    """Set a user's filter for the time of the block."""
    port = host.containers["dovecot"].port(4190)
    session = ManageSieve(port, host.tls(), address, PASSWORD)
    session.activate("filter", script + "\r\n")
    try:
        yield
    finally:
        session.activate("filter", "keep;\r\n")
        session.close()


def deliver(
    host: MailHost, content: str | bytes, recipient: str = BEN, sender: str = "a@world.example"
) -> None:
    """Deliver to Dovecot as `deliver` does."""
    content = content.encode() if isinstance(content, str) else content
    with host.lmtp() as lmtp:
        assert {} == lmtp.sendmail(sender, [recipient], content)


def headers(host: MailHost, address: str, subject: str, folder: str = "INBOX") -> list[bytes]:
    """Return headers of a user's messages with that subject, in a folder."""
    mark = f"\r\nSubject: {subject}\r\n".encode()
    with host.imap(address) as client:
        if client.select(folder, readonly=True)[1] == [b"0"]:
            return []
        parts = client.fetch("1:*", "(BODY.PEEK[HEADER])")[1]
    return [part[1] for part in parts if isinstance(part, tuple) and mark in b"\r\n" + part[1]]
