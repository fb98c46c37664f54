"""What a killed task, or a host that ended, left in the staging directories is no obstacle."""

from __future__ import annotations

from pathlib import Path

import pytest

from postal_plexus.maintenance.dsync import Counts, Dsync, SyncError
from postal_plexus.maintenance.programs import ENVIRONMENT
from postal_plexus.maintenance.staging import Staging, Unsynced

ANN = "ann@example.org"


def test_lock_files_of_a_killed_task_are_removed(tmp_path: Path) -> None:
    """Those of Dovecot; the mailboxes' own, and all else, stay."""
    staging = Staging(tmp_path, ANN, "source")
    ours = staging.path / "mailboxes/Work.lock/dbox-Mails"
    ours.mkdir(parents=True)
    live = tmp_path / "example.org/ann/sdbox/dovecot.index.log.lock"
    live.parent.mkdir(parents=True)
    kept = {ours / "u.1", ours / "dovecot.index.log", live, staging.home / "source.brought"}
    locks = {
        ours / "dovecot.index.log.newlock",
        ours / "dovecot.index.cache.lock",
        staging.path / "subscriptions.lock",
        staging.home / ".tree/dovecot-uidlist.lock",
    }
    for path in kept | locks:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    staging.recover()
    assert kept == {path for path in tmp_path.rglob("*") if path.is_file()}


def test_what_was_written_without_waiting_is_dropped_after_the_host_ended(tmp_path: Path) -> None:
    """Not after a task was killed; and not once all was on the disk."""
    staging = Staging(tmp_path, ANN, "source")
    staging.home.mkdir(parents=True)
    note = staging.home / "source.unsynced"
    for boot, is_complete, is_kept in (
        (None, False, True),
        ("another", False, False),
        ("another", True, True),
    ):
        assert staging.unsynced.is_so
        staging.unsynced.begin()
        staging.path.mkdir()
        assert Unsynced(staging.path).is_so
        if is_complete:
            staging.unsynced.end()
            assert not staging.unsynced.is_so
        elif boot:
            note.write_text(boot)
        staging.recover()
        assert is_kept == staging.path.exists()
        if staging.path.exists():
            staging.path.rmdir()
        note.unlink(missing_ok=True)


@pytest.mark.parametrize(("refusals", "status"), [(1, 0), (0, 65)])
def test_a_command_without_a_lock_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusals: int, status: int
) -> None:
    """Whatever else is wrong is said at once."""
    program = tmp_path / "doveadm"
    program.write_text(
        f"""#!/bin/sh
echo >>{tmp_path}/runs
if [ "$(wc -l <{tmp_path}/runs)" -le {refusals} ]; then
    echo 'doveadm(a): Error: open(dovecot.index.log) failed: Resource temporarily unavailable' >&2
    exit 75
fi
[ {status} = 0 ] || {{ echo 'Error: broken' >&2; exit {status}; }}
printf 'mailbox\\tmessages\\tvsize\\nINBOX\\t2\\t30\\n'
"""
    )
    program.chmod(0o755)
    monkeypatch.setitem(ENVIRONMENT, "PATH", f"{tmp_path}:{ENVIRONMENT['PATH']}")
    dsync = Dsync(ANN, tmp_path / "run")
    if status:
        with pytest.raises(SyncError, match="broken"):
            dsync.counts([])
    else:
        assert {"INBOX": Counts(2, 30)} == dsync.counts([])
    assert refusals + 1 == len((tmp_path / "runs").read_text().splitlines())
