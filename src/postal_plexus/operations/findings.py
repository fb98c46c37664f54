"""The findings of a check: the state of each part, the reason, and the next step."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    """The severity, the worst last."""

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
    """One part, its state, and the next step (empty if there is none)."""

    level: Level
    thing: str
    what: str
    next_step: str = ""

    @property
    def needs_somebody(self) -> bool:
        """Whether somebody must act, now or soon."""
        return self.level >= Level.WARNING

    def lines(self) -> list[str]:
        """Return the finding as lines of text."""
        line = f"{_MARKS[self.level]:>2} {self.thing}: {self.what}"
        return [line, f"     {self.next_step}"] if self.next_step else [line]


def ok(thing: str, what: str) -> Finding:
    """Return a finding about something in order."""
    return Finding(Level.OK, thing, what)


def unknown(thing: str, what: str, next_step: str = "") -> Finding:
    """Return a finding about something that could not be checked."""
    return Finding(Level.UNKNOWN, thing, what, next_step)


def warning(thing: str, what: str, next_step: str) -> Finding:
    """Return a finding about something that will cause trouble."""
    return Finding(Level.WARNING, thing, what, next_step)


def critical(thing: str, what: str, next_step: str) -> Finding:
    """Return a finding about something that causes trouble now."""
    return Finding(Level.CRITICAL, thing, what, next_step)
