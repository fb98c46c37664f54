"""What the provider's own schema says against a registration: its SDK is generated from it.

Python checks the names of a resource's arguments, but not what is inside them: a nested dictionary
with a wrong key, a missing one or a text for a number passes. `faults` looks at all of it, in the
names that go over the wire.
"""

import importlib
import inspect
import re
import sys
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from registrations import Registration

from pulumi import _types

_SDKS = {"aws": "pulumi_aws", "command": "pulumi_command"}


def faults(entry: Registration) -> list[str]:
    """Return what is wrong with the arguments of one resource, each with its place."""
    package, module, kind = re.fullmatch(r"(\w+):(\w+)(?:/\w+)?:(\w+)", entry.type).groups()  # type: ignore[union-attr]
    resource = getattr(importlib.import_module(f"{_SDKS[package]}.{module}"), kind)
    # Its module offers the resource and its arguments, which are not always called kind + "Args".
    home = sys.modules[resource.__module__]
    (arguments,) = [getattr(home, name) for name in home.__all__ if name.endswith("Args")]
    return list(_object(arguments, entry.inputs, f"{kind} {entry.name}"))


def _object(arguments: type, given: Mapping[str, Any], place: str) -> Iterator[str]:
    types = _types.input_type_types(arguments)
    names = _types.input_type_py_to_pulumi_names(arguments)
    # Some generated types go by their Python names, others by those on the wire.
    known = {names.get(name, name): kind for name, kind in types.items()}
    for name in given.keys() - known.keys():
        yield f"{place}: there is no {name}"
    for parameter in inspect.signature(arguments.__init__).parameters.values():
        if parameter.name in ("self", "__self__") or parameter.default is not parameter.empty:
            continue
        if names[parameter.name] not in given:
            yield f"{place}: {names[parameter.name]} is missing"
    for name, value in given.items():
        if name in known and value is not None:
            yield from _value(known[name], value, f"{place}.{name}")


def _value(kind: Any, value: Any, place: str) -> Iterator[str]:
    kind = _plain(kind)
    origin = typing.get_origin(kind)
    if origin is typing.Union:
        choices = [list(_value(each, value, place)) for each in typing.get_args(kind)]
        if all(choices):
            yield from min(choices, key=len)
    elif origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            yield f"{place}: {value!r} is no mapping"
            return
        for key, item in value.items():
            yield from _value(typing.get_args(kind)[1], item, f"{place}[{key}]")
    elif origin is not None:
        if not isinstance(value, list):
            yield f"{place}: {value!r} is no list"
            return
        for index, item in enumerate(value):
            yield from _value(typing.get_args(kind)[0], item, f"{place}[{index}]")
    elif _types.is_input_type(kind):
        if isinstance(value, Mapping):
            yield from _object(kind, value, place)
        else:
            yield f"{place}: {value!r} is no {kind.__name__}"
    elif kind is not Any and not _is_a(value, kind):
        yield f"{place}: {value!r} is no {getattr(kind, '__name__', kind)}"


def _plain(kind: Any) -> Any:
    """Return a type without what an `Input` adds to it: awaitables, outputs, None."""
    while typing.get_origin(kind) is typing.Union:
        rest = [
            each
            for each in typing.get_args(kind)
            if each is not type(None)
            and "Awaitable" not in str(typing.get_origin(each))
            and "Output" not in str(typing.get_origin(each) or each)
        ]
        if len(rest) != 1:
            return typing.Union[tuple(rest)] if rest else Any  # noqa: UP007
        kind = rest[0]
    return kind


def _is_a(value: Any, kind: Any) -> bool:
    """Return whether a value has a JSON type: an integer is a number, and true is none."""
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return not isinstance(kind, type) or isinstance(value, kind)
