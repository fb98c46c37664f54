"""Choose the version of the directory with which all hosts of a stack resolve a message. Pure.

Each host has a copy of each notification, and processes it whenever it can. All must come to the
same result, otherwise two deliver a message to one mailbox, or nobody does (docs/shards.md). So a
message is resolved with the version that was the newest `SETTLED_SECONDS` before SES accepted it.
If that version does not know one of its recipients, which may be new, the message is resolved with
the newest version at the time of acceptance, as soon as all hosts see the same one.

S3 dates the versions, SES the message. Each clock, and this host's, may be off by
`CLOCKS_DIFFER_SECONDS`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from postal_plexus.deliver.aws.store import Version

SETTLED_SECONDS = 30.0
CLOCKS_DIFFER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Moment:
    """The moment whose newest version counts, and from when on a look shows which one that is.

    Before `seen_from`, a version may still appear that would have been the newest at `at`.
    """

    at: float
    seen_from: float


def of_known(accepted_at: float) -> Moment:
    """Return the moment for a message to addresses that exist."""
    at = accepted_at - SETTLED_SECONDS
    return Moment(at, at + CLOCKS_DIFFER_SECONDS)


def of_new(accepted_at: float) -> Moment:
    """Return the moment for a message to an address that may be new.

    SES accepts mail for it only after the version with it was stored.
    """
    at = accepted_at + CLOCKS_DIFFER_SECONDS
    return Moment(at, at + CLOCKS_DIFFER_SECONDS)


def newest(versions: Sequence[Version], moment: Moment) -> Sequence[Version]:
    """Return the versions that count at a moment: the newest one, and those before it.

    An earlier one counts if the newest one is not valid. Without any, the stack had only one host.

    Args:
        versions: the newest first, as S3 lists them.
        moment: whose newest version counts.
    """
    return [each for each in versions if each.since <= moment.at]
