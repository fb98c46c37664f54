"""Send a message to the desk's inbound port by SMTP, as an outside server would."""

from __future__ import annotations

import smtplib
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


@dataclass(frozen=True)
class Delivery:
    """The inbound server's reply, and the refused recipients with theirs."""

    reply: str
    refused: dict[str, str]


class NotAcceptedError(Exception):
    """The desk's SES did not accept the message; contains its reply."""


def compose(
    sender: str, recipients: Sequence[str], subject: str, text: str, written_at: datetime
) -> bytes:
    """Return a plain text message; a subject of several lines becomes one line.

    Raises:
        ValueError: the addresses or the text cannot be part of a message.
    """
    mail = EmailMessage(policy=SMTP)
    mail["From"] = sender
    mail["To"] = ", ".join(recipients)
    mail["Subject"] = " ".join(subject.split())
    mail["Date"] = format_datetime(written_at)
    mail["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2] or "localhost")
    mail.set_content(text)
    return mail.as_bytes()


def deliver(
    address: tuple[str, int], sender: str, recipients: Sequence[str], content: bytes
) -> Delivery:
    """Send content byte for byte (smtplib's own `data` would change line ends).

    Raises:
        NotAcceptedError: no recipient, or not the message itself, was accepted.
        OSError: nobody listens there.
    """
    refused: dict[str, str] = {}
    with smtplib.SMTP(*address, timeout=120, local_hostname="world.example") as smtp:
        smtp.ehlo()
        _expect(smtp.mail(sender or "<>"), 250)
        for recipient in recipients:
            code, text = smtp.rcpt(recipient)
            if code != 250:
                refused[recipient] = f"{code} {text.decode(errors='replace')}"
        if len(refused) == len(recipients):
            raise NotAcceptedError("; ".join(f"{who}: {why}" for who, why in refused.items()))
        _expect(smtp.docmd("DATA"), 354)
        # RFC 5321 4.5.2: a dot that begins a line is doubled; lines end in CRLF, nothing else.
        stuffed = b"\r\n" + content
        stuffed = stuffed.replace(b"\r\n.", b"\r\n..")[2:]
        end = b".\r\n" if stuffed.endswith(b"\r\n") or not stuffed else b"\r\n.\r\n"
        smtp.send(stuffed + end)
        reply = _expect(smtp.getreply(), 250)
    return Delivery(reply, refused)


def _expect(reply: tuple[int, bytes], code: int) -> str:
    said = f"{reply[0]} {reply[1].decode(errors='replace')}"
    if reply[0] != code:
        raise NotAcceptedError(said)
    return said
