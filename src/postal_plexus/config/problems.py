"""What is wrong with a stack configuration: all problems at once, each with its remedy.

A configuration is always read to its end, so that an operator corrects it once and not once per
mistake. Texts never contain the value of a password or a hash.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from types import NoneType

NAMESPACE = "postal-plexus"
"""Pulumi's namespace for our keys: the name of the project."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: the key, the entry in it (or "" for the whole key), what is wrong, the remedy.

    `what` is a clause, `remedy` one or more sentences; `str()` is the line that an operator reads.
    """

    key: str
    entry: str
    what: str
    remedy: str

    def __str__(self) -> str:
        place = (part for part in (self.key, self.entry, self.what) if part)
        return f"{': '.join(place)}. {self.remedy}"


class StackError(Exception):
    """A stack configuration cannot be used. `problems` lists everything that is wrong with it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """Return the remedy for an unknown word: the most similar known one, if there is one."""
    near = get_close_matches(word, list(known), n=1, cutoff=0.75)
    return f"Did you mean {near[0]}?" if near else otherwise


def quoted(text: str) -> str:
    """Return a text of the configuration for a message: on one line, truncated."""
    return repr(text if len(text) <= 80 else text[:77] + "...")


_KINDS: tuple[tuple[type, str], ...] = (
    (NoneType, "nothing"),
    (bool, "true or false"),
    (int, "a number"),
    (float, "a number"),
    (str, "a text"),
    (Mapping, "a mapping"),
    (Sequence, "a list"),
    (date, "a date"),
)


def kind_of(value: object) -> str:
    """Return the type that YAML gave a value, in an operator's words; never the value itself."""
    kinds = (words for kind, words in _KINDS if isinstance(value, kind))
    return next(kinds, f"a {type(value).__name__}")
