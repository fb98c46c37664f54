"""Ship the containers' output to CloudWatch Logs: the desk's awslogs driver.

Each container's output is in a file (podman's k8s-file: time, stream, `P` for a part of a line or
`F` for its end, text). The file is read as it grows, and each line becomes an event in the
container's stream, which is named PREFIX/CONTAINER/TASK as by ECS. All lines of a task are shipped
before its end is reported. After a restart of the daemon, the newest part of each file is read
again.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from awsdesk.ministack_patches.log_events import LogEvent, LogEvents

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

LOOK_EVERY = 0.2
# How many octets of an earlier daemon's file are read again.
_EARLIER_BYTES = 1_000_000
_CHUNK = 1 << 20


@dataclass
class LogParser:
    """Parses octets of a k8s-file, in any pieces, into whole lines."""

    _rest: bytes = b""
    _begun: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])

    def feed(self, octets: bytes) -> list[LogEvent]:
        """Return the lines that end in these octets."""
        *lines, self._rest = (self._rest + octets).split(b"\n")
        found: list[LogEvent] = []
        for line in lines:
            when, _, left = line.decode(errors="replace").partition(" ")
            stream, _, left = left.partition(" ")
            kind, _, text = left.partition(" ")
            if kind not in {"P", "F"} or (moment := _milliseconds(when)) is None:
                continue  # the first line read, cut off at its beginning
            began, before = self._begun.pop(stream, (moment, ""))
            if kind == "P":
                self._begun[stream] = (began, before + text)
            else:
                found.append(LogEvent(began, before + text))
        return found

    def end(self) -> list[LogEvent]:
        """Return output that has no line end."""
        found = [LogEvent(when, text) for when, text in self._begun.values() if text]
        self._begun.clear()
        self._rest = b""
        return found


def _milliseconds(when: str) -> int | None:
    # 2026-11-28T18:11:52.123456789+00:00: Python reads six digits of the nine.
    head, dot, left = when.partition(".")
    digits = left[: len(left) - len(left.lstrip("0123456789"))]
    zone = left[len(digits) :]
    try:
        moment = datetime.fromisoformat(f"{head}{zone.replace('Z', '+00:00')}" if dot else when)
    except ValueError:
        return None
    return int(moment.timestamp()) * 1000 + int(f"{digits:0<3}"[:3] or 0)


@dataclass
class _Follower:
    path: Path
    group: str
    stream: str
    parser: LogParser = field(default_factory=LogParser)


class LogShipper:
    """Follows the files of all running containers, in one event loop."""

    def __init__(self, events: LogEvents) -> None:
        self._events = events
        self._followers: dict[str, _Follower] = {}
        # How far each file has been read, no matter which container wrote it.
        self._read: dict[Path, int] = {}

    def begin(self, container: str, path: Path, group: str, stream: str) -> None:
        """Follow a container that is about to start, or that an earlier daemon started."""
        if path not in self._read:
            size = path.stat().st_size if path.exists() else 0
            self._read[path] = max(0, size - _EARLIER_BYTES)
        self._followers[container] = _Follower(path, group, stream)

    def end(self, container: str) -> None:
        """Read the rest of an ended container's output. An unknown container is not an error."""
        follower = self._followers.pop(container, None)
        if follower is not None:
            while self._ship(follower):
                pass
            self._put(follower, follower.parser.end())

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            for follower in list(self._followers.values()):
                self._ship(follower)
            await asyncio.sleep(LOOK_EVERY)

    def _ship(self, follower: _Follower) -> bool:
        """Read new output; return whether there was any."""
        path, begin = follower.path, self._read[follower.path]
        try:
            size = path.stat().st_size
            if size == begin:
                return False
            if size < begin:  # the file was truncated
                begin = 0
            with path.open("rb") as file:
                file.seek(begin)
                octets = file.read(_CHUNK)
        except FileNotFoundError:
            return False
        except OSError as error:
            log.warning("agent.log_unread path=%s reason=%s", path, error)
            return False
        self._read[path] = begin + len(octets)
        self._put(follower, follower.parser.feed(octets))
        return bool(octets)

    def _put(self, follower: _Follower, lines: list[LogEvent]) -> None:
        if lines:
            self._events.append(follower.group, follower.stream, lines)
