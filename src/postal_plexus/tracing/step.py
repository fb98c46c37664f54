"""One step of a message's path, from a line of a log."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from postal_plexus.mail.printable import printable

LONGEST_LINE = 64 * 1024
"""Maximum octets of a line; no service writes as much, and longer ones are skipped."""

_LONGEST_WORDS = 600
_LONGEST_ADDRESS = 320
_LONGEST_MESSAGE_ID = 300


class State(Enum):
    """The state of one recipient in a step."""

    WAITING = "waiting"  # will be retried
    DELIVERED = "delivered"  # in a mailbox here
    DISCARDED = "discarded"  # the recipient's own filter discarded it
    REDIRECTED = "redirected"  # the recipient's own filter redirected it, and kept nothing
    FORWARDED = "forwarded"  # on its way to another address
    SENT = "sent"  # SES has it, and has not reported the outcome yet
    ARRIVED = "arrived"  # the recipient's server has accepted it
    COMPLAINED = "complained"  # it arrived, and was reported as unwanted
    FAILED = "failed"
    BOUNCED = "bounced"  # failed, and the sender is told
    HELD = "held"  # in the dead-letter queue
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Fate:
    """The outcome of a message for one recipient: `words` are the other server's, or the reason."""

    recipient: str
    state: State
    words: str = ""
    folder: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        where: the service: SES, S3, deliver, Dovecot or Postfix.
        text: what happened, for people; "" if the step only adds details.
        ids: the services' ids of this message, each with its kind in front: `receipt:`, `queue:`,
            `ses:`, `session:`. Steps with one in common belong to one message.
        message_id: the sender's id of the message, without brackets; "" if unknown.
        sender: the envelope sender; None if unknown.
        rule: the action of a filter and the rule that asked for it: `fileinto rules: line 3`.
    """

    at: datetime
    where: str
    text: str
    ids: frozenset[str] = frozenset()
    message_id: str = ""
    sender: str | None = None
    recipients: tuple[str, ...] = ()
    subject: str = ""
    fates: tuple[Fate, ...] = ()
    rule: str = ""


def words(text: object) -> str:
    """Return another server's text as one truncated line; "" if it is not text."""
    return printable(text, _LONGEST_WORDS, "?").strip() if isinstance(text, str) else ""


def address(text: object) -> str:
    """Return an envelope address as one truncated line."""
    return printable(text, _LONGEST_ADDRESS, "?") if isinstance(text, str) else ""


def bare_message_id(text: object) -> str:
    """Return a Message-ID without white space and brackets, truncated."""
    if not isinstance(text, str):
        return ""
    return printable(text.strip(), _LONGEST_MESSAGE_ID, "?").removeprefix("<").removesuffix(">")
