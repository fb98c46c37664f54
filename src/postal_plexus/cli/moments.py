"""Points in time on the command line: `2026-11-27`, `2026-11-27T14:30`, or `36h` and `3d` ago."""

import re
from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
FORMS = "a date or time (in UTC unless it says otherwise), or how long ago: 90m, 36h, 3d"


def moment(text: str, now: datetime | None = None, *, units: str = "mhd") -> datetime:
    """Parse a point in time. Raise ArgumentTypeError, which lists the accepted forms."""
    ago = re.fullmatch(rf"(\d{{1,5}})([{units}])", text.strip())
    try:
        if ago:
            return (now or datetime.now(UTC)) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        found = datetime.fromisoformat(text.strip())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ArgumentTypeError(f"{text!r} is not a point in time; give {FORMS}") from error
