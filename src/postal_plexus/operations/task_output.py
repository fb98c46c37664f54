"""The lines of a task as CloudWatch Logs brings them, put in order. Pure.

Lines carry numbers (`postal_plexus.maintenance.output`): one that comes twice is dropped, one that
comes early waits for those before it, and what is missing at the end is known. Lines that are none
of ours (a program's own words on its standard error) are kept apart, the newest of them.
"""

import json
from collections.abc import Iterable
from typing import Any, cast

from postal_plexus.maintenance.output import END

_NOISE_KEPT = 50

Line = dict[str, Any]


class TaskOutput:
    """What has come of one task's output."""

    def __init__(self) -> None:
        self._next = 0
        self._early: dict[int, Line] = {}
        self.code: int | None = None
        """The exit code that the last line has; None until that has come."""
        self.noise: list[str] = []

    def take(self, messages: Iterable[str]) -> list[Line]:
        """Give the lines that are next, in order, each once; the end is not among them."""
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
        """Whether everything up to the end has come."""
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
