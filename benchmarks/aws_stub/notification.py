"""SES's notifications of invented messages, as `awsdesk.ses` writes them into the queue.

Of a realistic size, because the size is part of what a receive costs. Pure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from awsdesk.ses import events
from awsdesk.ses import notification as ses
from awsdesk.ses.rules import StoreAction
from awsdesk.ses.trace_fields import Arrival
from awsdesk.ses.verdicts import Status, Verdicts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REGION = "us-east-1"
TOPIC = f"arn:aws:sns:{REGION}:000000000000:plexus-mail"
WHEN = datetime(2026, 11, 24, 4, tzinfo=UTC)
DATE = "Tue, 24 Nov 2026 04:00:00 +0000"
CHECKS = ("spam", "virus", "spf", "dkim", "dmarc")


@dataclass(frozen=True, slots=True)
class Accepted:
    """One mail that SES accepted and stored."""

    ses_message_id: str
    sender: str
    recipients: Sequence[str]
    bucket: str
    key: str
    subject: str = "A mail"
    verdicts: Mapping[str, str] = field(default_factory=dict)  # of CHECKS
    headers: Sequence[tuple[str, str]] = ()


def notification(mail: Accepted, when: datetime = WHEN) -> str:
    """Return what SES publishes: the queue's body under raw message delivery."""
    arrival = Arrival(
        message_id=mail.ses_message_id,
        helo="mx.sender.example",
        client_address="192.0.2.25",
        sender=mail.sender,
        recipients=tuple(mail.recipients),
        received_at=when,
        region=REGION,
    )
    verdicts = Verdicts(*(Status(mail.verdicts.get(check, "PASS")) for check in CHECKS))
    folder, slash, _ = mail.key.rpartition("/")
    action = ses.action_object(StoreAction(mail.bucket, folder + slash, TOPIC), mail.ses_message_id)
    return json.dumps(
        ses.document(
            ses.mail_object(arrival, _header(mail)),
            ses.receipt_object(
                arrival.recipients, verdicts, {**action, "objectKey": mail.key}, when, 412
            ),
        )
    )


def _header(mail: Accepted) -> bytes:
    received = (
        "from mx.sender.example (mx.sender.example [192.0.2.25]) by "
        f"inbound-smtp.{REGION}.amazonaws.com with SMTP id {mail.ses_message_id} for "
        f"{mail.recipients[0]}; {DATE} (UTC)"
    )
    return _written(
        ("Return-Path", f"<{mail.sender}>"),
        ("Received", received),
        ("From", f"A sender <{mail.sender or 'mailer-daemon@sender.example'}>"),
        ("To", ", ".join(mail.recipients)),
        ("Subject", mail.subject),
        ("Date", DATE),
        ("Message-ID", f"<{mail.ses_message_id}@sender.example>"),
        ("Content-Type", "text/plain; charset=utf-8"),
        *mail.headers,
    )


def _written(*fields: tuple[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode(errors="surrogatepass")


def in_sns_envelope(text: str, sns_message_id: str, when: datetime = WHEN) -> str:
    """Return the queue's body without raw message delivery: SNS's JSON around the notification."""
    return json.dumps(
        {
            "Type": "Notification",
            "MessageId": sns_message_id,
            "TopicArn": TOPIC,
            "Subject": ses.SUBJECT,
            "Message": text,
            "Timestamp": ses.timestamp(when),
            "SignatureVersion": "1",
            "Signature": "c2lnbmF0dXJl" * 28,
            "SigningCertURL": "https://sns.us-east-1.amazonaws.com/SimpleNotificationService.pem",
            "UnsubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe",
        }
    )


def event(
    kind: str, ses_message_id: str, sender: str, message_id: str, recipient: str, when: datetime
) -> str:
    """Return SES's event about a mail that was sent: a Bounce, Complaint or DeliveryDelay."""
    outcome = {
        "Bounce": events.bounced(recipient, "550 5.1.1 user unknown", "5.1.1"),
        "Complaint": events.Outcome(recipient, events.Kind.COMPLAINT),
        "DeliveryDelay": events.Outcome(
            recipient,
            events.Kind.DELIVERY_DELAY,
            "MailboxFull",
            smtp_reply="452 4.2.2 mailbox full",
            status="4.2.2",
        ),
    }[kind]
    sent = events.Sent(
        message_id=ses_message_id,
        sender=sender,
        identity_arn="",
        account_id="000000000000",
        caller="",
        source_address="192.0.2.25",
        recipients=(recipient,),
        content=_written(
            ("From", sender),
            ("To", recipient),
            ("Subject", "A mail sent"),
            ("Message-ID", message_id),
        ),
        accepted_at=when,
    )
    return json.dumps(events.event(sent, outcome, when))
