"""A message held because SES found a virus in it: the notice to its reader, and its release.

The notice says who sent it and when, and by which id the operator can find it, but contains nothing
that the sender wrote. `release` turns the dead letter into a queue entry that delivers the message.
Pure.
"""

import json
from datetime import UTC, datetime

from postal_plexus.mail.printable import printable
from postal_plexus.mail.receipt import RELEASE, Receipt, unwrap


def release(body: str) -> str:
    """Return the queue entry that delivers a dead letter's message as if SES had found no virus.

    `body` is the dead letter's, in either form. Sent to the mail queue, the result is delivered
    once to each recipient who does not have the message. Raises NotificationError.
    """
    return json.dumps({**unwrap(body), RELEASE: "virus"})


def held_id(receipt: Receipt) -> str:
    """Return the id of the notice in mailbox and journal."""
    return f"held-{receipt.message_id}"


def render_held(receipt: Receipt, to: str, hostname: str) -> bytes:
    """Return the notice, with CRLF line ends; every rendering has the same octets."""
    moment = datetime.fromtimestamp(receipt.accepted_at, UTC)
    lines = [
        f"From: Mail delivery <mailer-daemon@{hostname}>",
        f"To: <{to}>",
        "Subject: A mail to you is held back: it seems to carry a virus",
        f"Date: {moment.strftime('%a, %d %b %Y %H:%M:%S +0000')}",
        f"Message-ID: <{held_id(receipt)}@{hostname}>",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
        "",
        "A mail to you was not delivered, because a virus was found in it.",
        "",
        f"    sender: {_line(receipt.envelope.sender) or '(none: an automatic mail)'}",
        f"    time:   {moment.strftime('%Y-%m-%d %H:%M UTC')}",
        f"    id:     {receipt.message_id}",
        "",
        "Most such messages are what they seem, and the sender may be forged: you need do nothing.",
        "If you expected this one, ask the operator of your mail to release it, by its id,",
        "within two weeks.",
        "",
    ]
    return "\r\n".join(lines).encode("utf-8", "replace")


def _line(text: str) -> str:
    return printable(text, 320, "?")
