"""What SES says to a mail that is handed in over its SMTP endpoint.

Replies are those of https://docs.aws.amazon.com/ses/latest/dg/troubleshoot-smtp.html and, where
that list is silent (50 recipients, a header field given twice), of the real service. Pure: whether
an identity is verified and what the user's policies say is asked through `Account`.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import format_datetime
from typing import TYPE_CHECKING, Protocol

from postal_plexus.local.ses import header

if TYPE_CHECKING:
    from datetime import datetime

SIZE_LIMIT = 40 * 1024 * 1024
RECIPIENT_LIMIT = 50
SIMULATOR_DOMAIN = "simulator.amazonses.com"

# https://docs.aws.amazon.com/ses/latest/dg/header-fields.html: may appear once only.
SINGLE_FIELDS = frozenset(
    {
        "accept-language",
        "acceptlanguage",
        "archived-at",
        "auto-submitted",
        "bounces-to",
        "comments",
        "content-alternative",
        "content-base",
        "content-class",
        "content-description",
        "content-disposition",
        "content-duration",
        "content-id",
        "content-language",
        "content-length",
        "content-location",
        "content-md5",
        "content-transfer-encoding",
        "content-type",
        "date",
        "delivered-to",
        "disposition-notification-options",
        "disposition-notification-to",
        "dkim-signature",
        "domainkey-signature",
        "errors-to",
        "from",
        "importance",
        "in-reply-to",
        "keywords",
        "list-archive",
        "list-help",
        "list-id",
        "list-owner",
        "list-post",
        "list-subscribe",
        "list-unsubscribe",
        "message-context",
        "message-id",
        "mime-version",
        "organization",
        "original-from",
        "original-message-id",
        "original-recipient",
        "original-subject",
        "precedence",
        "priority",
        "references",
        "reply-to",
        "return-path",
        "return-receipt-to",
        "sender",
        "solicitation",
        "sensitivity",
        "subject",
        "thread-index",
        "thread-topic",
        "user-agent",
        "vbr-info",
    }
)
# What SES takes out before a mail leaves: its own control fields, Bcc, and what it replaces.
_REPLACED = frozenset(
    {
        "x-ses-configuration-set",
        "x-ses-message-tags",
        "x-ses-source-arn",
        "x-ses-from-arn",
        "x-ses-return-path-arn",
        "bcc",
        "return-path",
        "message-id",
        "date",
    }
)


class Account(Protocol):
    """What the decision asks of the account that the user belongs to."""

    def is_verified(self, address: str) -> bool:
        """Tell whether the address, its domain or a parent domain is a verified identity."""
        ...

    def identity_for(self, address: str) -> str:
        """Give the name of the identity that covers the address."""
        ...

    def may_send(self, identity: str, sender: str, recipients: tuple[str, ...]) -> str | None:
        """Give None if the user may, else the text of the refusal."""
        ...


@dataclass(frozen=True)
class Submission:
    """A mail handed in: envelope and content."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes


@dataclass(frozen=True)
class Refusal:
    """The SMTP reply that refuses a mail."""

    reply: str


@dataclass(frozen=True)
class Accepted:
    """What SES does with a mail that it takes."""

    identity: str
    header_from: str
    configuration_set: str | None
    tags: dict[str, str]
    feedback_to: str


def check(submission: Submission, account: Account, region: str) -> Accepted | Refusal:
    """Decide about a mail after its content has arrived."""
    found = header.fields(submission.content)
    senders = header.addresses(found, "From")
    if (refusal := _malformed(submission, found, senders)) is not None:
        return refusal
    asked = [
        *senders,
        *header.addresses(found, "Sender"),
        *header.addresses(found, "Return-Path"),
        submission.sender,
    ]
    failed = list(dict.fromkeys(a for a in asked if not account.is_verified(a)))
    if failed:
        return Refusal(
            "554 Message rejected: Email address is not verified. The following identities"
            f" failed the check in region {region.upper()}: {', '.join(failed)}"
        )
    identity = account.identity_for(senders[0])
    if (denied := account.may_send(identity, senders[0], submission.recipients)) is not None:
        return Refusal(f"554 {denied}")
    return Accepted(
        identity=identity,
        header_from=senders[0],
        configuration_set=next(iter(header.values(found, "X-SES-CONFIGURATION-SET")), None),
        tags=_tags(header.values(found, "X-SES-MESSAGE-TAGS")),
        feedback_to=next(iter(header.addresses(found, "Return-Path")), submission.sender),
    )


def _malformed(
    submission: Submission, found: tuple[header.Field, ...], senders: list[str]
) -> Refusal | None:
    if len(submission.content) > SIZE_LIMIT:
        return Refusal("552 Message is too long.")
    if len(submission.recipients) > RECIPIENT_LIMIT:
        return Refusal(f"554 Transaction failed: Recipient count exceeds {RECIPIENT_LIMIT}.")
    if (double := _given_twice(found)) is not None:
        return Refusal(f"554 Transaction failed: Duplicate header '{double}'.")
    if not senders or not all("@" in sender for sender in senders):
        return Refusal("554 Transaction failed: Missing final '@domain'")
    return None


def _given_twice(found: tuple[header.Field, ...]) -> str | None:
    seen: set[str] = set()
    for field in found:
        name = field.name.lower()
        if name in SINGLE_FIELDS and name in seen:
            return field.name
        seen.add(name)
    return None


def _tags(given: list[str]) -> dict[str, str]:
    tags: dict[str, str] = {}
    for value in given:
        for pair in value.split(","):
            name, equals, text = pair.partition("=")
            if equals and name.strip():
                tags[name.strip()] = text.strip()
    return tags


def message_domain(region: str) -> str:
    """Give the domain of the Message-ID that SES writes."""
    return "email.amazonses.com" if region == "us-east-1" else f"{region}.amazonses.com"


def outgoing(
    content: bytes, message_id: str, accepted_at: datetime, region: str, outgoing_address: str
) -> bytes:
    """Give the mail as it leaves SES: Message-ID and Date replaced, SES's control fields gone."""
    rest = header.without(content, _REPLACED)
    added = (
        f"Message-ID: <{message_id}@{message_domain(region)}>\r\n"
        f"Date: {format_datetime(accepted_at)}\r\n"
        f"Feedback-ID: ::1.{region}.desk:AmazonSES\r\n"
        f"X-SES-Outgoing: {accepted_at:%Y.%m.%d}-{outgoing_address}\r\n"
    )
    return added.encode("ascii") + rest


def return_path(message_id: str, mail_from_domain: str | None) -> str:
    """Give the envelope sender of a mail that SES sends: its own, or the custom MAIL FROM's."""
    return f"{message_id}@{mail_from_domain or 'amazonses.com'}"


def is_simulator(recipient: str) -> bool:
    """Tell whether the recipient is one of the mailbox simulator's addresses."""
    return recipient.lower().rpartition("@")[2] == SIMULATOR_DOMAIN
