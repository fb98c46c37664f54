"""Sending events: what SES publishes about a mail it sent.

The same facts in two shapes: to a configuration set's destinations with `eventType`, to an
identity's feedback topics with `notificationType`
(https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html). The
mailbox simulator's addresses decide the outcome by their name
(https://docs.aws.amazon.com/ses/latest/dg/send-an-email-from-console.html).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from awsdesk.ses import header
from awsdesk.ses.notification import HEADERS_LIMIT, common_headers, timestamp
from awsdesk.ses.submission import is_simulator

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime


class Kind(StrEnum):
    """The event types the stand-in knows, as SES writes them."""

    SEND = "Send"
    DELIVERY = "Delivery"
    BOUNCE = "Bounce"
    COMPLAINT = "Complaint"
    REJECT = "Reject"
    DELIVERY_DELAY = "DeliveryDelay"  # only the benchmark's AWS reports it; the desk delays nothing


@dataclass(frozen=True)
class Outcome:
    """What became of the mail for one recipient."""

    recipient: str
    kind: Kind
    sub_type: str = "General"
    bounce_type: str = "Permanent"
    smtp_reply: str = "250 2.6.0 Message received"
    status: str = "2.0.0"


@dataclass(frozen=True)
class Sent:
    """A mail that SES accepted for sending."""

    message_id: str
    sender: str
    identity_arn: str
    account_id: str
    caller: str
    source_address: str
    recipients: tuple[str, ...]
    content: bytes
    accepted_at: datetime
    configuration_set: str | None = None
    tags: dict[str, str] = field(default_factory=dict[str, str])


def simulated(recipient: str) -> tuple[Outcome, ...]:
    """Return what the simulator's address does; an address it does not know is delivered."""
    name = recipient.lower().partition("@")[0].partition("+")[0]
    delivered = Outcome(recipient, Kind.DELIVERY)
    match name:
        case "bounce":
            return (bounced(recipient, "550 5.1.1 user unknown", "5.1.1"),)
        case "suppressionlist":
            return (Outcome(recipient, Kind.BOUNCE, "Suppressed", smtp_reply="", status="5.1.1"),)
        case "complaint":
            return (delivered, Outcome(recipient, Kind.COMPLAINT))
        case "ooto":
            # An automatic answer comes back as a transient bounce that has no status.
            answer = Outcome(recipient, Kind.BOUNCE, bounce_type="Transient", smtp_reply="")
            return (delivered, answer)
        case _:
            return (delivered,)


def bounced(recipient: str, smtp_reply: str, status: str) -> Outcome:
    """Return the outcome of a recipient that the other server refused permanently."""
    return Outcome(recipient, Kind.BOUNCE, smtp_reply=smtp_reply, status=status)


def outcomes_of_simulator(recipients: Iterable[str]) -> list[Outcome]:
    """Return the outcomes of the simulator's addresses among the recipients."""
    return [o for r in recipients if is_simulator(r) for o in simulated(r)]


def mail_object(sent: Sent, *, with_tags: bool) -> dict[str, object]:
    """Return the `mail` object; tags are published by configuration sets only."""
    found = header.fields(sent.content)
    kept, truncated = header.shown_in_json(found, HEADERS_LIMIT)
    mail: dict[str, object] = {
        "timestamp": timestamp(sent.accepted_at),
        "source": sent.sender,
        "sourceArn": sent.identity_arn,
        "sourceIp": sent.source_address,
        "callerIdentity": sent.caller,
        "sendingAccountId": sent.account_id,
        "messageId": sent.message_id,
        "destination": list(sent.recipients),
        "headersTruncated": truncated,
        "headers": kept,
        "commonHeaders": common_headers(found),
    }
    if with_tags:
        mail["tags"] = {
            "ses:source-ip": [sent.source_address],
            "ses:from-domain": [sent.sender.rpartition("@")[2]],
            "ses:caller-identity": [sent.caller],
            "ses:configuration-set": [sent.configuration_set or ""],
            **{name: [value] for name, value in sent.tags.items()},
        }
    return mail


def event(sent: Sent, outcome: Outcome, happened_at: datetime) -> dict[str, object]:
    """Return the record for a configuration set's destination."""
    return {
        "eventType": outcome.kind.value,
        "mail": mail_object(sent, with_tags=True),
        **_detail(sent, outcome, happened_at),
    }


def notification(sent: Sent, outcome: Outcome, happened_at: datetime) -> dict[str, object]:
    """Return the record for an identity's feedback topic."""
    return {
        "notificationType": outcome.kind.value,
        "mail": mail_object(sent, with_tags=False),
        **_detail(sent, outcome, happened_at),
    }


def _detail(sent: Sent, outcome: Outcome, happened_at: datetime) -> dict[str, object]:
    when = timestamp(happened_at)
    feedback_id = f"{sent.message_id}-feedback"
    match outcome.kind:
        case Kind.SEND:
            return {"send": {}}
        case Kind.REJECT:
            return {"reject": {"reason": "Bad content"}}
        case Kind.DELIVERY:
            waited = happened_at - sent.accepted_at
            return {
                "delivery": {
                    "timestamp": when,
                    "processingTimeMillis": max(0, int(waited.total_seconds() * 1000)),
                    "recipients": [outcome.recipient],
                    "smtpResponse": outcome.smtp_reply,
                    "reportingMTA": "a0-0.smtp-out.amazonses.com",
                }
            }
        case Kind.COMPLAINT:
            return {
                "complaint": {
                    "complainedRecipients": [{"emailAddress": outcome.recipient}],
                    "timestamp": when,
                    "feedbackId": feedback_id,
                    "complaintSubType": None,
                    "userAgent": "Amazon SES Mailbox Simulator",
                    "complaintFeedbackType": "abuse",
                    "arrivalDate": when,
                }
            }
        case Kind.BOUNCE:
            return {"bounce": _bounce(outcome, when, feedback_id)}
        case Kind.DELIVERY_DELAY:
            return {
                "deliveryDelay": {
                    "timestamp": when,
                    "delayType": outcome.sub_type,
                    "delayedRecipients": [_diagnosed(outcome)],
                }
            }


def _bounce(outcome: Outcome, when: str, feedback_id: str) -> dict[str, object]:
    recipient = {"emailAddress": outcome.recipient}
    if outcome.smtp_reply:
        recipient = {**_diagnosed(outcome), "action": "failed"}
    found: dict[str, object] = {
        "bounceType": outcome.bounce_type,
        "bounceSubType": outcome.sub_type,
        "bouncedRecipients": [recipient],
        "timestamp": when,
        "feedbackId": feedback_id,
    }
    if outcome.smtp_reply:
        found["reportingMTA"] = "dns; a0-0.smtp-out.amazonses.com"
    return found


def _diagnosed(outcome: Outcome) -> dict[str, str]:
    return {
        "emailAddress": outcome.recipient,
        "status": outcome.status,
        "diagnosticCode": f"smtp; {outcome.smtp_reply}",
    }
