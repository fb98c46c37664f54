"""Points in time on the command line."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import UTC, datetime

import pytest

from postal_plexus.cli.moments import moment

NOW = datetime(2026, 11, 28, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-11-27", datetime(2026, 11, 27, tzinfo=UTC)),
        ("2026-11-27T14:30", datetime(2026, 11, 27, 14, 30, tzinfo=UTC)),
        (" 2026-11-27 14:30:05 ", datetime(2026, 11, 27, 14, 30, 5, tzinfo=UTC)),
        ("2026-11-27T14:30+02:00", datetime(2026, 11, 27, 12, 30, tzinfo=UTC)),
        ("90m", datetime(2026, 11, 28, 11, tzinfo=UTC)),
        ("36h", datetime(2026, 11, 27, 0, 30, tzinfo=UTC)),
        ("3d", datetime(2026, 11, 25, 12, 30, tzinfo=UTC)),
    ],
)
def test_a_moment_is_read(text: str, meant: datetime) -> None:
    """A time without a zone is UTC, as in SES and S3."""
    assert meant == moment(text, NOW)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "3w", "27.11.2026", "-3d", "0001-01-01T00+23:00"]
)
def test_what_is_none_is_told_with_the_forms(text: str) -> None:
    """argparse prints the error, which lists what is accepted."""
    with pytest.raises(ArgumentTypeError, match="how long ago"):
        moment(text, NOW)
