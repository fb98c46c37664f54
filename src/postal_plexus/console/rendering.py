"""The page's template engine, and the format of times, sizes and durations."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

from jinja2 import Environment, PackageLoader, StrictUndefined

from postal_plexus.mail.printable import printable


def templates() -> Environment:
    """Create the template engine: it escapes everything, and knows the filters below."""
    made = Environment(
        loader=PackageLoader("postal_plexus.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = cast("dict[str, Any]", made.filters)  # pyright: ignore[reportUnknownMemberType]
    filters |= {
        "age": _age,
        "clock": _clock,
        "day": _day,
        "one_line": printable,
        "size": _size,
        "took": _took,
    }
    return made


def _clock(moment: float) -> str:
    """Format a time of today, or a day."""
    then = datetime.fromtimestamp(moment).astimezone()
    return f"{then:%H:%M:%S}" if then.date() == datetime.now().astimezone().date() else _day(then)


def _day(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def _size(octets: int) -> str:
    if octets < 1000:
        return f"{octets} B"
    for unit, size in (("KB", 1000), ("MB", 1000**2)):
        if octets < 1000 * size:
            return f"{octets / size:.1f} {unit}"
    return f"{octets / 1000**3:.1f} GB"


def _took(seconds: float) -> str:
    """Format a duration in a suitable unit."""
    if seconds < 1:
        return f"{max(0, round(seconds * 1000))} ms"
    return f"{seconds:.1f} s" if seconds < 60 else _age(seconds)


def _age(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"
