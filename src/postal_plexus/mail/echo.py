"""Echoes: what SES says of a mail that we sent, as a notice that a person and a program can read.

SES publishes bounces, complaints and delivery delays as events
(https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html).
`read_event` reads one from the events queue; `render` makes the notice: a delivery status
notification (RFC 3464) or a feedback report (RFC 5965), threaded to the mail that it speaks of by
In-Reply-To. Other events (sends, opens) read as None. Pure; raises NotificationError.
"""

import hashlib
from datetime import UTC, datetime
from enum import Enum
from typing import NamedTuple, cast

from postal_plexus.mail.receipt import NotificationError, unwrap

_Fields = dict[str, object]


class EchoKind(Enum):
    """What happened."""

    BOUNCE = "Bounce"
    COMPLAINT = "Complaint"
    DELAY = "DeliveryDelay"


class EchoedRecipient(NamedTuple):
    """One recipient that the event speaks of. `status` and `diagnostic` may be ""."""

    address: str
    status: str
    diagnostic: str


class Echo(NamedTuple):
    """One event. `echo_id` is the same whenever the same event comes again."""

    kind: EchoKind
    echo_id: str
    sender: str
    recipients: tuple[EchoedRecipient, ...]
    subject: str
    message_id: str
    happened_at: float
    permanent: bool
    reporting_mta: str
    feedback_type: str


def read_event(body: str) -> Echo | None:
    """Read one queue body; None for an event that is no echo. Raises NotificationError."""
    event = unwrap(body)
    kind_name = event.get("eventType") or event.get("notificationType")
    kind = next((each for each in EchoKind if each.value == kind_name), None)
    if kind is None:
        return None
    details_name = {"Bounce": "bounce", "Complaint": "complaint", "DeliveryDelay": "deliveryDelay"}
    details = _fields(event, details_name[kind.value])
    mail = _fields(event, "mail")
    people = {
        EchoKind.BOUNCE: "bouncedRecipients",
        EchoKind.COMPLAINT: "complainedRecipients",
        EchoKind.DELAY: "delayedRecipients",
    }
    recipients = tuple(
        EchoedRecipient(
            _text(each, "emailAddress"), _text(each, "status"), _text(each, "diagnosticCode")
        )
        for each in _list(details, people[kind])
    )
    ses_id = _text(mail, "messageId")
    sender = _text(mail, "source")
    if not ses_id or not sender or not recipients:
        raise NotificationError("an event without message id, source or recipients")
    when = _text(details, "timestamp")
    feedback = _text(details, "feedbackId")
    addresses = ",".join(sorted(recipient.address for recipient in recipients))
    identity = f"{kind.value}|{ses_id}|{feedback or when}|{addresses}"
    common = mail.get("commonHeaders")
    subject = _text(cast("_Fields", common), "subject") if isinstance(common, dict) else ""
    return Echo(
        kind=kind,
        echo_id="echo-" + hashlib.blake2b(identity.encode(), digest_size=16).hexdigest(),
        sender=_address(sender),
        recipients=recipients,
        subject=subject,
        message_id=_own_message_id(mail),
        happened_at=_time(when),
        permanent=kind is EchoKind.BOUNCE and _text(details, "bounceType") != "Transient",
        reporting_mta=_text(details, "reportingMTA") or "dns; amazonses.com",
        feedback_type=_text(details, "complaintFeedbackType") or "abuse",
    )


def render(echo: Echo, to: str, hostname: str) -> bytes:
    """The notice to the sender, with CRLF line ends; the same octets whenever it is rendered."""
    boundary = f"=_{echo.echo_id}"
    parts = (_human(echo), _machine(echo))
    body = b"".join(b"--%b\r\n%b\r\n" % (boundary.encode(), part) for part in parts)
    report = "feedback-report" if echo.kind is EchoKind.COMPLAINT else "delivery-status"
    lines = [
        f"From: Mail delivery <mailer-daemon@{hostname}>",
        f"To: <{to}>",
        f"Subject: {_subject(echo)}",
        f"Date: {_date(echo.happened_at)}",
        f"Message-ID: <{echo.echo_id}@{hostname}>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type={report}; boundary="{boundary}"',
    ]
    if echo.message_id:
        lines[4:4] = [f"In-Reply-To: {echo.message_id}", f"References: {echo.message_id}"]
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"
    return head + body + b"--%b--\r\n" % boundary.encode()


def _human(echo: Echo) -> bytes:
    say = {
        EchoKind.BOUNCE: (
            "Your mail could not be delivered to:"
            if echo.permanent
            else "Your mail was not delivered, though it may be later, to:"
        ),
        EchoKind.COMPLAINT: "A recipient marked your mail as unwanted:",
        EchoKind.DELAY: "Your mail is delayed; delivery is still being tried, to:",
    }
    lines = [say[echo.kind], ""]
    for recipient in echo.recipients:
        lines.append(f"    {_line(recipient.address)}")
        lines += [f"      {_line(recipient.diagnostic)}"] if recipient.diagnostic else []
    lines += ["", f"Subject of the mail: {_line(echo.subject)}", ""]
    text = "\r\n".join(lines).encode("utf-8", "replace")
    return (
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + text
    )


def _machine(echo: Echo) -> bytes:
    """RFC 3464, section 2, or RFC 5965, section 3."""
    if echo.kind is EchoKind.COMPLAINT:
        lines = [
            "Content-Type: message/feedback-report",
            "",
            f"Feedback-Type: {_line(echo.feedback_type)}",
            "User-Agent: AmazonSES",
            "Version: 1",
            *(f"Original-Rcpt-To: {_line(each.address)}" for each in echo.recipients),
            f"Arrival-Date: {_date(echo.happened_at)}",
            "",
        ]
        return "\r\n".join(lines).encode("utf-8", "replace")
    action = "delayed" if echo.kind is EchoKind.DELAY else "failed"
    vague = "5.0.0" if echo.permanent else "4.0.0"
    lines = [
        "Content-Type: message/delivery-status",
        "",
        f"Reporting-MTA: {_line(echo.reporting_mta)}",
        f"Arrival-Date: {_date(echo.happened_at)}",
        "",
    ]
    for each in echo.recipients:
        lines += [
            f"Final-Recipient: rfc822; {_line(each.address)}",
            f"Action: {action}",
            f"Status: {_line(each.status) or vague}",
            *([f"Diagnostic-Code: {_line(each.diagnostic)}"] if each.diagnostic else []),
            "",
        ]
    return "\r\n".join(lines).encode("utf-8", "replace")


def _subject(echo: Echo) -> str:
    what = {
        EchoKind.BOUNCE: "Undelivered mail",
        EchoKind.COMPLAINT: "Complaint about your mail",
        EchoKind.DELAY: "Delayed mail",
    }
    subject = _line(echo.subject)
    return f"{what[echo.kind]}: {subject}" if subject.isascii() and subject else what[echo.kind]


def _own_message_id(mail: _Fields) -> str:
    """The Message-ID that the sender's own program gave; SES puts its own in the mail it sends."""
    for header in _list(mail, "headers"):
        if _text(header, "name").lower() == "message-id":
            value = _text(header, "value").strip()
            if value.startswith("<") and value.endswith(">") and value.isascii():
                return _line(value)
    return ""


def _date(moment: float) -> str:
    """RFC 5322, section 3.3."""
    return datetime.fromtimestamp(moment, UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")


def _line(text: str) -> str:
    """One line of a header: no control characters, not endless."""
    return "".join(char if char.isprintable() else " " for char in text)[:600].strip()


def _address(source: str) -> str:
    """The address in `Name <address>` or by itself."""
    return source.rpartition("<")[2].rstrip("> ") if "<" in source else source.strip()


def _time(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError) as error:
        raise NotificationError("an event without a time") from error


def _fields(parent: _Fields, name: str) -> _Fields:
    value = parent.get(name)
    if not isinstance(value, dict):
        raise NotificationError(f"{name} is missing or not an object")
    return cast("_Fields", value)


def _list(parent: _Fields, name: str) -> list[_Fields]:
    value = parent.get(name)
    if not isinstance(value, list):
        return []
    return [cast("_Fields", each) for each in cast("list[object]", value) if isinstance(each, dict)]


def _text(parent: _Fields, name: str) -> str:
    value = parent.get(name)
    return value if isinstance(value, str) else ""
