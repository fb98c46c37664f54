"""When `plexus local up` may say that the services have the directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from postal_plexus.desk.directory_arrival import has_arrived
from postal_plexus.directory import TABLES, Directory, Domain, Mailbox

DIRECTORY = Directory((Domain("example.org"),), (Mailbox("ann@example.org", "{PLAIN}x"),))


@pytest.mark.parametrize("late", [None, *sorted(TABLES), "maps/sender-logins"])
def test_it_has_arrived_when_every_service_has_it(tmp_path: Path, late: str | None) -> None:
    """Any table that is missing or another's keeps it from having arrived."""
    maps = tmp_path / "maps"
    maps.mkdir()
    for name, render in TABLES.items():
        text = render(DIRECTORY)
        (tmp_path / name).write_text(text)
        (maps / name.removeprefix("postfix-")).write_text(text)
    document = DIRECTORY.to_json()
    assert has_arrived(document, tmp_path, maps)
    if late is None:
        (tmp_path / "dovecot-passwd").unlink()
    else:
        (tmp_path / late).write_text("of before\n")
    assert not has_arrived(document, tmp_path, maps)


def test_a_broken_one_is_not_awaited(tmp_path: Path) -> None:
    """The last good one stays in use."""
    assert has_arrived(b"{}", tmp_path, tmp_path)
