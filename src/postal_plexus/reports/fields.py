"""Fields of a report, whose text a stranger wrote."""

from __future__ import annotations

from datetime import UTC, datetime

from postal_plexus.mail.printable import printable


def one_line(text: str) -> str:
    """Return a text as one line of at most 300 characters that is safe on a terminal."""
    return " ".join(printable(text, 2000).split())[:300]


def moment(text: str) -> datetime:
    """Parse a date and time of ISO 8601, in UTC by default. Raise ValueError."""
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from error
