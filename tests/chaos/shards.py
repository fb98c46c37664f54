"""What can be wrong with several hosts only: flags that a move lost, deliveries by an old directory.

Pure. The rest, lost and doubled mail, is judged as with one host (`ledger`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from postal_plexus.deliver.directory_versions import of_known

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.chaos.ledger import Judgement, Kept


@dataclass(frozen=True, slots=True)
class Blind:
    """A time, in seconds since the epoch, in which a host could not look at the directory."""

    host: int
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Delivery:
    """A host's `deliver` has begun to deliver a mail."""

    host: int
    number: int
    at: float


def judge_flags(
    found: Judgement, kept: Iterable[Kept], flagged: Mapping[str, Iterable[int]]
) -> None:
    """Each flag that a client was answered OK for is there: numbers of messages by mailbox."""
    there = {(one.mailbox, one.number) for one in kept if one.flagged}
    found.unflagged += [
        f"mail {number} of {mailbox}"
        for mailbox, numbers in flagged.items()
        for number in sorted(numbers)
        if (mailbox, number) not in there
    ]


def judge_deliveries(
    found: Judgement,
    deliveries: Iterable[Delivery],
    blind: Iterable[Blind],
    accepted: Mapping[int, float],
) -> None:
    """No host delivers what was accepted so long after its last look that it cannot be sure."""
    times = list(blind)
    for one in deliveries:
        for each in times:
            if each.host == one.host and each.begin < one.at < each.end:
                late = of_known(accepted[one.number]).seen_from - each.begin
                if late > 0:
                    found.outdated.append(
                        f"mail {one.number} by host {one.host}, {late:.1f} s too late"
                    )
