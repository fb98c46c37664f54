"""The disposition: the outcome of one message for one recipient.

Every recipient of every attempt ends with exactly one (RFC 3464, section 2.3.3, names the actions).
`deliver.policy` decides what a failure means, not this module.
"""

from dataclasses import dataclass
from enum import Enum


class Fate(Enum):
    """The outcomes that an attempt can have for one recipient."""

    DELIVERED = "delivered"
    FORWARDED = "forwarded"  # Postfix has it in its queue; it is not known yet whether it arrives
    DEFERRED = "deferred"
    HELD = "held"  # an operator's task holds the mailbox: again in seconds
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Disposition:
    """One recipient's fate, with its enhanced status code (RFC 3463) and the reason in words.

    `quiet` marks a failure that the sender must not be told: a loop, or one that may have been
    told.
    """

    recipient: str
    fate: Fate
    status: str
    reason: str
    quiet: bool = False
