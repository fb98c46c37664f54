"""Search the logs and the archive of a stack for a mail: the reading behind `plexus trace`.

Every line of the three services within the time asked for is read (CloudWatch Logs,
FilterLogEvents), and kept as a step if it is of a mail. Lines are not filtered by AWS: one mail has
a different name in each service, so it is found by all of them together.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import compat32
from typing import TYPE_CHECKING, Any

from postal_plexus.operations.archive import Archive
from postal_plexus.operations.log_groups import LogGroups
from postal_plexus.operations.system import OperationError, told
from postal_plexus.tracing.journey import Journey, is_asked_for, journeys
from postal_plexus.tracing.services import SERVICES, steps_of
from postal_plexus.tracing.step import Step, bare_message_id, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from postal_plexus.operations.archive import Stored
    from postal_plexus.operations.system import System

# Some 600 octets each.
_MOST_STEPS = 500_000
_LINES_TOLD = 10_000
# What was sent just before the end of the time asked for is looked at for as long.
_AFTERWARDS = timedelta(hours=1)
# Mails that no line is of are looked into, the newest of them.
_MOST_READ = 50
_HEAD = 64 * 1024


@dataclass(frozen=True)
class Found:
    """`journeys`: what was asked for, the oldest first; `lines` were read to find them."""

    journeys: tuple[Journey, ...]
    lines: int


class MailSearch:
    """A search of one stack.

    Args:
        system: the stack.
        since: the start of the time to look at.
        until: its end.
        progress: called now and then with a service and the lines of it that were read so far.
    """

    def __init__(
        self,
        system: System,
        since: datetime,
        until: datetime,
        progress: Callable[[str, int], None] = lambda _service, _lines: None,
    ) -> None:
        self._system = system
        self._since, self._until = since, until
        self._progress = progress
        self._logs = LogGroups(system)
        self._lines = 0

    def find(self, what: str) -> Found:
        """Find the journeys of the mails that somebody asks for.

        Raises:
            OperationError: AWS refuses, or there is more to read than memory holds.
        """
        steps = [step for service in SERVICES for step in self._steps_of(service)]
        steps += self._archived({each for step in steps for each in step.ids})
        found = (each for each in journeys(steps) if each.began <= self._until)
        asked = tuple(each for each in found if is_asked_for(each, what))
        return Found(asked, self._lines)

    def _steps_of(self, service: str) -> Iterator[Step]:
        kept = lines = 0
        until = min(self._until + _AFTERWARDS, datetime.now(UTC))
        for at, line in self._logs.lines(service, self._since, until):
            lines += 1
            if lines % _LINES_TOLD == 0:
                self._progress(service, lines)
            for step in steps_of(service, at, line):
                kept += 1
                yield step
            if kept > _MOST_STEPS:
                raise OperationError(
                    f"the log of {service} has more than {_MOST_STEPS:,} lines of mails in that "
                    "time; name a shorter one by --since and --until"
                )
        self._lines += lines
        self._progress(service, lines)

    def _archived(self, known: set[str]) -> Iterator[Step]:
        """Give what the archive has: also mails that `deliver` has not taken up."""
        archive = Archive(self._system)
        unread: list[Stored] = []
        for stored in archive.since(self._since):
            if stored.stored_at > self._until:
                continue
            if f"receipt:{stored.message_id}" in known:
                yield archived(stored)
            else:
                unread.append(stored)
        unread.sort(key=lambda stored: stored.stored_at)
        for stored in unread[:-_MOST_READ]:
            yield archived(stored)
        for stored in unread[-_MOST_READ:]:
            yield archived(stored, archive.read(stored.message_id, _HEAD))


def edge_takes(system: System, address: str) -> bool | None:
    """Tell whether SES takes mail to an address now; None for one of a domain that is not ours.

    Raises:
        OperationError: AWS refuses.
    """
    with told("SES"):
        rules = system.client("ses").describe_active_receipt_rule_set().get("Rules", ())
    return taken_by(rules, address)


def taken_by(rules: Iterable[dict[str, Any]], address: str) -> bool | None:
    """Tell whether receipt rules take an address; None where none is of its domain.

    https://docs.aws.amazon.com/ses/latest/dg/receiving-email-receipt-rules-console-walkthrough.html
    """
    local, _, domain = address.lower().rpartition("@")
    own = {address.lower(), f"{local.partition('+')[0]}@{domain}", domain}
    enabled = [each for each in rules if each.get("Enabled")]
    named = {name.lower() for rule in enabled for name in rule.get("Recipients", ())}
    # A rule without recipients takes everything.
    if any(not rule.get("Recipients") for rule in enabled) or own & named:
        return True
    domains = {name.rpartition("@")[2].lstrip(".") for name in named}
    return False if domain in domains else None


def archived(stored: Stored, head: bytes = b"") -> Step:
    """Give the step of a mail that lies in the archive.

    Args:
        stored: the object.
        head: the beginning of the mail, where no line tells whose it is. SES has put the envelope
            on top: Return-Path, and `for ADDRESS` in its Received.
    """
    fields = message_from_bytes(head, policy=compat32)
    received = " ".join(str(fields.get("received", "")).split())
    to = received.partition(" for ")[2].partition(";")[0].strip("<> ")
    sender = fields.get("return-path")
    return Step(
        stored.stored_at,
        "S3",
        f"keeps the mail, {stored.size:,} octets",
        frozenset({f"receipt:{stored.message_id}"}),
        bare_message_id(str(fields.get("message-id", ""))),
        None if sender is None else words(str(sender)).strip("<> "),
        (words(to),) if to else (),
        words(str(fields.get("subject", ""))),
    )
