"""One entry of a list in the stack configuration, taken apart by type, and the problems found.

YAML gives anything where a text or a list was meant: `true` is no text, `1.10` a number, a
forgotten dash makes a mapping of a list. Each such mistake becomes a Problem that names key and
entry; reading goes on with what is left. Nothing here raises but `Findings.raise_if_any`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from postal_plexus.config.problems import (
    NAMESPACE,
    Problem,
    StackError,
    did_you_mean,
    kind_of,
    quoted,
)


class Findings:
    """The problems found so far; told in the order of the keys and their entries."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = keys
        self._found: list[tuple[int, int, Problem]] = []

    def add(self, key: str, what: str, remedy: str, *, label: str = "", position: int = -1) -> None:
        """Note a problem of `key` as a whole, or of its entry at `position`."""
        rank = self._keys.index(key) if key in self._keys else -1
        problem = Problem(f"{NAMESPACE}:{key}", label, what, remedy)
        self._found.append((rank, position, problem))

    def raise_if_any(self) -> None:
        """Raise StackError if there was any problem."""
        if self._found:
            in_order = sorted(self._found, key=lambda found: found[:2])
            raise StackError(problem for _, _, problem in in_order)


class Entry:
    """One entry: a mapping with known fields, of which the first names it.

    `name` is that field's text, or "" where it is missing (and noted); `label` is what messages
    call the entry: its number, counted from 1, and its name.
    """

    def __init__(
        self,
        findings: Findings,
        key: str,
        position: int,
        fields: Mapping[object, object],
        known: Sequence[str],
    ) -> None:
        self._findings = findings
        self._key = key
        self._position = position
        self._fields = fields
        self.label = f"entry {position + 1}"
        self.name = self.text(known[0])
        if self.name:
            plain = self.name.isprintable() and len(self.name) <= 80
            self.label += f" ({self.name if plain else quoted(self.name)})"
        for field in fields:
            if field not in known:
                otherwise = f"Remove it; the fields are {', '.join(known)}."
                remedy = did_you_mean(str(field), known, otherwise)
                self.problem(f"{quoted(str(field))} is not a field of it", remedy)

    @property
    def place(self) -> str:
        """How messages about another entry call this one."""
        return f"{self.label} of {self._key}"

    def problem(self, what: str, remedy: str) -> None:
        """Note a problem of this entry."""
        self._findings.add(self._key, what, remedy, label=self.label, position=self._position)

    def text(self, field: str, *, remedy: str = "Write a text; if need be between quotes.") -> str:
        """The text of a field that must be there; "", with a problem noted, where it is not."""
        value = self._fields.get(field)
        if isinstance(value, str) and value.strip():
            return value.strip()
        if field not in self._fields or value is None or isinstance(value, str):
            self.problem(f"has no {field}", remedy)
        else:
            self.problem(f"its {field} is {kind_of(value)}, not a text", remedy)
        return ""

    def optional_text(self, field: str) -> str:
        """The text of a field that may be missing, but not empty; "" without one."""
        return self.text(field) if field in self._fields else ""

    def optional_number(
        self, field: str, least: float, most: float, *, remedy: str
    ) -> float | None:
        """The number of a field that may be missing, from `least` to `most`; None without one."""
        if field not in self._fields:
            return None
        value = self._fields[field]
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.problem(f"its {field} is {kind_of(value)}, not a number", remedy)
        elif not least <= value <= most:  # NaN is in no range
            self.problem(f"its {field} is {value}", remedy)
        else:
            return value
        return None

    def named_texts(self, field: str, *, remedy: str) -> dict[str, str]:
        """The texts of a field that may be missing, else a mapping of names to texts."""
        value = self._fields.get(field)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.problem(f"its {field} are {kind_of(value)}, not names with a text each", remedy)
            return {}
        named: dict[str, str] = {}
        for name, text in cast("Mapping[object, object]", value).items():
            if not isinstance(name, str):
                self.problem(f"has {kind_of(name)} for a name in its {field}", remedy)
            elif not isinstance(text, str) or not text.strip():
                self.problem(f"has no text for {quoted(name)} in its {field}", remedy)
            else:
                named[name] = text.strip()
        return named

    def optional_texts(self, field: str) -> list[str]:
        """The texts of a field that may be missing, but not empty; none without one."""
        return self.texts(field) if field in self._fields else []

    def texts(self, field: str) -> list[str]:
        """The texts of a field that must be a list of at least one."""
        value = self._fields.get(field)
        remedy = f"Write a list: {field}: [ann@example.org, ben@example.org]."
        if not value:
            self.problem(f"has no {field}", remedy)
            return []
        if not isinstance(value, list):
            self.problem(f"its {field} are {kind_of(value)}, not a list", remedy)
            return []
        values = cast("list[object]", value)
        for item in values:
            if not isinstance(item, str):
                self.problem(f"has {kind_of(item)} among its {field}, not a text", remedy)
        return [item.strip() for item in values if isinstance(item, str)]


def entries_of(
    config: Mapping[str, object],
    key: str,
    known: Sequence[str],
    findings: Findings,
    *,
    required: bool = True,
) -> Iterator[Entry]:
    """The entries of the list at `key`, with the `known` fields; what can be none is noted.

    An entry that is a plain text has it as its first field: that is how a domain is written.
    """
    value = config.get(key)
    if not value and not required:
        return
    if not value:
        what = "has no entry" if key in config else "is missing"
        findings.add(key, what, f'Write a list there, of entries that begin with "- {known[0]}:".')
    elif not isinstance(value, list):
        remedy = f'Write a list; each entry begins with "- {known[0]}:".'
        findings.add(key, f"is {kind_of(value)}, not a list", remedy)
    else:
        for position, item in enumerate(cast("list[object]", value)):
            fields = {known[0]: item} if isinstance(item, str) else item
            if isinstance(fields, Mapping):
                mapping = cast("Mapping[object, object]", fields)
                yield Entry(findings, key, position, mapping, known)
            else:
                findings.add(
                    key,
                    f"is {kind_of(item)}, not an entry",
                    f'Begin it with "- {known[0]}:", and put its text between quotes.',
                    label=f"entry {position + 1}",
                    position=position,
                )
