"""Mails on their way, from what the services log: each a journey of stages with times.

A mail that comes in is known by SES's id: SES accepts it, stores it and puts it into the queue (on
AWS nobody logs that), `deliver` delivers it, Dovecot files it. A mail that goes out is known by
Postfix's queue id, and to SES by the id that its reply tells. A line that is not understood is
passed over. Pure.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, cast

from postal_plexus.mail.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Way(Enum):
    """Whether a mail comes in or goes out."""

    IN = "in"
    OUT = "out"


class Fate(Enum):
    """How it stands with a mail."""

    MOVING = "moving"
    DONE = "done"
    WAITING = "waiting"
    FAILED = "failed"


STAGES = {
    Way.IN: ("accepted", "stored", "queued", "delivered"),
    Way.OUT: ("submitted", "queued", "sent"),
}
"""What a mail passes, in order, by its way."""


@dataclass(frozen=True, slots=True)
class Event:
    """What one line of a log says of one mail. `time` in seconds of the epoch."""

    time: float
    way: Way
    key: str
    stage: str
    text: str
    fate: Fate = Fate.MOVING
    sender: str | None = None
    recipients: tuple[str, ...] = ()
    again: bool = False
    """Whether it begins anew here: a dead letter that is delivered after all."""


@dataclass(frozen=True, slots=True)
class Journey:
    """One mail's way so far. `passed` gives each stage's time, of the first that reached it."""

    way: Way
    key: str
    begun: float
    changed: float
    sender: str = ""
    recipients: tuple[str, ...] = ()
    passed: dict[str, float] = field(default_factory=dict[str, float])
    fate: Fate = Fate.MOVING
    said: str = ""

    @property
    def seconds(self) -> float:
        """How long it has been on its way, as far as is logged."""
        return self.changed - self.begun


def journeys(events: Iterable[Event], most: int = 50) -> list[Journey]:
    """Fold events into journeys, the newest first."""
    found: dict[tuple[Way, str], Journey] = {}
    for event in sorted(events, key=lambda event: event.time):
        key = (event.way, event.key)
        known = found.get(key) or Journey(event.way, event.key, event.time, event.time)
        found[key] = _after(known, event)
    newest = sorted(found.values(), key=lambda journey: journey.begun, reverse=True)
    return newest[:most]


def _after(known: Journey, event: Event) -> Journey:
    passed = dict(known.passed)
    if event.stage:
        passed.setdefault(event.stage, event.time)
    recipients = dict.fromkeys((*known.recipients, *event.recipients))
    fate = known.fate
    if event.again:
        fate = Fate.MOVING
    elif event.fate is not Fate.MOVING and known.fate is not Fate.FAILED:
        fate = event.fate  # of several recipients, the one that failed counts
    return replace(
        known,
        changed=max(known.changed, event.time),
        sender=known.sender if event.sender is None else event.sender,
        recipients=tuple(recipients),
        passed=passed,
        fate=fate,
        said=event.text or known.said,
    )


# --- what the lines say -------------------------------------------------------------------------


def of_line(service: str, time: float, line: str) -> Event | None:
    """Read one line of a service's log; None if it is about no mail."""
    reader = {"deliver": _of_deliver, "postfix": _of_postfix}.get(service)
    return reader(time, line) if reader is not None else None


# What `deliver` says (`deliver.maillog`): the stage, how it stands then, and in a person's words.
_OF_DELIVER = {
    "delivered": ("delivered", Fate.DONE, "Dovecot has it on disk"),
    "forwarded": ("delivered", Fate.DONE, "forwarded"),
    "deferred": ("", Fate.WAITING, "not now"),
    "failed": ("", Fate.FAILED, "not deliverable"),
    "bounced": ("", Fate.FAILED, "its sender has been told"),
    "dead-lettered": ("", Fate.FAILED, "a dead letter"),
    "held": ("", Fate.FAILED, "held"),
    "dropped": ("", Fate.FAILED, "dropped, as configured"),
    "redriven": ("queued", Fate.MOVING, "put back to be delivered"),
}


def _of_deliver(time: float, line: str) -> Event | None:
    try:
        said = cast("dict[str, Any]", json.loads(line))
        stage, fate, words = _OF_DELIVER[said["event"]]
        key = said["receipt"]
        exact = datetime.fromisoformat(said["time"]).timestamp()
    except (ValueError, KeyError, TypeError):
        return None
    if not isinstance(key, str):
        return None
    given: Any = said.get("recipients", said.get("recipient"))
    several = cast("Iterable[Any]", given if isinstance(given, list | dict) else [given])
    recipients = tuple(printable(each, 320) for each in several if isinstance(each, str))
    reason = said.get("reason")
    text = f"{words}: {printable(reason, 300)}" if isinstance(reason, str) and reason else words
    sender = said.get("sender")
    return Event(
        exact or time,
        Way.IN,
        printable(key, 100),
        stage,
        text,
        fate,
        printable(sender, 320) if isinstance(sender, str) else None,
        recipients,
        again=said["event"] == "redriven",
    )


_POSTFIX = re.compile(r"postfix(?:/[\w-]+)*/(\w+)\[\d+\]: ([0-9A-Za-z]{6,20}): (.*)")
_LOGIN = re.compile(r"\bsasl_username=(\S+)")
_FROM = re.compile(r"from=<([^>]*)>")
_SENT = re.compile(r"to=<([^>]*)>,.* status=(\w+) \((.*)\)")
_SMTP_FATES = {"sent": Fate.DONE, "deferred": Fate.WAITING, "bounced": Fate.FAILED}


def _of_postfix(time: float, line: str) -> Event | None:
    found = _POSTFIX.search(line)
    if found is None:
        return None
    process, key, rest = found.groups()
    if process in {"smtpd", "pickup"} and (login := _LOGIN.search(rest)):
        return Event(
            time, Way.OUT, key, "submitted", "Postfix took it", sender=printable(login[1], 320)
        )
    if process == "qmgr" and (sender := _FROM.match(rest)):
        return Event(time, Way.OUT, key, "queued", "", sender=printable(sender[1], 320))
    if sent := _SENT.match(rest):
        fate = _SMTP_FATES.get(sent[2], Fate.MOVING)
        return Event(
            time,
            Way.OUT,
            key,
            "sent" if fate is Fate.DONE else "",
            printable(sent[3], 300),
            fate,
            recipients=(printable(sent[1], 320),),
        )
    return None


# --- what only a desk has -----------------------------------------------------------------------

_STAND_IN = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) \w+ \S+ (ses\.\w+) (.*)")
_OF_SES = {
    "ses.accepted": ("accepted", "SES accepted it"),
    "ses.stored": ("stored", "SES stored it in S3"),
    "ses.notified": ("queued", "in the queue"),
}
_ID = re.compile(r"\bmessage_id=(\S+)")
_SENDER = re.compile(r"\bsender=<([^>]*)>")


def of_stand_in(line: str) -> Event | None:
    """Read one line of the desk's SES."""
    found = _STAND_IN.match(line)
    if found is None or found[2] not in _OF_SES or not (key := _ID.search(found[3])):
        return None
    stage, text = _OF_SES[found[2]]
    # The log is in local time.
    time = datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S,%f").timestamp()  # noqa: DTZ007
    sender = _SENDER.search(found[3])
    return Event(
        time, Way.IN, key[1], stage, text, sender=printable(sender[1], 320) if sender else None
    )


_CONTAINER = re.compile(r"(\S+) (?:stdout|stderr) [FP] (.*)")


def of_container(service: str, lines: Iterable[str]) -> Iterator[Event]:
    """Read a container's log as its engine keeps it: time, stream, and the line."""
    for line in lines:
        if found := _CONTAINER.match(line):
            try:
                time = datetime.fromisoformat(found[1]).timestamp()
            except ValueError:
                continue
            if (event := of_line(service, time, found[2])) is not None:
                yield event
