"""What the service says: one JSON object a line on standard output, one function per event.

Every event of a mail carries `receipt`, SES's message id, and addresses as the envelope has them;
never content, never a secret. A line that cannot be written (the log driver is gone) is dropped:
mail goes on. Lines of mails that were simply delivered are kept back until the settler has deleted
their entries, at most 32 of them, so that a busy service writes once for many.
"""

import contextlib
import json
import os
import threading
import time

from postal_plexus.mail.disposition import Disposition, Fate
from postal_plexus.mail.receipt import Receipt

_STDOUT = 1
_MOST_KEPT = 32
_lock = threading.Lock()
_kept: list[bytes] = []


def write(event: str, level: str = "info", /, **fields: object) -> None:
    """One line. Fields that are None are left out."""
    _out(_line(event, level, fields))


def _line(event: str, level: str, fields: dict[str, object]) -> dict[str, object]:
    now = time.time()
    line: dict[str, object] = {
        "time": time.strftime(f"%Y-%m-%dT%H:%M:%S.{int(now * 1000) % 1000:03d}Z", time.gmtime(now)),
        "level": level,
        "event": event,
    }
    line.update((name, value) for name, value in fields.items() if value is not None)
    return line


def flush() -> None:
    """Write the lines that were kept back (`dispositions`)."""
    with _lock:
        lines = b"".join(_kept)
        _kept.clear()
    if lines:
        with contextlib.suppress(OSError):
            os.write(_STDOUT, lines)


def metrics(line: dict[str, object]) -> None:
    """A line for CloudWatch (`metrics`)."""
    _out(line)


def _out(line: dict[str, object]) -> None:
    with _lock:
        _kept.append((json.dumps(line) + "\n").encode())
    flush()


# The service.


def started(hostname: str, queue_url: str, events_of: str, *, directory: bool) -> None:
    """The service is about to receive, or to wait for its first directory."""
    write(
        "started",
        hostname=hostname,
        queue=queue_url,
        events_of=events_of or None,
        directory=directory,
    )


def stopping(reason: str) -> None:
    """The word to stop came."""
    write("stopping", reason=reason)


def stopped(finished: int, released: int) -> None:
    """All is settled; the process ends."""
    write("stopped", finished=finished, released=released)


def intake_stopped(what: str, reason: str) -> None:
    """Something that every mail needs is gone: nothing is received until it is back."""
    write("intake stopped", "error", what=what, reason=reason)


def intake_resumed(what: str, seconds: float) -> None:
    """It is back."""
    write("intake resumed", what=what, after_seconds=round(seconds, 1))


def aws_down(operation: str, reason: str) -> None:
    """AWS does not answer; said once, then again only when it is back."""
    write("aws unreachable", "error", operation=operation, reason=reason)


def aws_back(operation: str, seconds: float) -> None:
    """AWS answers again."""
    write("aws reachable", operation=operation, after_seconds=round(seconds, 1))


def crashed(what: str, error: BaseException) -> None:
    """Log a bug of this service. The mail that met it stays in the queue."""
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    place = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where else None
    write("fault", "error", what=what, error=f"{type(error).__name__}: {error}", place=place)


# The directory.


def directory_taken(etag: str, mailboxes: int, aliases: int) -> None:
    """A new directory is in use."""
    write("directory taken", etag=etag, mailboxes=mailboxes, aliases=aliases)


def directory_refused(etag: str, reason: str) -> None:
    """The object in S3 is broken: the last good one stays in use."""
    write("directory refused", "error", etag=etag, reason=reason)


def directory_unreachable(reason: str, *, have_one: bool) -> None:
    """The object cannot be read; said once."""
    write("directory unreachable", "warning" if have_one else "error", reason=reason)


# A mail.


def dispositions(
    receipt: Receipt, found: list[Disposition], *, seconds: float, octets: int
) -> None:
    """What became of a mail in this attempt, for every recipient that was still owed."""
    fates = {disposition.fate for disposition in found}
    if fates == {Fate.DELIVERED}:
        fields: dict[str, object] = {
            "receipt": receipt.message_id,
            "sender": receipt.envelope.sender,
            "recipients": [disposition.recipient for disposition in found],
            "octets": octets,
            "seconds": round(seconds, 4),
        }
        line = (json.dumps(_line("delivered", "info", fields)) + "\n").encode()
        with _lock:
            _kept.append(line)
            full = len(_kept) >= _MOST_KEPT
        if full:
            flush()
        return
    for disposition in found:
        write(
            disposition.fate.value,
            "info" if disposition.fate in {Fate.DELIVERED, Fate.FORWARDED} else "warning",
            receipt=receipt.message_id,
            sender=receipt.envelope.sender,
            recipient=disposition.recipient,
            status=disposition.status,
            reason=disposition.reason,
        )


def asked(receipt_id: str, mailbox: str, *, holds: bool | None) -> None:
    """Dovecot was asked whether it has a mail whose outcome was unknown."""
    answer = {True: "there", False: "not there", None: "no answer"}[holds]
    write("asked", receipt=receipt_id, recipient=mailbox, answer=answer)


def unfiltered(receipt: Receipt, mailbox: str, receive_count: int) -> None:
    """Dovecot ended at this mail before: it was filed past the user's filters."""
    write(
        "unfiltered",
        "warning",
        receipt=receipt.message_id,
        recipient=mailbox,
        receives=receive_count,
    )


def mailbox_held(mailbox: str, seconds: float) -> None:
    """An operator's task works on a mailbox: its mail waits. Logged once a hold."""
    write("mailbox held", recipient=mailbox, for_seconds=round(seconds))


def mailbox_released(mailbox: str) -> None:
    """The mailbox takes mail again; logged at the next mail for it."""
    write("mailbox released", recipient=mailbox)


def nothing_owed(receipt: Receipt) -> None:
    """A repeated notification: every recipient has the mail."""
    write("repeated", receipt=receipt.message_id)


def redriven(receipt: Receipt, recipient: str) -> None:
    """A dead letter was put back into the queue: its recipient is owed the mail again."""
    write("redriven", receipt=receipt.message_id, recipient=recipient)


def replayed(receipt: Receipt, mailbox: str) -> None:
    """An operator brings a mail back into a mailbox that may have lost it."""
    write("replayed", receipt=receipt.message_id, recipient=mailbox)


def unrecorded(deliveries: int, reason: str) -> None:
    """S3 did not take the record of deliveries: these mails cannot be replayed."""
    write("deliveries not recorded", "warning", entries=deliveries, reason=reason)


def setup_notification(queue_id: str) -> None:
    """SES made or changed a rule."""
    write("setup notification", queue_id=queue_id)


def postponed(queue_id: str, seconds: int, reason: str) -> None:
    """An entry could not be worked on for a reason that will pass."""
    write("postponed", "warning", queue_id=queue_id, in_seconds=seconds, reason=reason)


def dead_lettered(
    receipt_id: str | None, queue_id: str, reason: str, recipient: str | None
) -> None:
    """A notification went to the dead letters, whole."""
    write(
        "dead-lettered",
        "error",
        receipt=receipt_id,
        queue_id=queue_id,
        recipient=recipient,
        reason=reason,
    )


def bounced(receipt: Receipt, recipients: list[str]) -> None:
    """SES sends the sender a report."""
    sender = receipt.envelope.sender
    write("bounced", receipt=receipt.message_id, sender=sender, recipients=recipients)


def bounce_refused(receipt: Receipt, reason: str) -> None:
    """SES does not take the bounce."""
    write("bounce refused", "warning", receipt=receipt.message_id, reason=reason)


def feedback(
    feedback_id: str, event: str, reason: str, sender: str, found: list[Disposition]
) -> None:
    """An event of SES about a mail that we sent reached its sender, or not yet."""
    fates = {each.recipient: each.fate.value for each in found}
    write("feedback", id=feedback_id, kind=event, reason=reason, sender=sender, recipients=fates)


def forward_stopped(recipient: str, sender: str) -> None:
    """Too much of what was forwarded to an address came back: nothing is, for a week."""
    write("forward stopped", "error", recipient=recipient, sender=sender)


def forwards_unwritten(reason: str) -> None:
    """The counts of forwards cannot be kept: they begin anew with the next start."""
    write("forwards not kept", "warning", reason=reason)


def event_remarked(queue_id: str, event: str, message_id: str) -> None:
    """Log an SES event that concerns no mailbox."""
    write("event", queue_id=queue_id, kind=event, message_id=message_id)


def held(receipt: Receipt, found: list[Disposition]) -> None:
    """A mail with a virus is among the dead letters, and its readers have a notice, or not yet."""
    fates = {each.recipient: each.fate.value for each in found}
    write("held", "warning", receipt=receipt.message_id, reason="virus", recipients=fates)


def dropped(receipt: Receipt, reason: str) -> None:
    """A mail ends here, as configured."""
    write("dropped", "warning", receipt=receipt.message_id, reason=reason)


def unsettled(operation: str, reason: str, entries: int) -> None:
    """The queue did not take our word: the entries will come again, and find nothing owed."""
    write("unsettled", "warning", operation=operation, reason=reason, entries=entries)
