"""The folder for a restored mailbox, and the quota."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from postal_plexus.maintenance import restored
from postal_plexus.maintenance.mailboxes import Quota
from postal_plexus.maintenance.restored import free_name


@pytest.mark.parametrize(
    ("taken", "name"),
    [
        ([], "Restored A"),
        (["INBOX", "Restored A2/INBOX"], "Restored A"),
        (["restored a/INBOX"], "Restored A (2)"),
        (["Restored A/INBOX", "Restored A (2)/Sub/Sub"], "Restored A (3)"),
    ],
)
def test_a_name_that_is_free(taken: list[str], name: str) -> None:
    """A name in use, also as a parent or in another case, is not free."""
    assert name == free_name("Restored A", taken)


@pytest.mark.parametrize(
    ("octets", "used", "most", "fitting"),
    [(10, 0, None, True), (94, 1, 100, True), (94, 2, 100, False), (1, 99, 100, False)],
)
def test_a_mailbox_keeps_room_for_mail(
    octets: int, used: int, most: int | None, *, fitting: bool
) -> None:
    """What is brought back may fill it to 95 %, so that new mail still fits."""
    assert fitting == Quota(1, used, most).has_room(octets)


def test_what_dovecot_awaits_is_locked_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its entrypoint waits for this lock, so that a restore of all has the mailboxes alone."""
    monkeypatch.setattr(restored, "HOLDS_PATH", tmp_path)
    (tmp_path / ".lock").touch()
    with (tmp_path / ".lock").open() as other:
        with restored.dovecot_kept_away(), pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
