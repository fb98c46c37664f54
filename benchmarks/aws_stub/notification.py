"""SES's notification of a received mail, as it lies in the queue. Pure.

Shape and fields after "Contents of notifications for Amazon SES email receiving" and the SNS
message format; of a realistic size, because the size is part of what a receive costs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TOPIC = "arn:aws:sns:us-east-1:000000000000:plexus-mail"
WHEN = "2026-11-24T04:00:00.000Z"


@dataclass(frozen=True, slots=True)
class Accepted:
    """One mail that SES accepted and stored."""

    ses_message_id: str
    sender: str
    recipients: Sequence[str]
    bucket: str
    key: str
    subject: str = "A mail"
    verdicts: Mapping[str, str] = field(default_factory=dict)  # of spam, virus, spf, dkim, dmarc
    headers: Sequence[tuple[str, str]] = ()


def notification(mail: Accepted, timestamp: str = WHEN) -> str:
    """What SES publishes: the queue's body under raw message delivery."""
    received = (
        "from mx.sender.example (mx.sender.example [192.0.2.25]) by "
        f"inbound-smtp.us-east-1.amazonaws.com with SMTP id {mail.ses_message_id} for "
        f"{mail.recipients[0]}; Tue, 24 Nov 2026 04:00:00 +0000 (UTC)"
    )
    headers = [
        ("Return-Path", f"<{mail.sender}>"),
        ("Received", received),
        ("From", f"A sender <{mail.sender or 'mailer-daemon@sender.example'}>"),
        ("To", ", ".join(mail.recipients)),
        ("Subject", mail.subject),
        ("Date", "Tue, 24 Nov 2026 04:00:00 +0000"),
        ("Message-ID", f"<{mail.ses_message_id}@sender.example>"),
        ("Content-Type", "text/plain; charset=utf-8"),
        *mail.headers,
    ]
    receipt: dict[str, object] = {
        "timestamp": timestamp,
        "processingTimeMillis": 412,
        "recipients": list(mail.recipients),
    }
    for verdict in ("spam", "virus", "spf", "dkim", "dmarc"):
        receipt[f"{verdict}Verdict"] = {"status": mail.verdicts.get(verdict, "PASS")}
    receipt["action"] = {
        "type": "S3",
        "topicArn": TOPIC,
        "bucketName": mail.bucket,
        "objectKeyPrefix": mail.key.rpartition("/")[0] + "/" if "/" in mail.key else "",
        "objectKey": mail.key,
    }
    return json.dumps(
        {
            "notificationType": "Received",
            "mail": {
                "timestamp": timestamp,
                "source": mail.sender,
                "messageId": mail.ses_message_id,
                "destination": list(mail.recipients),
                "headersTruncated": False,
                "headers": [{"name": name, "value": value} for name, value in headers],
                "commonHeaders": {
                    "returnPath": mail.sender,
                    "from": [f"A sender <{mail.sender}>"],
                    "date": "Tue, 24 Nov 2026 04:00:00 +0000",
                    "to": list(mail.recipients),
                    "messageId": f"<{mail.ses_message_id}@sender.example>",
                    "subject": mail.subject,
                },
            },
            "receipt": receipt,
        }
    )


def in_sns_envelope(text: str, sns_message_id: str, timestamp: str = WHEN) -> str:
    """The queue's body without raw message delivery: SNS's JSON with the notification inside."""
    return json.dumps(
        {
            "Type": "Notification",
            "MessageId": sns_message_id,
            "TopicArn": TOPIC,
            "Subject": "Amazon SES Email Receipt Notification",
            "Message": text,
            "Timestamp": timestamp,
            "SignatureVersion": "1",
            "Signature": "c2lnbmF0dXJl" * 28,
            "SigningCertURL": "https://sns.us-east-1.amazonaws.com/SimpleNotificationService.pem",
            "UnsubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe",
        }
    )


def event(
    kind: str, ses_message_id: str, sender: str, message_id: str, recipient: str, timestamp: str
) -> str:
    """SES's event about a mail that was sent: `kind` is Bounce, Complaint or DeliveryDelay.

    After "Contents of event data that Amazon SES publishes to Amazon SNS".
    """
    details: dict[str, object] = {"timestamp": timestamp}
    if kind == "Bounce":
        details |= {
            "bounceType": "Permanent",
            "bounceSubType": "General",
            "bouncedRecipients": [
                {
                    "emailAddress": recipient,
                    "action": "failed",
                    "status": "5.1.1",
                    "diagnosticCode": "smtp; 550 5.1.1 user unknown",
                }
            ],
            "feedbackId": f"feedback-{ses_message_id}",
            "reportingMTA": "dns; a8-70.smtp-out.amazonses.com",
        }
    elif kind == "Complaint":
        details |= {
            "complainedRecipients": [{"emailAddress": recipient}],
            "feedbackId": f"feedback-{ses_message_id}",
            "complaintFeedbackType": "abuse",
        }
    else:
        details |= {
            "delayType": "MailboxFull",
            "delayedRecipients": [
                {
                    "emailAddress": recipient,
                    "status": "4.2.2",
                    "diagnosticCode": "smtp; 452 4.2.2 mailbox full",
                }
            ],
        }
    name = {"Bounce": "bounce", "Complaint": "complaint", "DeliveryDelay": "deliveryDelay"}[kind]
    return json.dumps(
        {
            "eventType": kind,
            name: details,
            "mail": {
                "timestamp": timestamp,
                "source": sender,
                "messageId": ses_message_id,
                "destination": [recipient],
                "headersTruncated": False,
                "headers": [
                    {"name": "From", "value": sender},
                    {"name": "To", "value": recipient},
                    {"name": "Message-ID", "value": message_id},
                ],
                "commonHeaders": {"from": [sender], "to": [recipient], "subject": "A mail sent"},
            },
        }
    )
