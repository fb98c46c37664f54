"""The notification: the JSON that SES publishes for each action of a rule on a received mail.

https://docs.aws.amazon.com/ses/latest/dg/receiving-email-notifications-contents.html
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from awsdesk.ses import header
from awsdesk.ses.rules import BounceAction, HeaderAction, PublishAction, StopAction, StoreAction

if TYPE_CHECKING:
    from datetime import datetime

    from awsdesk.ses.rules import Action
    from awsdesk.ses.trace_fields import Arrival
    from awsdesk.ses.verdicts import Verdicts

# "headersTruncated ... will happen if the headers are larger than 10 KB"
HEADERS_LIMIT = 10 * 1024
# The SNS action: larger messages bounce instead of being published.
PUBLISH_LIMIT = 150 * 1024
SETUP_MESSAGE_ID = "AMAZON_SES_SETUP_NOTIFICATION"
SUBJECT = "Amazon SES Email Receipt Notification"


def timestamp(moment: datetime) -> str:
    """Return a UTC time as SES writes it: ISO 8601 with milliseconds and Z."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def document(mail: dict[str, object], receipt: dict[str, object]) -> dict[str, object]:
    """Return the whole notification."""
    return {"notificationType": "Received", "mail": mail, "receipt": receipt}


def mail_object(arrival: Arrival, content: bytes) -> dict[str, object]:
    """Return the `mail` object for the content as stored (with SES's own lines on top)."""
    found = header.fields(content)
    kept, truncated = header.shown_in_json(found, HEADERS_LIMIT)
    destination = [*header.addresses(found, "to"), *header.addresses(found, "cc")]
    return {
        "timestamp": timestamp(arrival.received_at),
        "source": arrival.sender,
        "messageId": arrival.message_id,
        "destination": destination,
        "headersTruncated": truncated,
        "headers": kept,
        "commonHeaders": common_headers(found, return_path=arrival.sender),
    }


def bare_mail_object(arrival: Arrival) -> dict[str, object]:
    """Return the `mail` object without headers, for a header that cannot be represented."""
    return {
        "timestamp": timestamp(arrival.received_at),
        "source": arrival.sender,
        "messageId": arrival.message_id,
        "destination": list(arrival.recipients),
        "headersTruncated": True,
        "headers": [],
        "commonHeaders": {"returnPath": arrival.sender},
    }


def common_headers(
    found: tuple[header.Field, ...], return_path: str | None = None
) -> dict[str, object]:
    """Return the `commonHeaders` object with the fields that the message has."""
    common: dict[str, object] = {}
    if return_path is not None:
        common["returnPath"] = return_path
    for key, name in (
        ("from", "From"),
        ("sender", "Sender"),
        ("replyTo", "Reply-To"),
        ("to", "To"),
        ("cc", "Cc"),
        ("bcc", "Bcc"),
    ):
        if shown := header.displayed(found, name):
            common[key] = shown[0] if key == "sender" else shown
    for key, name in (("date", "Date"), ("messageId", "Message-ID"), ("subject", "Subject")):
        if given := header.values(found, name):
            common[key] = header.decoded(given[0])
    return common


def receipt_object(
    recipients: tuple[str, ...],
    verdicts: Verdicts,
    action: dict[str, object],
    triggered_at: datetime,
    processing_millis: int,
) -> dict[str, object]:
    """Return the `receipt` object for one action."""
    receipt: dict[str, object] = {
        "timestamp": timestamp(triggered_at),
        "processingTimeMillis": processing_millis,
        "recipients": list(recipients),
        "spamVerdict": {"status": verdicts.spam.value},
        "virusVerdict": {"status": verdicts.virus.value},
        "spfVerdict": {"status": verdicts.spf.value},
        "dkimVerdict": {"status": verdicts.dkim.value},
        "dmarcVerdict": {"status": verdicts.dmarc.value},
        "action": action,
    }
    if verdicts.dmarc_policy is not None:
        receipt["dmarcPolicy"] = verdicts.dmarc_policy
    return receipt


def action_object(action: Action, message_id: str) -> dict[str, object]:
    """Return the `action` object."""
    match action:
        case StoreAction():
            described: dict[str, object] = {
                "type": "S3",
                "topicArn": action.topic_arn,
                "bucketName": action.bucket,
                "objectKeyPrefix": action.key_prefix or None,
                "objectKey": object_key(action, message_id),
            }
        case PublishAction():
            described = {
                "type": "SNS",
                "topicArn": action.topic_arn,
                "encoding": action.encoding,
            }
        case BounceAction():
            described = {
                "type": "Bounce",
                "topicArn": action.topic_arn,
                "smtpReplyCode": action.smtp_reply_code,
                "statusCode": action.status_code,
                "message": action.message,
                "sender": action.sender,
            }
        case StopAction():
            described = {"type": "Stop", "topicArn": action.topic_arn}
        case HeaderAction():
            described = {"type": "AddHeader"}
    return {key: value for key, value in described.items() if value is not None}


def object_key(action: StoreAction, message_id: str) -> str:
    """Return the S3 key: the prefix as it stands, then the message id."""
    return f"{action.key_prefix}{message_id}"


def content_field(content: bytes, encoding: str) -> str:
    """Return the SNS action's `content`: base64, or UTF-8 text as far as it is text."""
    if encoding == "Base64":
        return base64.b64encode(content).decode("ascii")
    return content.decode("utf-8", errors="replace")


def setup_content(bucket: str, region: str) -> bytes:
    """Return the mail that SES drops into the bucket when a rule is made or changed."""
    text = (
        f"Received: by inbound-smtp.{region}.amazonaws.com with SMTP id {SETUP_MESSAGE_ID}\r\n"
        "From: Amazon Web Services <no-reply-aws@amazon.com>\r\n"
        "To: recipient@example.com\r\n"
        "Subject: Amazon SES Setup Notification\r\n"
        "MIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=UTF-8\r\n"
        "Content-Transfer-Encoding: 7bit\r\n"
        f"Message-ID: <{SETUP_MESSAGE_ID}>\r\n"
        "\r\n"
        "Hello,\r\n\r\n"
        "You received this message because you attempted to set up Amazon SES to deliver emails"
        f" to this S3 bucket.\r\n\r\nBucket: {bucket}\r\n"
    )
    return text.encode("ascii")
