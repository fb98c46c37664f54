"""Read parts of a stack file with the model, and continue after every mistake.

pydantic finds values that do not fit. This module turns its errors into Problems in an operator's
words, with key, entry and remedy, and reads the rest without those values. YAML accepts anything in
place of a text or a list: `true` is not a text, `1.10` is a number, and a forgotten dash turns a
list into a mapping. Messages never contain what may be a password: of an entry they show only its
name and numbers. Only `Findings.raise_if_any` raises.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from postal_plexus.config.checks import RefusedError
from postal_plexus.config.model import Keys, People, SubmissionLimits
from postal_plexus.config.problems import (
    NAMESPACE,
    Problem,
    StackError,
    did_you_mean,
    kind_of,
    quoted,
)
from postal_plexus.directory.address import is_hosted

_M = TypeVar("_M", bound=BaseModel)


class Findings:
    """The problems found so far, reported in the order of the keys and their entries."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = keys
        self._found: list[tuple[int, int, Problem]] = []

    def add(self, key: str, what: str, remedy: str, *, label: str = "", position: int = -1) -> None:
        """Note a problem of `key` as a whole, or of its entry at `position`."""
        rank = self._keys.index(key) if key in self._keys else -1
        problem = Problem(f"{NAMESPACE}:{key}", label, what, remedy)
        self._found.append((rank, position, problem))

    def problems(self) -> list[Problem]:
        """Return all problems, in order."""
        return [problem for _, _, problem in sorted(self._found, key=lambda found: found[:2])]

    def raise_if_any(self) -> None:
        """Raise StackError if there was any problem."""
        if self._found:
            raise StackError(self.problems())


class Entry(Generic[_M]):
    """One entry of a list: `value` contains those parts of it that are valid by the model.

    `name` is the text that names the entry, or "". `label` is how messages refer to the entry: its
    number, counted from 1, and its name.
    """

    def __init__(
        self,
        findings: Findings,
        key: str,
        position: int,
        fields: Mapping[object, object],
        model: type[_M],
    ) -> None:
        self._findings = findings
        self._key = key
        self._position = position
        given = {str(name): value for name, value in fields.items()}
        known = by_key(model)
        first = next(iter(known))
        name = given.get(first)
        self.name = name.strip() if isinstance(name, str) else ""
        self.label = f"entry {position + 1}"
        if self.name:
            plain = self.name.isprintable() and len(self.name) <= 80
            self.label += f" ({self.name if plain else quoted(self.name)})"
        for alias, field in known.items():
            if _is_empty(given.get(alias)) and (alias in given or told(field, "required")):
                self.problem(f"has no {alias}", self._remedy(field))
                given.pop(alias, None)
        self.value, errors = _sound(model, given)
        for error in errors:
            alias = str(error["loc"][0])
            if alias in known:
                self.problem(_wrong_field(alias, error, given), self._remedy(known[alias]))
            else:
                otherwise = f"Remove it; the keys are {', '.join(known)}."
                remedy = did_you_mean(alias, known, otherwise)
                self.problem(f"{quoted(alias)} is not one of its keys", remedy)

    @property
    def place(self) -> str:
        """How messages about another entry refer to this one."""
        return f"{self.label} of {self._key}"

    def problem(self, what: str, remedy: str) -> None:
        """Note a problem of this entry."""
        self._findings.add(self._key, what, remedy, label=self.label, position=self._position)

    def _remedy(self, field: FieldInfo) -> str:
        return told(field, "remedy").replace(
            "ADDRESS", self.name if is_hosted(self.name) else "ADDRESS"
        )


def entries_of(
    config: Mapping[str, object], key: str, model: type[_M], findings: Findings
) -> Iterator[Entry[_M]]:
    """Yield the entries of the list at `key`, and note items that cannot be entries.

    An entry that is a plain text is its first key's value, as a domain is usually written.
    """
    value = config.get(key)
    first = next(iter(by_key(model)))
    if not value and not told(by_key(People)[key], "required"):
        return
    if not value:
        what = "has no entry" if key in config else "is missing"
        findings.add(key, what, f'Write a list of entries that begin with "- {first}:".')
    elif not isinstance(value, list):
        remedy = f'Write a list; each entry begins with "- {first}:".'
        findings.add(key, f"is {kind_of(value)}, not a list", remedy)
    else:
        for position, item in enumerate(cast("list[object]", value)):
            fields = {first: item} if isinstance(item, str) else item
            if isinstance(fields, Mapping):
                mapping = cast("Mapping[object, object]", fields)
                yield Entry(findings, key, position, mapping, model)
            else:
                findings.add(
                    key,
                    f"is {kind_of(item)}, not an entry",
                    f'Begin it with "- {first}:", and put its text between quotes.',
                    label=f"entry {position + 1}",
                    position=position,
                )


def read_keys(
    config: Mapping[str, object], domains: Collection[str] | None, findings: Findings
) -> Keys:
    """Return the optional keys. After its problems are noted, a wrong one gets its default.

    `domains` are the stack's in their stored form, or None if they are not known.
    """
    known = by_key(Keys)
    given = {key: value for key, value in config.items() if key in known and value is not None}
    wrong: dict[str, set[str]] = {}
    try:
        keys = Keys.model_validate(given, context=domains)
    except ValidationError as failed:
        for error in failed.errors(include_url=False):
            key = str(error["loc"][0])
            what, remedy = _wrong_key(known[key], error, given[key])
            if what not in wrong.setdefault(key, set()):
                wrong[key].add(what)
                findings.add(key, what, remedy)
        sound = {key: value for key, value in given.items() if key not in wrong}
        keys = Keys.model_validate(sound, context=domains)
    if keys.host_zone > keys.zones and "zones" not in wrong:
        remedy = f"Give 1 to {keys.zones}: the stack has {keys.zones} zones."
        findings.add("host-zone", f"is {keys.host_zone}", remedy)
    return keys


def by_key(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return a model's fields by their names in the file."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def told(field: FieldInfo, what: Literal["remedy", "required"]) -> Any:
    """Return what the model specifies for a field besides its type."""
    return cast("dict[str, Any]", field.json_schema_extra)[what]


def choices_of(field: FieldInfo) -> tuple[str, ...]:
    """Return the words from which a field's value must be chosen; empty for other fields."""
    return get_args(field.annotation) if get_origin(field.annotation) is Literal else ()


def _sound(model: type[_M], given: Mapping[str, object]) -> tuple[_M, list[ErrorDetails]]:
    """Return what fits the model, and the errors of what does not."""
    try:
        return model.model_validate(given), []
    except ValidationError as error:
        errors = error.errors(include_url=False)
    wrong: dict[str, set[object]] = {}
    for error in errors:
        field, *inner = error["loc"]
        wrong.setdefault(str(field), set()).add(inner[0] if inner else None)
    left = {name: _left(value, wrong.get(name, set())) for name, value in given.items()}
    fields = {name: value for name, value in left.items() if value is not None}
    return model.model_validate(fields), errors


def _left(value: object, wrong: set[object]) -> object:
    """Return a list or a mapping without its wrong items, or None if it is wrong as a whole."""
    if None in wrong:
        return None
    if isinstance(value, list):
        items = enumerate(cast("list[object]", value))
        return [item for place, item in items if place not in wrong]
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value).items()
        return {name: item for name, item in pairs if isinstance(name, str) and name not in wrong}
    return value


def _is_empty(value: object) -> bool:
    return value is None or value == [] or (isinstance(value, str) and not value.strip())


_TYPES = {
    "string_type": "its {} is {}, not a text",
    "float_type": "its {} is {}, not a number",
    "int_type": "its {} is {}, not a whole number",
    "list_type": "its {} are {}, not a list",
    "mapping_type": "its {} are {}, not names with a text each",
    "dict_type": "its {} are {}, not names with a text each",
}


def _wrong_field(alias: str, error: ErrorDetails, given: Mapping[str, object]) -> str:
    """Return what is wrong with a key of an entry."""
    inner = error["loc"][1:]
    kind = kind_of(error["input"])
    if not inner:
        if error["type"] in _TYPES:
            return _TYPES[error["type"]].format(alias, kind)
        value = given[alias]  # a text may be a password
        return f"its {alias} is {value if isinstance(value, int | float) else 'not UTF-8'}"
    if isinstance(given[alias], list):
        return f"has {kind} among its {alias}, not a text"
    if "[key]" in inner:
        return f"has {kind} for a name in its {alias}"
    return f"has no text for {quoted(str(inner[0]))} in its {alias}"


def _wrong_key(field: FieldInfo, error: ErrorDetails, value: object) -> tuple[str, str]:
    """Return what is wrong with an optional key, and the remedy."""
    refused = error.get("ctx", {}).get("error")
    own = refused if isinstance(refused, RefusedError) else RefusedError()
    word = str(value)
    inner = error["loc"][1:]
    if own.what:
        what = own.what
    elif inner and isinstance(value, Mapping):
        name = str(inner[0])
        pairs = cast("Mapping[object, object]", value).items()
        item = next((item for each, item in pairs if str(each) == name), None)
        what = f"has {_shown(name)}: {_shown(item)}"
    elif error["type"] in ("dict_type", "model_type"):
        what = f"is {kind_of(value)}, not a mapping"
    else:
        what = f"is {_shown(value)}"
    remedy = own.remedy or told(field, "remedy")
    if field.annotation is bool:
        remedy = "Write true or false."
    elif choices := choices_of(field):
        remedy = did_you_mean(word, choices, f"Choose one of {', '.join(choices)}.")
    elif inner:
        remedy = _nearest(error, remedy)
    return what, remedy


def _nearest(error: ErrorDetails, otherwise: str) -> str:
    """Return the remedy for a wrong word inside a key: the most similar valid one."""
    if error["type"] == "extra_forbidden":
        return did_you_mean(str(error["loc"][-1]), by_key(SubmissionLimits), otherwise)
    if error["type"] == "literal_error":
        expected = str(cast("dict[str, object]", error.get("ctx", {})).get("expected"))
        fitting: list[str] = re.findall(r"'([^']*)'", expected)
        return did_you_mean(str(error["input"]), fitting, otherwise)
    return otherwise


def _shown(value: object) -> str:
    """Return a value for a message, truncated."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
