"""Typed access to the stack's configuration that collects every problem instead of the first."""

from collections.abc import Callable, Mapping
from typing import TypeVar, cast

from postal_plexus.config.problems import NAMESPACE, Problem, did_you_mean, kind_of

_T = TypeVar("_T")


class ConfigReader:
    """`config` has the keys without the namespace.

    Each method returns the value, or the default after noting in `problems` what is wrong.
    """

    def __init__(self, config: Mapping[str, object]) -> None:
        self._config = config
        self.problems: list[Problem] = []

    def problem(self, key: str, what: str, remedy: str) -> None:
        """Note one mistake."""
        self.problems.append(Problem(f"{NAMESPACE}:{key}", "", what, remedy))

    def number(
        self, key: str, default: float, allowed: Callable[[float], bool], remedy: str
    ) -> float:
        """A number for which `allowed` holds."""
        return self._read(
            key, default, lambda value: _is_number(value) and allowed(cast("float", value)), remedy
        )

    def whole_number(
        self, key: str, default: int, allowed: Callable[[int], bool], remedy: str
    ) -> int:
        """A whole number for which `allowed` holds."""
        return self._read(key, default, lambda value: type(value) is int and allowed(value), remedy)

    def choice(self, key: str, default: str, choices: tuple[str, ...]) -> str:
        """One of `choices`."""
        otherwise = f"Choose one of {', '.join(choices)}."
        remedy = did_you_mean(str(self._config.get(key)), choices, otherwise)
        return self._read(key, default, lambda value: value in choices, remedy)

    def text(self, key: str, default: str, allowed: Callable[[str], bool], remedy: str) -> str:
        """A text for which `allowed` holds."""
        return self._read(
            key, default, lambda value: isinstance(value, str) and allowed(value), remedy
        )

    def boolean(self, key: str, *, default: bool) -> bool:
        """True or false."""
        return self._read(
            key, default, lambda value: isinstance(value, bool), "Write true or false."
        )

    def mapping(
        self, key: str, allowed: Callable[[str, object], bool], remedy: str
    ) -> dict[str, object]:
        """A mapping for whose every entry `allowed` holds."""
        value = self._config.get(key)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.problem(key, f"is {kind_of(value)}, not a mapping", remedy)
            return {}
        entries = {str(name): item for name, item in cast("Mapping[object, object]", value).items()}
        wrong = [name for name, item in entries.items() if not allowed(name, item)]
        for name in wrong:
            self.problem(key, f"has {_shown(name)}: {_shown(entries[name])}", remedy)
        return {} if wrong else entries

    def _read(self, key: str, default: _T, allowed: Callable[[object], bool], remedy: str) -> _T:
        value = self._config.get(key)
        if value is None:
            return default
        if not allowed(value):
            self.problem(key, f"is {_shown(value)}", remedy)
            return default
        return cast("_T", value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: object) -> str:
    """A value as a message shows it: as it is, but not without end."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
