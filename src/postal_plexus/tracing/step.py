"""One step of a mail's way, as a line of a log tells it."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from postal_plexus.mail.printable import printable

LONGEST_LINE = 64 * 1024
"""Octets of a line that are looked at; no service writes as much, and longer ones are left out."""

_LONGEST_WORDS = 600
_LONGEST_ADDRESS = 320
_LONGEST_MESSAGE_ID = 300


class State(Enum):
    """What a step says of one recipient."""

    WAITING = "waiting"  # will be tried again
    DELIVERED = "delivered"  # in a mailbox here
    DISCARDED = "discarded"  # the recipient's own filter threw it away
    REDIRECTED = "redirected"  # the recipient's own filter sent it on, and kept nothing
    FORWARDED = "forwarded"  # on its way to another address
    SENT = "sent"  # SES has it, and has not said yet what came of it
    ARRIVED = "arrived"  # the recipient's server has taken it
    COMPLAINED = "complained"  # it arrived, and was called unwanted
    FAILED = "failed"
    BOUNCED = "bounced"  # failed, and the sender is told
    HELD = "held"  # among the dead letters
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a mail for one recipient: `words` are the other side's, or why."""

    recipient: str
    state: State
    words: str = ""
    folder: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        where: the service: SES, S3, deliver, Dovecot or Postfix.
        text: what happened, for people; "" for what only tells more of the mail.
        ids: what services call this mail, each with its kind in front: `receipt:`, `queue:`,
            `ses:`, `session:`. Steps with one in common are of one mail.
        message_id: the sender's own name for the mail, without brackets; "" where not told.
        sender: the envelope sender; None where not told.
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
    """Give what another side said as one bounded line; "" for what is no text."""
    return printable(text, _LONGEST_WORDS, "?").strip() if isinstance(text, str) else ""


def address(text: object) -> str:
    """Give an address of an envelope as one bounded line."""
    return printable(text, _LONGEST_ADDRESS, "?") if isinstance(text, str) else ""


def bare_message_id(text: object) -> str:
    """Give a Message-ID without white space and brackets, bounded."""
    if not isinstance(text, str):
        return ""
    return printable(text.strip(), _LONGEST_MESSAGE_ID, "?").removeprefix("<").removesuffix(">")
