"""The choice of a recovery point, and a mailbox's path in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from postal_plexus.operations.backups import Point, PointError, choose, encoded, path_of

NOW = datetime(2026, 11, 28, 3, tzinfo=UTC)
POINTS = [Point(f"arn:{days}", NOW - timedelta(days=days), 10) for days in (2, 0, 1)]


@pytest.mark.parametrize(
    ("hours", "chosen"),
    [(None, "arn:0"), (0, "arn:0"), (1, "arn:1"), (24, "arn:1"), (47, "arn:2")],
)
def test_the_newest_of_that_time_or_before(hours: int | None, chosen: str) -> None:
    """Without a time, the newest of all."""
    at = None if hours is None else NOW - timedelta(hours=hours)
    assert chosen == choose(POINTS, at).arn


def test_where_none_fits_they_are_listed() -> None:
    """The error lists the times from which the operator can choose."""
    with pytest.raises(PointError, match="2026-11-28 03:00, 2026-11-27 03:00, 2026-11-26 03:00"):
        choose(POINTS, NOW - timedelta(days=3))
    with pytest.raises(PointError, match="no recovery point yet"):
        choose([], None)


@pytest.mark.parametrize(
    ("folder", "directory"),
    [
        ("Project/Sub", "Project/Sub"),
        ("Bücher", "B&APw-cher"),
        ("You & me", "You &- me"),
        ("日本語", "&ZeVnLIqe-"),
        ("😀", "&2D3eAA-"),
    ],
)
def test_a_folder_is_found_by_its_name(folder: str, directory: str) -> None:
    """Folder names are encoded as in Dovecot's directories (RFC 3501, 5.1.3)."""
    assert f"/mail/example.org/ann/sdbox/mailboxes/{directory}" == path_of(
        "ann@example.org", folder
    )
    assert "/mail/example.org/ann" == path_of("ann@example.org")


@pytest.mark.parametrize("folder", ["", "/", "../ben", "a//b", "a/..", "a\nb", "a/"])
def test_no_name_leads_elsewhere(folder: str) -> None:
    """A folder's name is a path: `..`, empty levels and control characters are refused."""
    with pytest.raises(PointError, match="folder"):
        encoded(folder)
