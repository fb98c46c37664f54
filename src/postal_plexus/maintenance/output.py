"""The output of a task: lines of JSON, numbered from 0; the last one marks the end.

    {"n": 0, "kind": "mail", ...}       a result; its kind names its fields
    {"n": 1, "kind": "error", "code": 67, "text": "..."}
    {"n": 2, "kind": "end", "code": 67}

In a stack of several hosts, {"kind": "elsewhere", "address": ..., "host": 2} says where a mailbox
lives that the task was asked about, but that is not of its host.

A line is at most 64 KiB, well below what CloudWatch Logs takes as one event (256 KiB).
"""

import json
from typing import Protocol

END, ERROR, PROGRESS, ELSEWHERE = "end", "error", "progress", "elsewhere"
LONGEST = 65_536


class Stream(Protocol):
    """The output stream: the standard output."""

    def write(self, text: str, /) -> int:
        """Write a text."""
        ...

    def flush(self) -> None:
        """Write what is buffered."""
        ...


class Output:
    """The lines of one task."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._number = 0
        self._has_ended = False

    def say(self, kind: str, **fields: object) -> None:
        """Write a result.

        Raises:
            ValueError: it is too long for a line.
        """
        line = json.dumps({"n": self._number, "kind": kind, **fields})
        if len(line) > LONGEST:
            raise ValueError(f"a {kind} of {len(line)} octets is too long for a line")
        self._number += 1
        self._stream.write(f"{line}\n")
        self._stream.flush()

    def fail(self, code: int, text: str) -> int:
        """Report an error; return the code, which the verb returns."""
        self.say(ERROR, code=code, text=text[:4000])
        return code

    def end(self, code: int) -> None:
        """Write the last line, once."""
        if not self._has_ended:
            self._has_ended = True
            self.say(END, code=code)
