"""When to request a certificate, and for which names. Pure.

The rules, by precedence:
- A name is requested once its domain is delegated to our zone: before, no authority could see the
  challenge, and each failed attempt counts against a rate limit. A name that the certificate
  already has stays in, delegated or not, so that a DNS mistake does not disable a working name.
- A certificate is due when it lacks a name, or when it is old.
- If certbot fails for all names together and the certificate expires soon, it requests only those
  names that work, because some names are better than none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

ALARM_BEFORE = timedelta(days=20)
"""The alarm's threshold in days; a certificate must be renewed well before."""

RENEW_BEFORE = timedelta(days=23)


@dataclass(frozen=True)
class Validity:
    """The relevant parts of an existing certificate: its names and its times."""

    names: frozenset[str]
    not_before: datetime
    not_after: datetime
    self_signed: bool

    def left(self, now: datetime) -> timedelta:
        """The time until it expires; negative afterwards."""
        return self.not_after - now

    def due(self, now: datetime) -> bool:
        """Return whether it is old: a third of its lifetime (as Let's Encrypt asks), or 23 days.

        Let's Encrypt reduces its 90 days to 64 and then 45; a third of 45 days would come after the
        alarm, hence the 23 days. For a certificate of a few days, half of its lifetime is the
        limit.
        """
        lifetime = self.not_after - self.not_before
        return self.left(now) < min(max(lifetime / 3, RENEW_BEFORE), lifetime / 2)


@dataclass(frozen=True)
class Order:
    """A certificate to request. `reason` is for the log: `first`, `names` or `age`."""

    names: tuple[str, ...]
    reason: str


def order(
    wanted: Sequence[str],
    delegated: Collection[str],
    current: Validity | None,
    now: datetime,
) -> Order | None:
    """Return what to request now, or None if nothing is due or possible.

    `wanted`: all client host names, the mail host first. `delegated`: those whose domain is
    publicly delegated to us. `current`: the certificate in use, or None.
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
    """Return whether a certificate for some of the names is better than waiting for all of them."""
    return current is None or current.self_signed or current.left(now) < ALARM_BEFORE
