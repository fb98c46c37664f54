"""Decide what SES does with a message submitted to its SMTP endpoint.

Replies are those of https://docs.aws.amazon.com/ses/latest/dg/troubleshoot-smtp.html. The rules
that apply to everybody are the table in `sending_rules`; this module has those that depend on the
account. Pure: `Account` answers whether an identity is verified and what the user's policies
permit.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import format_datetime
from typing import TYPE_CHECKING, Protocol

from awsdesk.ses import header, sending_rules

if TYPE_CHECKING:
    from datetime import datetime

SIMULATOR_DOMAIN = "simulator.amazonses.com"

# The fields that SES removes from outgoing messages: those it obeys, Bcc, and those it replaces.
_REPLACED = sending_rules.CONTROL_FIELDS | {"bcc", "return-path", "message-id", "date"}

# Control fields that name the identity with whose permission a message is sent, and those that name
# a contact list or a tenant, of which a desk has none.
_DELEGATION = ("X-SES-SOURCE-ARN", "X-SES-FROM-ARN", "X-SES-RETURN-PATH-ARN")
_NOT_ON_A_DESK = ("X-SES-LIST-MANAGEMENT-OPTIONS", "X-SES-TENANT")


class Account(Protocol):
    """What the decision needs to know about the user's account."""

    def is_verified(self, address: str) -> bool:
        """Return whether the address, its domain or a parent domain is a verified identity."""
        ...

    def identity_for(self, address: str) -> str:
        """Return the name of the identity that covers the address."""
        ...

    def identity_arn(self, identity: str) -> str:
        """Return the ARN of an identity."""
        ...

    def may_send(self, identity_arn: str, sender: str, recipients: tuple[str, ...]) -> str | None:
        """Return None if the user may send as this identity, else the text of the refusal."""
        ...


@dataclass(frozen=True)
class Submission:
    """A submitted message: envelope and content."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes


@dataclass(frozen=True)
class Refusal:
    """The SMTP reply that refuses a message."""

    reply: str


@dataclass(frozen=True)
class Accepted:
    """What SES does with a message that it accepts."""

    identity: str
    header_from: str
    configuration_set: str | None
    tags: dict[str, str]
    feedback_to: str


def check(submission: Submission, account: Account, region: str) -> Accepted | Refusal:
    """Decide about a message after its content has arrived."""
    refused = sending_rules.refusal(submission.sender, submission.recipients, submission.content)
    if refused is not None:
        return Refusal(refused)
    found = header.fields(submission.content)
    senders = header.addresses(found, "From")
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
    used = [account.identity_arn(identity)]
    used += [arn for name in _DELEGATION for arn in header.values(found, name)]
    for arn in used:
        if (denied := account.may_send(arn, senders[0], submission.recipients)) is not None:
            return Refusal(f"554 {denied}")
    for name in _NOT_ON_A_DESK:
        for value in header.values(found, name):
            return Refusal(f"554 Transaction failed: {name}: {value} does not exist.")
    return Accepted(
        identity=identity,
        header_from=senders[0],
        configuration_set=next(iter(header.values(found, "X-SES-CONFIGURATION-SET")), None),
        tags=_tags(header.values(found, "X-SES-MESSAGE-TAGS")),
        feedback_to=next(iter(header.addresses(found, "Return-Path")), submission.sender),
    )


def _tags(given: list[str]) -> dict[str, str]:
    tags: dict[str, str] = {}
    for value in given:
        for pair in value.split(","):
            name, equals, text = pair.partition("=")
            if equals and name.strip():
                tags[name.strip()] = text.strip()
    return tags


def message_domain(region: str) -> str:
    """Return the domain of the Message-ID that SES writes."""
    return "email.amazonses.com" if region == "us-east-1" else f"{region}.amazonses.com"


def outgoing(
    content: bytes, message_id: str, accepted_at: datetime, region: str, outgoing_address: str
) -> bytes:
    """Return the message as SES sends it: new Message-ID and Date, without SES's control fields."""
    rest = header.without(content, _REPLACED)
    added = (
        f"Message-ID: <{message_id}@{message_domain(region)}>\r\n"
        f"Date: {format_datetime(accepted_at)}\r\n"
        f"Feedback-ID: ::1.{region}.desk:AmazonSES\r\n"
        f"X-SES-Outgoing: {accepted_at:%Y.%m.%d}-{outgoing_address}\r\n"
    )
    return added.encode("ascii") + rest


def return_path(message_id: str, mail_from_domain: str | None) -> str:
    """Return the envelope sender of what SES sends: SES's own, or the custom MAIL FROM's."""
    return f"{message_id}@{mail_from_domain or 'amazonses.com'}"


def is_simulator(recipient: str) -> bool:
    """Return whether the recipient is one of the mailbox simulator's addresses."""
    return recipient.lower().rpartition("@")[2] == SIMULATOR_DOMAIN
