"""Parse a task's words: a verb of a table, its options and its arguments. Pure.

A word that matches no pattern is refused, and so is an option that the verb does not know. Patterns
match whole words, so that no argument can be mistaken for an option of a program that gets it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from postal_plexus.maintenance.output import Output

MOST_WORDS = 200
"""ECS takes 8 KB of overrides."""

# No word begins with a hyphen, because a program would regard it as an option.
ADDRESS = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~][A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]*@[A-Za-z0-9][A-Za-z0-9.-]*"
)
QUEUE_ID = re.compile(r"[0-9A-Za-z]{6,30}")
"""Postfix's short ids have 10 or 11 characters, its long ones 15 to 20; `ALL` has three."""
MOMENT = re.compile(r"[0-9]{1,12}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,199}")


class CallError(Exception):
    """The words do not match the table."""


@dataclass(frozen=True)
class Call:
    """A task's arguments: the words after the verb, and the options by name ("" for a switch)."""

    words: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Verb:
    """One verb: the patterns of its arguments, and its function.

    Attributes:
        run: the function; returns the exit code, 0 for success.
        words: the pattern of each word.
        least: the minimum number of words.
        most: the maximum number.
        options: the pattern of each option's value; None for a switch.
    """

    run: Callable[[Call, Output], int]
    words: re.Pattern[str] | None = None
    least: int = 0
    most: int = 0
    options: Mapping[str, re.Pattern[str] | None] = field(
        default_factory=dict[str, re.Pattern[str] | None]
    )


def read(verbs: Mapping[str, Verb], given: Sequence[str]) -> tuple[Verb, Call]:
    """Return the verb and its arguments; options have the form `--name=value` or `--name`.

    Raises:
        CallError: a word is refused; the text names it.
    """
    if not given or given[0] not in verbs:
        known = ", ".join(sorted(verbs))
        raise CallError(f"no such verb: {given[0] if given else ''!r}; there are {known}")
    verb = verbs[given[0]]
    options: dict[str, str] = {}
    words: list[str] = []
    for word in given[1:]:
        if word.startswith("--"):
            name, has_value, value = word[2:].partition("=")
            if name not in verb.options or name in options:
                raise CallError(f"{given[0]} has no option {word!r}, or it is repeated")
            pattern = verb.options[name]
            if pattern is None and has_value:
                raise CallError(f"{given[0]}'s option --{name} takes no value")
            if pattern is not None and not pattern.fullmatch(value):
                raise CallError(f"not a value of --{name}: {value!r}")
            options[name] = value
        elif verb.words is None or not verb.words.fullmatch(word):
            raise CallError(f"{given[0]} does not accept {word!r}")
        else:
            words.append(word)
    if not verb.least <= len(words) <= verb.most:
        raise CallError(f"{given[0]} takes {verb.least} to {verb.most} arguments, not {len(words)}")
    return verb, Call(tuple(words), options)
