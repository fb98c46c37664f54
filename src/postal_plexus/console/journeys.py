"""Messages in transit as the page shows them: stages with times, from the services' logs.

`tracing` reads the lines and joins them. This module adds the steps that only a desk logs, because
its SES logs what it does, and reduces them to a few stages. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING

from postal_plexus.desk.log_files import SES_LINE
from postal_plexus.tracing import journey
from postal_plexus.tracing.services import steps_of
from postal_plexus.tracing.step import State, Step, address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from postal_plexus.tracing.journey import Journey


class Way(Enum):
    """Whether a message is incoming or outgoing."""

    IN = "in"
    OUT = "out"


class Standing(Enum):
    """The state of a message."""

    MOVING = "moving"
    DONE = "done"
    WAITING = "waiting"
    FAILED = "failed"


STAGES = {
    Way.IN: ("accepted", "stored", "queued", "filed", "delivered"),
    Way.OUT: ("submitted", "queued", "sent", "arrived"),
}
"""The stages of a message, in order, by its way. Stages that nothing has logged are left out."""

# These may not follow: whether they are reported depends on the stack and on the message.
_NOT_PROMISED = frozenset({"stored", "queued", "filed", "arrived"})
_ENDED_BADLY = frozenset({State.FAILED, State.BOUNCED, State.HELD, State.DROPPED})


@dataclass(frozen=True, slots=True)
class Shown:
    """One message's path so far.

    Attributes:
        passed: each stage that it has reached, with the time in seconds since the epoch.
        ahead: the stages that are still to come.
        said: the newest step in words.
    """

    way: Way
    key: str
    begun: float
    sender: str
    recipients: tuple[str, ...]
    subject: str
    passed: dict[str, float]
    ahead: tuple[str, ...]
    standing: Standing
    said: str


def shown(steps: Iterable[Step], most: int = 50) -> list[Shown]:
    """Join steps into messages, the newest first."""
    found = journey.journeys(steps)
    return [_shown(each) for each in reversed(found[-most:])]


def _shown(mail: Journey) -> Shown:
    way = Way.IN if mail.named("receipt") else Way.OUT
    passed: dict[str, float] = {}
    for step in mail.steps:
        if stage := _stage(way, step):
            passed.setdefault(stage, step.at.timestamp())
    standing = _standing(mail)
    stages = STAGES[way]
    reached = max((stages.index(each) for each in passed), default=-1)
    # Earlier stages than the one reached have not been logged.
    ahead = [
        each
        for each in stages[reached + 1 :]
        if standing is not Standing.DONE and each not in _NOT_PROMISED
    ]
    told = [step.text for step in mail.steps if step.text]
    people = [name for step in mail.steps for name in step.recipients]
    names = dict.fromkeys([*(each.fate.recipient for each in mail.outcomes), *people])
    return Shown(
        way=way,
        key=next(iter((*mail.named("receipt"), *mail.named("queue"), *sorted(mail.ids))), ""),
        begun=mail.began.timestamp(),
        sender=mail.sender or "",
        recipients=tuple(names),
        subject=mail.subject,
        passed={each: passed[each] for each in stages if each in passed},
        ahead=tuple(ahead),
        standing=standing,
        said=told[-1] if told else "",
    )


def _standing(mail: Journey) -> Standing:
    states = {outcome.fate.state for outcome in mail.outcomes}
    if states & _ENDED_BADLY:
        return Standing.FAILED
    if State.WAITING in states:
        return Standing.WAITING
    if states:
        return Standing.DONE
    return Standing.MOVING if mail.is_under_way else Standing.FAILED


def _stage(way: Way, step: Step) -> str:
    """Return the stage of a step, or nothing."""
    states = {fate.state for fate in step.fates}
    return _incoming(step, states) if way is Way.IN else _outgoing(step, states)


def _incoming(step: Step, states: set[State]) -> str:
    if step.where == "SES":
        told_by_deliver = step.text.startswith("accepted the message")
        return "accepted" if told_by_deliver else _OF_SES_STAGES.get(step.text, "")
    if step.where == "Dovecot":
        return "filed" if any(fate.folder for fate in step.fates) else ""
    is_there = step.where == "deliver" and states & {State.DELIVERED, State.FORWARDED}
    return "delivered" if is_there else ""


def _outgoing(step: Step, states: set[State]) -> str:
    if State.ARRIVED in states:
        return "arrived"
    if states & {State.SENT, State.DELIVERED}:
        return "sent"
    if step.text.startswith("accepted a message"):
        return "submitted"
    return "queued" if step.text.startswith("queued") else ""


# --- the lines -----------------------------------------------------------------------------------


_CONTAINER = re.compile(r"(\S+) (?:stdout|stderr) [FP] (.*)")


def of_container(service: str, lines: Iterable[str]) -> Iterator[Step]:
    """Parse a container's log as its engine stores it: time, stream, and the line."""
    for line in lines:
        if found := _CONTAINER.match(line):
            try:
                at = datetime.fromisoformat(found[1])
            except ValueError:
                continue
            if at.tzinfo is not None:
                yield from steps_of(service, at, found[2])


_OF_SES = {
    "ses.accepted": "accepted it",
    "ses.stored": "stored it in S3",
    "ses.notified": "put it into the queue",
}
_OF_SES_STAGES = {
    "accepted it": "accepted",
    "stored it in S3": "stored",
    "put it into the queue": "queued",
}
_ID = re.compile(r"\bmessage_id=([\w-]{1,256})", re.ASCII)
_SENDER = re.compile(r"\bsender=<([^>]*)>")


def of_stand_in(line: str) -> Step | None:
    """Parse one line of the desk's SES."""
    found = SES_LINE.match(line)
    if found is None or found[2] not in _OF_SES or not (key := _ID.search(found[3])):
        return None
    # The log is in local time.
    at = datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S,%f").astimezone(UTC)
    sender = _SENDER.search(found[3])
    ids = frozenset({f"receipt:{key[1]}"})
    return Step(at, "SES", _OF_SES[found[2]], ids, sender=address(sender[1]) if sender else None)
