"""What a look at a stack shows: of each thing how it is, why, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    """How bad it is, the worst last."""

    OK = 0
    UNKNOWN = 1
    """Could not be looked at."""
    WARNING = 2
    """Will hurt if nobody acts."""
    CRITICAL = 3
    """Mail is late or refused now, or can be lost."""


_MARKS = {Level.OK: "ok", Level.UNKNOWN: "?", Level.WARNING: "!", Level.CRITICAL: "!!"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing, how it is, and the next step (empty where there is none)."""

    level: Level
    thing: str
    what: str
    next_step: str = ""

    @property
    def needs_somebody(self) -> bool:
        """Whether something hurts, or will."""
        return self.level >= Level.WARNING

    def lines(self) -> list[str]:
        """Give it as lines of a text."""
        line = f"{_MARKS[self.level]:>2} {self.thing}: {self.what}"
        return [line, f"     {self.next_step}"] if self.next_step else [line]


def ok(thing: str, what: str) -> Finding:
    """Give a finding of something in order."""
    return Finding(Level.OK, thing, what)


def unknown(thing: str, what: str, next_step: str = "") -> Finding:
    """Give a finding of something that could not be looked at."""
    return Finding(Level.UNKNOWN, thing, what, next_step)


def warning(thing: str, what: str, next_step: str) -> Finding:
    """Give a finding of something that will hurt."""
    return Finding(Level.WARNING, thing, what, next_step)


def critical(thing: str, what: str, next_step: str) -> Finding:
    """Give a finding of something that hurts now."""
    return Finding(Level.CRITICAL, thing, what, next_step)
