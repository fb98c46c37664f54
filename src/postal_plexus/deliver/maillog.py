"""The service's log: one JSON object per line on standard output, and one function per event.

Every event of a message has `receipt`, SES's message id, `message_id`, the sender's, and addresses
as in the envelope; never content, never a secret, and the subject only if the operator wants it
(`log_subjects`). `plexus trace` reads these lines. Data from senders is truncated, and JSON keeps
it on its line. A line that cannot be written (the log driver is gone) is dropped, and delivery goes
on. Lines of messages that were simply delivered are buffered until the settler has deleted their
entries, at most 32 of them, so that a busy service writes once for many.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable

from postal_plexus.mail.disposition import Disposition, Fate
from postal_plexus.mail.feedback import Arrival, Feedback
from postal_plexus.mail.printable import printable
from postal_plexus.mail.receipt import Receipt

_STDOUT = 1
_MOST_KEPT = 32
# A Message-ID has no length limit of its own; RFC 5322 limits a line to 998.
_LONGEST_MESSAGE_ID = 300
_LONGEST_SUBJECT = 200
_LONGEST_REPLY = 200
_LONGEST_REASON = 1000
# Recipients per line.
_MOST_NAMED = 40
_log_subjects = False
_lock = threading.Lock()
_kept: list[bytes] = []


def write(event: str, level: str = "info", /, **fields: object) -> None:
    """Write one line. Fields that are None are left out."""
    _out(_line(event, level, fields))


def _line(event: str, level: str, fields: dict[str, object]) -> dict[str, object]:
    line: dict[str, object] = {"time": _time(time.time()), "level": level, "event": event}
    line.update((name, value) for name, value in fields.items() if value is not None)
    return line


def log_subjects(*, wanted: bool = True) -> None:
    """Set whether each message's lines contain its subject."""
    global _log_subjects  # noqa: PLW0603  set once, before the service starts
    _log_subjects = wanted


def _of(receipt: Receipt) -> dict[str, object]:
    """Return the fields by which a message is found."""
    fields: dict[str, object] = {"receipt": receipt.message_id}
    if message_id := receipt.header("message-id").strip():
        fields["message_id"] = printable(message_id, _LONGEST_MESSAGE_ID, "?")
    fields["sender"] = receipt.envelope.sender
    if _log_subjects:
        fields["subject"] = printable(receipt.header("subject"), _LONGEST_SUBJECT, "?")
    return fields


def _time(seconds: float) -> str:
    milliseconds = int(seconds * 1000) % 1000
    return time.strftime(f"%Y-%m-%dT%H:%M:%S.{milliseconds:03d}Z", time.gmtime(seconds))


def flush() -> None:
    """Write the buffered lines (`dispositions`)."""
    with _lock:
        lines = b"".join(_kept)
        _kept.clear()
    if lines:
        with contextlib.suppress(OSError):
            os.write(_STDOUT, lines)


def metrics(line: dict[str, object]) -> None:
    """Write a line for CloudWatch (`metrics`)."""
    _out(line)


def _out(line: dict[str, object]) -> None:
    with _lock:
        _kept.append((json.dumps(line) + "\n").encode())
    flush()


# The service.


def started(hostname: str, queue_url: str, events_of: str, *, directory: bool) -> None:
    """Log that the service is about to receive, or to wait for its first directory."""
    write(
        "started",
        hostname=hostname,
        queue=queue_url,
        events_of=events_of or None,
        directory=directory,
    )


def stopping(reason: str) -> None:
    """Log that the service was told to stop."""
    write("stopping", reason=reason)


def stopped(finished: int, released: int) -> None:
    """Log that everything is settled and the process ends."""
    write("stopped", finished=finished, released=released)


def intake_stopped(what: str, reason: str) -> None:
    """Log that something that every message needs is unavailable, so nothing is received."""
    write("intake stopped", "error", what=what, reason=reason)


def intake_resumed(what: str, seconds: float) -> None:
    """Log that it is available again."""
    write("intake resumed", what=what, after_seconds=round(seconds, 1))


def aws_down(operation: str, reason: str) -> None:
    """Log that AWS does not answer. Logged once, and again only after it was back."""
    write("aws unreachable", "error", operation=operation, reason=reason)


def aws_back(operation: str, seconds: float) -> None:
    """Log that AWS answers again."""
    write("aws reachable", operation=operation, after_seconds=round(seconds, 1))


def crashed(what: str, error: BaseException, receipt_id: str | None = None) -> None:
    """Log a bug of this service. The affected message stays in the queue."""
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    place = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where else None
    why = f"{type(error).__name__}: {error}"
    write("fault", "error", what=what, error=why, place=place, receipt=receipt_id)


# The directory.


def directory_taken(etag: str, mailboxes: int, aliases: int) -> None:
    """Log that a new directory is in use."""
    write("directory taken", etag=etag, mailboxes=mailboxes, aliases=aliases)


def directory_refused(etag: str, reason: str) -> None:
    """Log that the object in S3 is broken and the last good directory stays in use."""
    write("directory refused", "error", etag=etag, reason=reason)


def directory_unreachable(reason: str, *, have_one: bool) -> None:
    """Log that the object cannot be read. Logged once."""
    write("directory unreachable", "warning" if have_one else "error", reason=reason)


# A message.


def dispositions(
    receipt: Receipt,
    found: list[Disposition],
    originals: Callable[[str], str],
    *,
    seconds: float,
    octets: int,
) -> None:
    """Log the outcome of this attempt for every recipient that was still owed the message.

    `originals` returns the envelope recipient that led to an addressee.
    """
    about = _of(receipt)
    about["accepted"] = _time(receipt.accepted_at)
    about["verdicts"] = receipt.verdicts.header_value()
    fates = {disposition.fate for disposition in found}
    if fates == {Fate.DELIVERED}:
        about |= {"octets": octets, "seconds": round(seconds, 4)}
        for start in range(0, len(found), _MOST_NAMED):
            _keep(_delivered(about, found[start : start + _MOST_NAMED], originals))
        return
    for disposition in found:
        write(
            disposition.fate.value,
            "info" if disposition.fate in {Fate.DELIVERED, Fate.FORWARDED} else "warning",
            **about,
            recipient=disposition.recipient,
            **{"for": originals(disposition.recipient)},
            status=disposition.status,
            reason=printable(disposition.reason, _LONGEST_REASON),
        )


def _delivered(
    about: dict[str, object], some: list[Disposition], originals: Callable[[str], str]
) -> dict[str, object]:
    """Log some of the recipients: the container engine cuts lines at 16 KB."""
    people: dict[str, object] = {
        "recipients": [disposition.recipient for disposition in some],
        "for": [originals(disposition.recipient) for disposition in some],
        # Dovecot's replies contain the session ids of its own log lines.
        "replies": [printable(each.reason, _LONGEST_REPLY, "?") for each in some],
    }
    return _line("delivered", "info", about | people)


def _keep(line: dict[str, object]) -> None:
    with _lock:
        _kept.append((json.dumps(line) + "\n").encode())
        full = len(_kept) >= _MOST_KEPT
    if full:
        flush()


def asked(receipt_id: str, mailbox: str, *, holds: bool | None) -> None:
    """Log that Dovecot was asked whether it has a message whose outcome was unknown."""
    answer = {True: "there", False: "not there", None: "no answer"}[holds]
    write("asked", receipt=receipt_id, recipient=mailbox, answer=answer)


def unfiltered(receipt: Receipt, mailbox: str, receive_count: int) -> None:
    """Log that a message was delivered without the user's filters, after Dovecot crashed on it."""
    write("unfiltered", "warning", **_of(receipt), recipient=mailbox, receives=receive_count)


def mailbox_held(mailbox: str, seconds: float) -> None:
    """Log that a message waits because an operator's task holds its mailbox.

    Logged once per hold.
    """
    write("mailbox held", recipient=mailbox, for_seconds=round(seconds))


def mailbox_released(mailbox: str) -> None:
    """Log that the mailbox accepts mail again; logged at the next message for it."""
    write("mailbox released", recipient=mailbox)


def nothing_owed(receipt: Receipt) -> None:
    """Log a repeated notification: every recipient has the message."""
    write("repeated", **_of(receipt))


def redriven(receipt: Receipt, recipient: str) -> None:
    """Log that a dead letter was redriven: its recipient is owed the message again."""
    write("redriven", **_of(receipt), recipient=recipient)


def replayed(receipt: Receipt, mailbox: str) -> None:
    """Log that an operator replays a message into a mailbox that may have lost it."""
    write("replayed", **_of(receipt), recipient=mailbox)


def unrecorded(deliveries: int, reason: str) -> None:
    """Log that S3 did not accept the record of deliveries: these messages cannot be replayed."""
    write("deliveries not recorded", "warning", entries=deliveries, reason=reason)


def setup_notification(queue_id: str) -> None:
    """Log SES's notification about a created or changed rule."""
    write("setup notification", queue_id=queue_id)


def postponed(queue_id: str, seconds: int, reason: str, receipt_id: str | None = None) -> None:
    """Log that an entry could not be processed for a temporary reason."""
    write(
        "postponed",
        "warning",
        receipt=receipt_id,
        queue_id=queue_id,
        in_seconds=seconds,
        reason=reason,
    )


def dead_lettered(
    receipt: Receipt | None, queue_id: str, reason: str, recipient: str | None
) -> None:
    """Log that a notification was moved to the dead-letter queue."""
    about = _of(receipt) if receipt else {}
    write("dead-lettered", "error", **about, queue_id=queue_id, recipient=recipient, reason=reason)


def bounced(receipt: Receipt, recipients: list[str]) -> None:
    """Log that SES sends the sender a bounce."""
    write("bounced", **_of(receipt), recipients=recipients)


def bounce_refused(receipt: Receipt, reason: str) -> None:
    """Log that SES does not accept the bounce."""
    write("bounce refused", "warning", **_of(receipt), reason=reason)


def feedback(event: Feedback, found: list[Disposition]) -> None:
    """Log that SES's event about a sent message reached its sender, or not yet."""
    write(
        "feedback",
        id=event.feedback_id,
        kind=event.event,
        reason=event.reason,
        ses_id=event.ses_id,
        message_id=printable(event.message_id, _LONGEST_MESSAGE_ID, "?") or None,
        sender=event.sender,
        outcome=event.kind.value,
        about={
            each.address: printable(" ".join(filter(None, (each.status, each.diagnostic))), 300)
            for each in event.recipients[:_MOST_NAMED]
        },
        recipients={each.recipient: each.fate.value for each in found},
    )


def arrived(event: Arrival) -> None:
    """Log that recipients' servers accepted a message that we sent."""
    write(
        "arrived",
        ses_id=event.ses_id,
        message_id=printable(event.message_id, _LONGEST_MESSAGE_ID, "?") or None,
        sender=event.sender,
        recipients=list(event.recipients[:_MOST_NAMED]),
        reply=printable(event.reply, _LONGEST_REPLY, "?"),
        happened=_time(event.happened_at),
    )


def forward_stopped(recipient: str, sender: str) -> None:
    """Log that forwarding to an address stops for a week because too many messages bounced."""
    write("forward stopped", "error", recipient=recipient, sender=sender)


def forwards_unwritten(reason: str) -> None:
    """Log that the counts of forwards cannot be stored: they restart from zero after a restart."""
    write("forwards not kept", "warning", reason=reason)


def event_remarked(queue_id: str, event: str, message_id: str) -> None:
    """Log an SES event that concerns no mailbox."""
    write("event", queue_id=queue_id, kind=event, message_id=message_id)


def held(receipt: Receipt, found: list[Disposition]) -> None:
    """Log that a message with a virus is a dead letter, and whether its readers have a notice."""
    fates = {each.recipient: each.fate.value for each in found}
    write("held", "warning", **_of(receipt), reason="virus", recipients=fates)


def dropped(receipt: Receipt, reason: str) -> None:
    """Log that a message was dropped, as configured."""
    write("dropped", "warning", **_of(receipt), reason=reason)


def unsettled(operation: str, reason: str, entries: int) -> None:
    """Log that the queue did not accept deletes or releases: the entries will come again."""
    write("unsettled", "warning", operation=operation, reason=reason, entries=entries)
