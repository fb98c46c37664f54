"""When to ask for a certificate, and for which names. Pure.

The rules, in the order in which they count:
- A name is asked for once its domain is delegated to our zone: before, no authority could see the
  challenge, and each failed try counts against a rate limit. A name that the certificate already
  has stays in, delegated or not, so that a slip of DNS takes no working name away.
- A certificate is due when a name is missing in it, or when it is old.
- Where certbot fails for all names together and the end is near, the names that can be had are
  better than none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

ALARM_BEFORE = timedelta(days=20)
"""The alarm on the days that are left; a certificate must be renewed well before."""

RENEW_BEFORE = timedelta(days=23)


@dataclass(frozen=True)
class Validity:
    """What matters of a certificate that is there: its names and its time."""

    names: frozenset[str]
    not_before: datetime
    not_after: datetime
    self_signed: bool

    def left(self, now: datetime) -> timedelta:
        """Until it ends; negative once it has."""
        return self.not_after - now

    def due(self, now: datetime) -> bool:
        """Whether it is old: a third of its time left (as Let's Encrypt asks), or 23 days.

        The authority's 90 days shrink to 64 and 45; a third of 45 days would come after the alarm,
        hence the 23 days. Of a certificate of a few days half of its time is waited for at most.
        """
        lifetime = self.not_after - self.not_before
        return self.left(now) < min(max(lifetime / 3, RENEW_BEFORE), lifetime / 2)


@dataclass(frozen=True)
class Order:
    """A certificate to ask for. `reason` is for the log: `first`, `names` or `age`."""

    names: tuple[str, ...]
    reason: str


def order(
    wanted: Sequence[str],
    delegated: Collection[str],
    current: Validity | None,
    now: datetime,
) -> Order | None:
    """What to ask for now; None when nothing is due or nothing can be had.

    `wanted`: all client host names, the mail host first. `delegated`: those of them whose domain
    is ours on the internet. `current`: the certificate in place, None if there is none.
    """
    trusted = None if current is None or current.self_signed else current
    covered: frozenset[str] = frozenset() if trusted is None else trusted.names
    names = tuple(name for name in wanted if name in delegated or name in covered)
    if not names:
        return None
    if trusted is None:
        return Order(names, "first")
    if not covered.issuperset(names):
        return Order(names, "names")
    if trusted.due(now):
        return Order(names, "age")
    return None


def accepts_subset(current: Validity | None, now: datetime) -> bool:
    """Whether a certificate for some of the names is better than waiting for all of them."""
    return current is None or current.self_signed or current.left(now) < ALARM_BEFORE
