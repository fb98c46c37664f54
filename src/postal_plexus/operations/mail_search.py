"""Search the logs and the archive of a stack for a message: the reading part of `plexus trace`.

It reads every line of the three services, on all hosts, in the given period (CloudWatch Logs,
FilterLogEvents), and keeps those about messages as steps. AWS does not filter the lines, because a
message has a different id in each service, and only all lines together show them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import compat32
from typing import TYPE_CHECKING, Any

from postal_plexus.operations.archive import Archive
from postal_plexus.operations.log_groups import LogGroups
from postal_plexus.operations.system import AccessError, OperationError, told
from postal_plexus.tracing.journey import Journey, is_asked_for, journeys
from postal_plexus.tracing.services import SERVICES, steps_of
from postal_plexus.tracing.step import Step, bare_message_id, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from postal_plexus.operations.archive import Stored
    from postal_plexus.operations.system import System

# About 600 octets each.
_MOST_STEPS = 500_000
_LINES_TOLD = 10_000
# For messages sent just before the end of the period, this much more is read.
_AFTERWARDS = timedelta(hours=1)
# Of archived messages without a line, this many of the newest are opened.
_MOST_READ = 50
_HEAD = 64 * 1024


@dataclass(frozen=True)
class Found:
    """The result.

    Attributes:
        journeys: those that match, the oldest first.
        lines: the number of lines read.
        without_archive: whether AWS refuses to read the archive, so that messages are missing that
            `deliver` has not received yet.
    """

    journeys: tuple[Journey, ...]
    lines: int
    without_archive: bool = False


class MailSearch:
    """A search of one stack.

    Args:
        system: the stack.
        since: the start of the period.
        until: its end.
        progress: called occasionally with a service and the number of its lines read so far.
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
        self._logs = [(host.of_host, LogGroups(host)) for host in system.hosts]
        self._lines = 0

    def find(self, what: str) -> Found:
        """Find the journeys of the messages that match.

        Raises:
            OperationError: AWS refuses, or there are more lines than fit in memory.
        """
        steps = [step for service in SERVICES for step in self._steps_of(service)]
        without_archive = False
        try:
            steps += list(self._archived({each for step in steps for each in step.ids}))
        except AccessError:
            # Operators need not be permitted to read received mail.
            without_archive = True
        found = (each for each in journeys(steps) if each.began <= self._until)
        asked = tuple(each for each in found if is_asked_for(each, what))
        return Found(asked, self._lines, without_archive)

    def _steps_of(self, service: str) -> Iterator[Step]:
        kept = lines = 0
        until = min(self._until + _AFTERWARDS, datetime.now(UTC))
        for of_host, at, line in self._all_lines(service, until):
            lines += 1
            if lines % _LINES_TOLD == 0:
                self._progress(service, lines)
            for step in steps_of(service, at, line):
                kept += 1
                yield replace(step, where=f"{step.where}{of_host}") if of_host else step
            if kept > _MOST_STEPS:
                raise OperationError(
                    f"the log of {service} has more than {_MOST_STEPS:,} lines about messages in "
                    "that time; choose a shorter one with --since and --until"
                )
        self._lines += lines
        self._progress(service, lines)

    def _all_lines(self, service: str, until: datetime) -> Iterator[tuple[str, datetime, str]]:
        """Yield a service's lines of all hosts, each with which host it is of, and its time."""
        for of_host, logs in self._logs:
            for at, line in logs.lines(service, self._since, until):
                yield of_host, at, line

    def _archived(self, known: set[str]) -> Iterator[Step]:
        """Yield the steps of archived messages, including those that `deliver` has not received."""
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
    """Return whether SES accepts mail to an address now; None for a domain that is not hosted.

    Raises:
        OperationError: AWS refuses.
    """
    with told("SES"):
        rules = system.client("ses").describe_active_receipt_rule_set().get("Rules", ())
    return taken_by(rules, address)


def taken_by(rules: Iterable[dict[str, Any]], address: str) -> bool | None:
    """Return whether receipt rules accept an address; None if none names its domain.

    https://docs.aws.amazon.com/ses/latest/dg/receiving-email-receipt-rules-console-walkthrough.html
    """
    local, _, domain = address.lower().rpartition("@")
    own = {address.lower(), f"{local.partition('+')[0]}@{domain}", domain}
    enabled = [each for each in rules if each.get("Enabled")]
    named = {name.lower() for rule in enabled for name in rule.get("Recipients", ())}
    # A rule without recipients accepts every address.
    if any(not rule.get("Recipients") for rule in enabled) or own & named:
        return True
    domains = {name.rpartition("@")[2].lstrip(".") for name in named}
    return False if domain in domains else None


def archived(stored: Stored, head: bytes = b"") -> Step:
    """Return the step of a message in the archive.

    Args:
        stored: the object.
        head: the beginning of the message, if no line tells its envelope. SES has written it at the
            top: Return-Path, and `for ADDRESS` in its Received.
    """
    fields = message_from_bytes(head, policy=compat32)
    received = " ".join(str(fields.get("received", "")).split())
    to = received.partition(" for ")[2].partition(";")[0].strip("<> ")
    sender = fields.get("return-path")
    return Step(
        stored.stored_at,
        "S3",
        f"keeps the message, {stored.size:,} octets",
        frozenset({f"receipt:{stored.message_id}"}),
        bare_message_id(str(fields.get("message-id", ""))),
        None if sender is None else words(str(sender)).strip("<> "),
        (words(to),) if to else (),
        words(str(fields.get("subject", ""))),
    )
