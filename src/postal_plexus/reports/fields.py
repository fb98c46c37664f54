"""Fields of a report, whose text is a stranger's."""

from __future__ import annotations

from datetime import UTC, datetime

from postal_plexus.mail.printable import printable


def one_line(text: str) -> str:
    """Give a text as one line of 300 characters at most that a terminal shows as it is."""
    return " ".join(printable(text, 2000).split())[:300]


def moment(text: str) -> datetime:
    """Read a date and time of ISO 8601, in UTC unless it says otherwise. Raise ValueError."""
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from error
