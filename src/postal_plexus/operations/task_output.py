"""Put the lines of a task from CloudWatch Logs in order. Pure.

Lines are numbered (`postal_plexus.maintenance.output`): a repeated one is dropped, an early one
waits for those before it, and missing ones are noticed at the end. Other lines (a program's
messages on its standard error) are kept separately, only the newest.
"""

import json
from collections.abc import Iterable
from typing import Any, cast

from postal_plexus.maintenance.output import END

_NOISE_KEPT = 50

Line = dict[str, Any]


class TaskOutput:
    """The lines received from one task."""

    def __init__(self) -> None:
        self._next = 0
        self._early: dict[int, Line] = {}
        self.code: int | None = None
        """The exit code that the last line has; None until that has come."""
        self.noise: list[str] = []

    def take(self, messages: Iterable[str]) -> list[Line]:
        """Return the next lines in order, each once, without the end line."""
        for message in messages:
            line = _read(message)
            if line is None:
                self.noise = [*self.noise, message][-_NOISE_KEPT:]
            elif line["n"] >= self._next:
                self._early.setdefault(line["n"], line)
        found: list[Line] = []
        while (line := self._early.pop(self._next, None)) is not None:
            self._next += 1
            if line["kind"] == END:
                self.code = int(line["code"])
            else:
                found.append(line)
        return found

    @property
    def is_whole(self) -> bool:
        """Whether all lines up to the end have been received."""
        return self.code is not None


def _read(message: str) -> Line | None:
    if not message.startswith('{"n": '):
        return None
    try:
        line = cast("Line", json.loads(message))
    except ValueError:
        return None
    known = isinstance(line.get("n"), int) and isinstance(line.get("kind"), str)
    return line if known else None
