"""CloudWatch Logs for the containers' output: written by the agent, read through AWS's API.

ministack keeps every event forever, twice, and in each snapshot of its state. Here a stream keeps
its newest `MOST_EVENTS`, a group its newest `MOST_STREAMS`, and snapshots omit events: the output
is also in files of the desk (`ecs.log_shipping`), from which the newest part is read again.
FilterLogEvents is our own, because ministack's has no pages and drops what exceeds one.

Filter patterns: terms, phrases in quotes, `-` and `?` as AWS matches them, case and all. A pattern
in braces (JSON) or percent signs (a regular expression) is refused, not matched wrongly.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from awsdesk.ministack_patches import environment, private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MOST_EVENTS = 20_000
MOST_STREAMS = 200
# What one call returns: https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilterLogEvents.html
_PAGE = 10_000
# The limit of an event's size, and what AWS adds to each.
_MOST_BYTES, _EVENT_BYTES = 262_144, 26

log = logging.getLogger(__name__)

_TERM = re.compile(r'([-?]?)(?:"((?:[^"\\]|\\.)*)"|(\S+))')


class PatternError(ValueError):
    """A filter pattern that the desk does not support."""


@dataclass(frozen=True)
class LogEvent:
    """A line that a container printed; `timestamp` in milliseconds since the epoch."""

    timestamp: int
    message: str


@dataclass(frozen=True)
class LogEvents:
    """The log groups of one account and region."""

    account_id: str
    region: str

    def arn(self, group: str) -> str:
        """Return the resource for permissions to write a group's streams."""
        return f"arn:aws:logs:{self.region}:{self.account_id}:log-group:{group}"

    def provide(self, group: str) -> None:
        """Create a group if it is missing.

        On AWS a container without its log group does not start. A desk of a version that only
        recorded groups has none, and must still deliver mail.
        """
        with environment.scope(self.account_id, self.region):
            if group not in private.LOGS.log_groups:
                log.warning("agent.log_group_made group=%s", group)
                private.LOGS.create_log_group({"logGroupName": group})

    def append(self, group: str, stream: str, events: Iterable[LogEvent]) -> None:
        """Write events into a stream, which is created if missing; its group must exist."""
        now = int(time.time() * 1000)
        with environment.scope(self.account_id, self.region):
            found = private.LOGS.log_groups.get(group)
            if found is None:
                return
            streams: dict[str, dict[str, Any]] = found["streams"]
            written = streams.setdefault(stream, _new_stream(now))
            stored = [
                {
                    "timestamp": event.timestamp,
                    "message": part,
                    "ingestionTime": now,
                    "eventId": uuid.uuid4().hex,
                }
                for event in events
                for part in _parts(event.message)
            ]
            private.LOGS.append_log_events(written, stored)
            with private.LOGS.log_events_lock:
                if len(written["events"]) > MOST_EVENTS:
                    written["events"] = written["events"][-MOST_EVENTS:]
                for name in list(streams)[: max(0, len(streams) - MOST_STREAMS)]:
                    del streams[name]
            private.LOGS.fanout_to_live_tail_sessions(group, stream, stored)


def _new_stream(now: int) -> dict[str, Any]:
    return {
        "events": [],
        "uploadSequenceToken": "1",
        "creationTime": now,
        "firstEventTimestamp": None,
        "lastEventTimestamp": None,
        "lastIngestionTime": None,
    }


def _parts(message: str) -> Iterable[str]:
    """Cut a line that is longer than an event may be, as the log driver does."""
    octets = message.encode()
    most = _MOST_BYTES - _EVENT_BYTES
    if len(octets) <= most:
        return (message,)
    pieces = (octets[at : at + most] for at in range(0, len(octets), most))
    return (piece.decode(errors="replace") for piece in pieces)


def matcher(pattern: str) -> Callable[[str], bool]:
    """Return a predicate for a filter pattern.

    Raises:
        PatternError: the desk does not support patterns of this form.
    """
    pattern = pattern.strip()
    if pattern[:1] in {"{", "[", "%"}:
        raise PatternError(f"the desk matches terms and phrases only, not {pattern}")
    terms: dict[str, list[str]] = {"": [], "-": [], "?": []}
    for sign, phrase, word in _TERM.findall(pattern):
        terms[sign].append(word or re.sub(r"\\(.)", r"\1", phrase))

    def matches(message: str) -> bool:
        return (
            all(term in message for term in terms[""])
            and not any(term in message for term in terms["-"])
            and (not terms["?"] or any(term in message for term in terms["?"]))
        )

    return matches


def page(
    events: list[tuple[str, dict[str, Any]]], token: str, limit: int
) -> tuple[list[tuple[str, dict[str, Any]]], str]:
    """Return the events (stream, event) after a token, the oldest first, and the token after them.

    A token is a time and the number of events of that time returned so far: later events do not
    change it.
    """
    time_of, _, given = token.partition(":")
    since, skip = (int(time_of), int(given)) if token else (0, 0)
    ordered = sorted(events, key=lambda each: (each[1]["timestamp"], each[1]["ingestionTime"]))
    left = [each for each in ordered if each[1]["timestamp"] >= since]
    left = left[skip:]
    found = left[:limit]
    if len(left) <= limit:
        return found, ""
    last = found[-1][1]["timestamp"]
    again = sum(each[1]["timestamp"] == last for each in found) + (skip if last == since else 0)
    return found, f"{last}:{again}"


def _filter(data: dict[str, Any]) -> Any:
    answers = environment.module("core.responses")
    name = str(data.get("logGroupName") or data.get("logGroupIdentifier") or "")
    group = name.rpartition(":log-group:")[2].removesuffix(":*")
    found = private.LOGS.log_groups.get(group)
    if found is None:
        text = "The specified log group does not exist."
        return answers.error_response_json("ResourceNotFoundException", text, 400)
    try:
        matches = matcher(str(data.get("filterPattern") or ""))
        chosen = [
            (stream, event)
            for stream, event in _events(cast("dict[str, Any]", found["streams"]), data)
            if matches(event["message"])
        ]
        limit = min(int(data.get("limit") or _PAGE), _PAGE)
        given, token = page(chosen, str(data.get("nextToken") or ""), limit)
    except ValueError as error:
        return answers.error_response_json("InvalidParameterException", str(error), 400)
    answer: dict[str, Any] = {
        "events": [{**event, "logStreamName": stream} for stream, event in given],
        "searchedLogStreams": [],
    }
    return answers.json_response(answer | ({"nextToken": token} if token else {}))


def _events(streams: dict[str, Any], data: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    names = data.get("logStreamNames")
    prefix = str(data.get("logStreamNamePrefix") or "")
    first, last = int(data.get("startTime") or 0), int(data.get("endTime") or 1 << 62)
    with private.LOGS.log_events_lock:
        kept = {
            name: list(stream["events"])
            for name, stream in streams.items()
            if (name in names if names else name.startswith(prefix))
        }
    return [
        (name, event)
        for name, events in kept.items()
        for event in events
        if first <= event["timestamp"] <= last
    ]


def install() -> None:
    """Install the desk's FilterLogEvents, and keep events out of the saved state."""
    state_of = private.LOGS.get_state

    def without_events() -> Any:
        groups = [group for _, group in private.LOGS.log_groups.all_items()]
        streams = [group["streams"] for group in groups]
        try:
            for group in groups:
                group["streams"] = {}
            return state_of()
        finally:
            for group, kept in zip(groups, streams, strict=True):
                group["streams"] = kept

    private.LOGS.replace("get_state", without_events)
    private.LOGS.replace("filter_log_events", _filter)
