"""Typed access to the stack's configuration that collects every problem instead of the first."""

from collections.abc import Callable, Mapping
from typing import Any

NAMESPACE = "postal-plexus"


class ConfigReader:
    """`get` gives the value of a key in the namespace, None when it is not there.

    Each method returns the value, or the default after noting in `problems` what is wrong.
    """

    def __init__(self, get: Callable[[str], Any]) -> None:
        self._get = get
        self.problems: list[str] = []

    def problem(self, key: str, what: str, remedy: str) -> None:
        """Note one mistake."""
        self.problems.append(f"{NAMESPACE}:{key}: {what}. {remedy}")

    def whole_number(
        self, key: str, default: int, allowed: Callable[[int], bool], remedy: str
    ) -> int:
        """A whole number for which `allowed` holds."""
        value = self._get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not allowed(value):
            self.problem(key, f"is {value!r}", remedy)
            return default
        return value

    def number(
        self, key: str, default: float, allowed: Callable[[float], bool], remedy: str
    ) -> float:
        """A number for which `allowed` holds."""
        value = self._get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not allowed(value):
            self.problem(key, f"is {value!r}", remedy)
            return default
        return float(value)

    def choice(self, key: str, default: str, choices: tuple[str, ...]) -> str:
        """One of `choices`."""
        value = self._get(key)
        if value is None:
            return default
        if value not in choices:
            self.problem(key, f"is {value!r}", f"Choose one of {', '.join(choices)}.")
            return default
        return str(value)

    def text(self, key: str, default: str, allowed: Callable[[str], bool], remedy: str) -> str:
        """A text for which `allowed` holds."""
        value = self._get(key)
        if value is None:
            return default
        if not isinstance(value, str) or not allowed(value):
            self.problem(key, f"is {value!r}", remedy)
            return default
        return value

    def boolean(self, key: str, *, default: bool) -> bool:
        """True or false."""
        value = self._get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.problem(key, f"is {value!r}", "Write true or false.")
            return default
        return value

    def mapping(
        self, key: str, allowed: Callable[[str, Any], bool], remedy: str
    ) -> Mapping[str, Any]:
        """A mapping for whose every entry `allowed` holds."""
        value = self._get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.problem(key, "is not a mapping", remedy)
            return {}
        wrong = [name for name, item in value.items() if not allowed(name, item)]
        for name in wrong:
            self.problem(key, f"has {name!r}: {value[name]!r}", remedy)
        return value
