"""Read a desk's log files: their ends, and the format of the daemon's lines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SES_LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) \w+ \S+ (ses\.\w+) (.*)")
"""A line of the desk's SES: local time, event, fields."""


def tail(path: Path, octets: int) -> list[str]:
    """Return the lines at the end of a log; none if it does not exist."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - octets))
            return file.read().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return []
