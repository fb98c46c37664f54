"""The demonstration at the end of `make run`: a message arrives and its reply leaves, with times.

A message is sent to SES by SMTP as from the internet, and read over IMAP as by its user. Then that
user replies through Postfix, and the reply is awaited in the outbox. The steps in between come from
the services' logs, so the times are theirs. The messages are ordinary ones and stay.

Raises `DemoError`, which names the step that did not happen in time and where to look.
"""

from __future__ import annotations

import imaplib
import smtplib
import ssl
import time
import uuid
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import TYPE_CHECKING

from postal_plexus.desk import demo_log

if TYPE_CHECKING:
    from collections.abc import Callable

    from postal_plexus.desk.accounts import Account
    from postal_plexus.desk.demo_log import Step
    from postal_plexus.desk.status import DeskStatus

STEP_TIMEOUT = 30.0
"""How many seconds one step may take."""

LOG_LAG = 3.0
"""How many seconds a log line may come later than its event."""

FRIEND = "friend@elsewhere.example"


class DemoError(Exception):
    """A step of the demonstration did not happen. The text says which, and where to look."""


@dataclass(frozen=True, slots=True)
class Demonstration:
    """Both timelines, each in seconds since a client began to send its message."""

    incoming: tuple[Step, ...]
    outgoing: tuple[Step, ...]


def run(status: DeskStatus) -> Demonstration:
    """Send a message in and its reply out. Raise DemoError."""
    if not status.healthy or not status.accounts:
        raise DemoError("the desk is not up and healthy; run `plexus local up`")
    if status.locked_out:
        raise DemoError(status.locked_out)
    trust = ssl.create_default_context(cafile=str(status.ca_file))
    user = status.accounts[0]
    mark = uuid.uuid4().hex[:12]
    try:
        return Demonstration(
            _receive(status, trust, user, mark), _answer(status, trust, user, mark)
        )
    except (OSError, smtplib.SMTPException, imaplib.IMAP4.error) as error:
        raise DemoError(f"{error or type(error).__name__}; look into {status.logs}") from error


def _receive(
    status: DeskStatus, trust: ssl.SSLContext, user: Account, mark: str
) -> tuple[Step, ...]:
    inbox = status.endpoints.imaps
    with imaplib.IMAP4_SSL(inbox.host, inbox.port, ssl_context=trust, timeout=STEP_TIMEOUT) as imap:
        imap.login(user.address, user.password)
        imap.select("INBOX", readonly=True)
        begun = time.time()
        ses = status.endpoints.ses_inbound
        with smtplib.SMTP(ses.host, ses.port, timeout=STEP_TIMEOUT) as smtp:
            smtp.send_message(_letter(FRIEND, user.address, mark))

        def arrived() -> bool:
            imap.noop()
            _, found = imap.search(None, "SUBJECT", mark)
            return bool(found and found[0])

        seen = _await("the message in the INBOX", status, arrived)
    what = f"an IMAP client found it in the INBOX of {user.address}"
    logged = _logged(lambda: demo_log.incoming(status.logs, begun), demo_log.is_whole)
    steps = [*logged, demo_log.Step(seen - begun, what)]
    return tuple(sorted(steps, key=lambda step: step.seconds))


def _answer(
    status: DeskStatus, trust: ssl.SSLContext, user: Account, mark: str
) -> tuple[Step, ...]:
    submission = status.endpoints.submissions
    begun = time.time()
    with smtplib.SMTP_SSL(
        submission.host, submission.port, context=trust, timeout=STEP_TIMEOUT
    ) as smtp:
        smtp.login(user.address, user.password)
        smtp.send_message(_letter(user.address, FRIEND, mark))
    submitted = time.time()

    def left() -> bool:
        newest = sorted(status.outbox.glob("*.eml"), reverse=True)[:20]
        return any(mark.encode() in mail.read_bytes() for mail in newest)

    out = _await("the reply in the outbox", status, left)
    steps = [
        demo_log.Step(submitted - begun, f"Postfix accepted a reply of {user.address}, over TLS"),
        *_logged(lambda: demo_log.outgoing(status.logs, begun), bool),
        demo_log.Step(out - begun, f"it left for {FRIEND}: it is in the outbox"),
    ]
    return tuple(sorted(steps, key=lambda step: step.seconds))


def _logged(read: Callable[[], list[Step]], is_whole: Callable[[list[Step]], bool]) -> list[Step]:
    """Return the logged steps of a message. The last line may come a moment after the message."""
    end = time.monotonic() + LOG_LAG
    while not is_whole(steps := read()):
        if time.monotonic() > end:
            break
        time.sleep(0.05)
    return steps


def _letter(sender: str, recipient: str, mark: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = f"Hello from {sender.rpartition('@')[2]} ({mark})"
    message["Date"] = formatdate(localtime=True)
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    message.set_content("Postal Plexus carried this message.\n")
    return message


def _await(what: str, status: DeskStatus, probe: Callable[[], bool]) -> float:
    """Return when `probe` first was true, in seconds since the epoch. Raise DemoError."""
    end = time.monotonic() + STEP_TIMEOUT
    while not probe():
        if time.monotonic() > end:
            raise DemoError(
                f"{what} did not come within {STEP_TIMEOUT:.0f} seconds; look into {status.logs}"
            )
        time.sleep(0.01)
    return time.time()
