"""The steps of one message from the services' logs, as a timeline.

It reads the end of the daemon's log (the SES stand-in's events) and of `deliver`'s. An unknown line
is skipped; then only that step is missing from the timeline.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from postal_plexus.desk.log_files import SES_LINE, tail

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TAIL = 256 * 1024
_INCOMING = {
    "ses.accepted": "SES accepted a message",
    "ses.stored": "SES stored it in S3",
    "ses.notified": "SES notified SNS, which put it into the queue",
}
_DELIVERED = "deliver passed it to Dovecot, which stored it"
_OUTGOING = {"ses.sent": "SES accepted it from Postfix"}


@dataclass(frozen=True, slots=True)
class Step:
    """What happened, and when, in seconds since the beginning."""

    seconds: float
    what: str


def incoming(logs: Path, begun: float) -> list[Step]:
    """Return the steps of the first message that SES accepted after `begun` (epoch seconds)."""
    events = list(_daemon_events(logs, begun))
    receipt = next((_message_id(e.text) for e in events if e.name == "ses.accepted"), None)
    steps = [
        Step(event.time - begun, _INCOMING[event.name])
        for event in events
        if event.name in _INCOMING and _message_id(event.text) == receipt
    ]
    for time, line in _deliver_lines(logs):
        if line.get("event") == "delivered" and line.get("receipt") == receipt:
            steps.append(Step(time - begun, _DELIVERED))
    return steps


def is_whole(steps: list[Step]) -> bool:
    """Return whether the steps reach the mailbox."""
    return any(step.what == _DELIVERED for step in steps)


def outgoing(logs: Path, begun: float) -> list[Step]:
    """Return the steps of mail that SES sent after `begun`, in seconds since the epoch."""
    return [
        Step(event.time - begun, _OUTGOING[event.name])
        for event in _daemon_events(logs, begun)
        if event.name in _OUTGOING
    ][:1]


@dataclass(frozen=True, slots=True)
class _Event:
    time: float
    name: str
    text: str


def _message_id(text: str) -> str | None:
    found = re.search(r"\bmessage_id=(\S+)", text)
    return found[1] if found else None


def _daemon_events(logs: Path, begun: float) -> Iterator[_Event]:
    for line in tail(logs / "daemon.log", _TAIL):
        if found := SES_LINE.match(line):
            # Local time in whole milliseconds: an event in the same millisecond is not before it.
            time = datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S,%f").timestamp()  # noqa: DTZ007
            if time >= begun - 0.001:
                yield _Event(max(time, begun), found[2], found[3])


def _deliver_lines(logs: Path) -> Iterator[tuple[float, dict[str, Any]]]:
    for line in tail(logs / "deliver.log", _TAIL):
        # The container engine adds its own time and stream before the service's JSON.
        _, brace, rest = line.partition("{")
        try:
            fields = cast("dict[str, Any]", json.loads(brace + rest))
            yield datetime.fromisoformat(fields["time"]).timestamp(), fields
        except (ValueError, KeyError, TypeError):
            continue
