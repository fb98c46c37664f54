"""Turn SES's events about sent mail into notices for the sender.

SES publishes bounces, complaints, delivery delays, rejects and rendering failures
(https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html).
`read_event` parses one body of the events queue. It returns a `Feedback`, which
`feedback_notice.render` turns into a message, or an `Arrival` (SES's delivery event) or a `Remark`,
which are only logged. A Remark is any other kind, including future ones, and the text that SES
sends to a newly configured topic. Anything else raises NotificationError.

The meaning of a bounce is taken from its recipients, not from its type: an automatic reply (out of
office) arrives as a transient bounce in which nothing failed. An unknown type, subtype or kind
never becomes "was not delivered".
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import cast

from postal_plexus.mail.printable import printable
from postal_plexus.mail.receipt import NotificationError, unwrap

_Fields = dict[str, object]

_TOPIC_VALIDATED = "Successfully validated SNS topic for Amazon SES"
# Transient bounces in which delivery was given up, whatever else they contain.
_FAILED_SUBTYPES = frozenset(
    {
        "MailboxFull",
        "MessageTooLarge",
        "ContentRejected",
        "AttachmentRejected",
        "CustomTimeoutExceeded",
    }
)


class FeedbackKind(Enum):
    """What SES reports about a message."""

    FAILED = "failed"  # not delivered
    UNCERTAIN = "uncertain"  # an automatic reply, or something that SES could not parse
    COMPLAINT = "complaint"
    DELAYED = "delayed"


@dataclass(frozen=True, slots=True)
class FeedbackRecipient:
    """One recipient of the event; missing values are ""."""

    address: str
    action: str
    status: str
    diagnostic: str


@dataclass(frozen=True, slots=True)
class Feedback:
    """One event that a sender should be told.

    `feedback_id` is the same whenever the same event is received again. `event` and `reason` are
    SES's words: "Bounce" and "Transient/General", "Reject" and "Bad content"; `ses_id` is its id of
    the message. `sent_on_by` is our address in whose name a forward or redirect was sent
    (`mail.outgoing` wrote X-Loop), or "".
    """

    kind: FeedbackKind
    event: str
    reason: str
    feedback_id: str
    sender: str
    recipients: tuple[FeedbackRecipient, ...]
    subject: str
    message_id: str
    happened_at: float
    reporting_mta: str
    feedback_type: str = ""
    expires: str = ""
    sent_on_by: str = ""
    ses_id: str = ""


@dataclass(frozen=True, slots=True)
class Arrival:
    """The recipients' servers have accepted a sent message, with this reply.

    `ses_id` is SES's id of the message, `message_id` the one from the sender's program, or "".
    """

    ses_id: str
    message_id: str
    sender: str
    recipients: tuple[str, ...]
    reply: str
    happened_at: float


@dataclass(frozen=True, slots=True)
class Remark:
    """An event that is only logged: its kind, and SES's id of the message or ""."""

    event: str
    message_id: str


# Each event's object and its list of recipients; without a list, all of the message's recipients.
_EVENTS = {
    "Bounce": ("bounce", "bouncedRecipients"),
    "Complaint": ("complaint", "complainedRecipients"),
    "DeliveryDelay": ("deliveryDelay", "delayedRecipients"),
    "Reject": ("reject", ""),
    "Rendering Failure": ("failure", ""),
}


def read_event(body: str) -> Feedback | Arrival | Remark:
    """Parse one queue body. Raise NotificationError."""
    event = _event(body)
    if isinstance(event, Remark):
        return event
    name = _text(event, "eventType") or _text(event, "notificationType")
    if name == "Delivery" and (arrival := _arrival(event)):
        return arrival
    known = _EVENTS.get(name)
    if known is None:
        mail = event.get("mail")
        about = _text(cast("_Fields", mail), "messageId") if isinstance(mail, dict) else ""
        return Remark(_line(name) or "unknown", _line(about))
    details, mail = _fields(event, known[0]), _fields(event, "mail")
    recipients = _recipients(details, mail, known[1])
    sender, ses_id = _text(mail, "source"), _text(mail, "messageId")
    if not ses_id or not sender or not recipients:
        raise NotificationError("an event without message id, source or recipients")
    kind = _kind(name, details)
    common = mail.get("commonHeaders")
    return Feedback(
        kind=kind,
        event=name,
        reason=_reason(details),
        feedback_id=_identity(name, ses_id, details, recipients),
        sender=_address(sender),
        recipients=recipients,
        subject=_text(cast("_Fields", common), "subject") if isinstance(common, dict) else "",
        message_id=_own_message_id(mail),
        happened_at=_time(_text(details, "timestamp") or _text(mail, "timestamp")),
        reporting_mta=_text(details, "reportingMTA") or "dns; amazonses.com",
        feedback_type=_text(details, "complaintFeedbackType"),
        expires=_text(details, "expirationTime"),
        sent_on_by=_sent_on_by(mail),
        ses_id=_line(ses_id),
    )


def _arrival(event: _Fields) -> Arrival | None:
    """Parse a delivery event; return None if it is incomplete, because no message depends on it."""
    try:
        details, mail = _fields(event, "delivery"), _fields(event, "mail")
        happened_at = _time(_text(details, "timestamp") or _text(mail, "timestamp"))
    except NotificationError:
        return None
    taken = details.get("recipients")
    listed = cast("list[object]", taken) if isinstance(taken, list) else []
    recipients = tuple(_line(each) for each in listed if isinstance(each, str))
    if not recipients:
        return None
    return Arrival(
        ses_id=_line(_text(mail, "messageId")),
        message_id=_own_message_id(mail),
        sender=_line(_address(_text(mail, "source"))),
        recipients=recipients,
        reply=_line(_text(details, "smtpResponse")),
        happened_at=happened_at,
    )


def _event(body: str) -> _Fields | Remark:
    if body.lstrip().startswith(_TOPIC_VALIDATED):
        return Remark("topic validated", "")
    try:
        return unwrap(body)
    except NotificationError:
        if _TOPIC_VALIDATED in body:  # in SNS's envelope, without raw message delivery
            return Remark("topic validated", "")
        raise


def _kind(name: str, details: _Fields) -> FeedbackKind:
    match name:
        case "DeliveryDelay":
            return FeedbackKind.DELAYED
        case "Complaint":
            # SES reports a complaint in the recipient's name even if it has not sent the message.
            is_held = "suppress" in _text(details, "complaintSubType").lower()
            return FeedbackKind.FAILED if is_held else FeedbackKind.COMPLAINT
        case "Bounce":
            return _kind_of_bounce(details)
        case _:
            return FeedbackKind.FAILED


def _kind_of_bounce(details: _Fields) -> FeedbackKind:
    bounce_type, subtype = _text(details, "bounceType"), _text(details, "bounceSubType")
    people = _list(details, "bouncedRecipients")
    actions = {_text(each, "action").lower() for each in people} - {""}
    if actions and "failed" not in actions:
        return FeedbackKind.DELAYED if actions == {"delayed"} else FeedbackKind.UNCERTAIN
    # An automatic reply has no status: only a delivery status notification has one.
    is_reported = bool(actions) or any(_text(each, "status")[:1] in {"4", "5"} for each in people)
    is_failed = bounce_type == "Permanent" or subtype in _FAILED_SUBTYPES or is_reported
    return FeedbackKind.FAILED if is_failed else FeedbackKind.UNCERTAIN


def _reason(details: _Fields) -> str:
    found = (
        _text(details, "bounceType"),
        _text(details, "bounceSubType"),
        _text(details, "complaintSubType"),
        _text(details, "delayType"),
        _text(details, "reason"),
        _text(details, "errorMessage"),
    )
    return "/".join(_line(each) for each in found if each)


def _recipients(details: _Fields, mail: _Fields, people: str) -> tuple[FeedbackRecipient, ...]:
    named = tuple(
        FeedbackRecipient(
            _text(each, "emailAddress"),
            _text(each, "action").lower(),
            _text(each, "status"),
            _text(each, "diagnosticCode"),
        )
        for each in _list(details, people)
        if _text(each, "emailAddress")
    )
    if named:
        return named
    destination = mail.get("destination")
    listed = cast("list[object]", destination) if isinstance(destination, list) else []
    return tuple(FeedbackRecipient(each, "", "", "") for each in listed if isinstance(each, str))


def _identity(
    name: str, ses_id: str, details: _Fields, recipients: tuple[FeedbackRecipient, ...]
) -> str:
    """Return an id that is the same for the same event; journals contain ids with its prefix."""
    what = _text(details, "feedbackId") or _text(details, "timestamp")
    addresses = ",".join(sorted(recipient.address for recipient in recipients))
    identity = f"{name}|{ses_id}|{what}|{addresses}"
    octets = identity.encode("utf-8", "surrogatepass")
    return "echo-" + hashlib.blake2b(octets, digest_size=16).hexdigest()


def _own_message_id(mail: _Fields) -> str:
    """Return the Message-ID from the sender's program, which SES replaces when it sends."""
    for header in _list(mail, "headers"):
        if _text(header, "name").lower() == "message-id":
            value = _text(header, "value").strip()
            if value.startswith("<") and value.endswith(">") and value.isascii():
                return _line(value)
    return ""


def _sent_on_by(mail: _Fields) -> str:
    """Return the first X-Loop: the guard puts its own above all others."""
    for header in _list(mail, "headers"):
        if _text(header, "name").lower() == "x-loop":
            return _text(header, "value").strip().lower()
    return ""


def _line(text: str) -> str:
    """Return one line: without control characters, truncated."""
    return printable(text, 600).strip()


def _address(source: str) -> str:
    """Return the address in `Name <address>`, or the bare address."""
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
