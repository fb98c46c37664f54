"""Delivery status notifications (RFC 3464): what SendBounce and SES's own bounces look like."""

from __future__ import annotations

from dataclasses import dataclass
from email.message import Message
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import compat32
from email.utils import format_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

# SendBounce's BounceType (https://docs.aws.amazon.com/ses/latest/APIReference/
# API_BouncedRecipientInfo.html) as an enhanced status code (RFC 3463).
STATUS_OF_BOUNCE_TYPE = {
    "DoesNotExist": ("5.1.1", "smtp; 550 5.1.1 user unknown"),
    "MessageTooLarge": ("5.3.4", "smtp; 552 5.3.4 message too large"),
    "ExceededQuota": ("5.2.2", "smtp; 552 5.2.2 mailbox full"),
    "ContentRejected": ("5.6.1", "smtp; 500 5.6.1 content rejected"),
    "Undefined": ("5.0.0", "smtp; 550 5.0.0 unknown failure"),
    "TemporaryFailure": ("4.0.0", "smtp; 450 4.0.0 temporary failure"),
}

# Writes what it gets; the newer policies parse addresses, and fail on invalid ones.
_POLICY = compat32.clone(linesep="\r\n", mangle_from_=False)


@dataclass(frozen=True)
class FailedRecipient:
    """One recipient of the report: RFC 3464 2.3."""

    recipient: str
    action: str
    status: str
    diagnostic: str | None = None
    remote_mta: str | None = None


@dataclass(frozen=True)
class Report:
    """A report to write: its sender, its recipient and the message that it is about."""

    sender: str
    to: str
    message_id: str
    written_at: datetime
    reporting_mta: str
    explanation: str
    recipients: tuple[FailedRecipient, ...]
    arrival_date: datetime | None = None
    original_header: bytes = b""
    original_message_id: str | None = None


def compose(report: Report) -> bytes:
    """Return the multipart/report message with CRLF line ends."""
    whole = MIMEMultipart("report", policy=_POLICY)
    whole.set_param("report-type", "delivery-status")
    whole["From"] = _line(report.sender)
    whole["To"] = _line(report.to)
    whole["Subject"] = "Delivery Status Notification (Failure)"
    whole["Date"] = format_datetime(report.written_at)
    whole["Message-ID"] = report.message_id
    # RFC 3834 5: no automatic reply to a report.
    whole["Auto-Submitted"] = "auto-replied"
    if report.original_message_id:
        whole["In-Reply-To"] = _line(report.original_message_id)
        whole["References"] = _line(report.original_message_id)
    whole.attach(MIMEText(report.explanation, "plain", "utf-8", policy=_POLICY))
    whole.attach(_status(report))
    if report.original_header:
        original = MIMEText("", policy=_POLICY)
        original.replace_header("Content-Type", "text/rfc822-headers")
        original.replace_header("Content-Transfer-Encoding", "8bit")
        original.set_payload(report.original_header.decode("ascii", errors="surrogateescape"))
        whole.attach(original)
    return whole.as_bytes(policy=_POLICY)


def _status(report: Report) -> Message:
    whole = Message()
    whole["Reporting-MTA"] = _line(report.reporting_mta)
    if report.arrival_date is not None:
        whole["Arrival-Date"] = format_datetime(report.arrival_date)
    blocks = [whole]
    for failed in report.recipients:
        block = Message()
        block["Final-Recipient"] = _line(f"rfc822; {failed.recipient}")
        block["Action"] = _line(failed.action)
        block["Status"] = _line(failed.status)
        if failed.diagnostic:
            block["Diagnostic-Code"] = _line(failed.diagnostic)
        if failed.remote_mta:
            block["Remote-MTA"] = _line(failed.remote_mta)
        blocks.append(block)
    part = Message()
    part["Content-Type"] = "message/delivery-status"
    for block in blocks:
        part.attach(block)
    return part


def _line(text: str) -> str:
    """Return one line of ASCII, whatever the text contains."""
    return "".join(char if " " <= char <= "~" else "?" for char in text)


def explanation_for(recipients: tuple[FailedRecipient, ...]) -> str:
    """Return SES's default text for a SendBounce call without one."""
    names = "\n".join(f"  {failed.recipient}" for failed in recipients)
    return (
        "An error occurred while trying to deliver the mail to the following recipients:\n"
        f"{names}\n"
    )
