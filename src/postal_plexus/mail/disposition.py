"""The disposition: what became of one mail for one recipient.

Every recipient of every attempt ends with exactly one (RFC 3464, section 2.3.3, names the
actions). What a failure means is not decided here but in `deliver.policy`.
"""

from dataclasses import dataclass
from enum import Enum


class Fate(Enum):
    """The ends that an attempt can have for one recipient."""

    DELIVERED = "delivered"
    FORWARDED = "forwarded"  # Postfix has it in its queue; whether it arrives is not known yet
    DEFERRED = "deferred"
    HELD = "held"  # an operator's task works on the mailbox: again in seconds, and no attempt
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Disposition:
    """One recipient's fate, with its enhanced status code (RFC 3463) and the reason in words.

    `quiet` is a failure that the sender must not be told: a loop, or one that was perhaps told.
    """

    recipient: str
    fate: Fate
    status: str
    reason: str
    quiet: bool = False
