"""What a desk keeps when its daemon ends, and when it is killed."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from awsdesk.ministack_patches.runtime import SNAPSHOT_SECONDS
from service.desk.account import MailAccount
from service.desk.running import RunningDesk
from service.desk.test_receiving import send, stored_content

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def account(tmp_path: Path) -> Iterator[MailAccount]:
    """Provide an account in a desk of its own."""
    desk = RunningDesk.in_directory(tmp_path / "desk")
    desk.start()
    made = MailAccount(desk, "restart")
    made.make()
    made.domain("example.org")
    made.clear_rules()
    made.rule("people", ["ann@example.org"])
    yield made
    if desk.process is not None:
        desk.kill()


def test_a_clean_end_keeps_everything(account: MailAccount) -> None:
    """SIGTERM: queue, objects, rules, identities and keys are there after a restart."""
    send(account.desk, "w@e.example", ["ann@example.org"], b"Subject: kept\r\n\r\nx\r\n")
    time.sleep(0.3)
    assert 0 == account.desk.stop()
    account.desk.start()
    (notification,) = account.notifications(1)
    assert b"Subject: kept\r\n\r\nx\r\n" == stored_content(account, notification)
    send(account.desk, "w@e.example", ["ann@example.org"], b"Subject: after\r\n\r\nx\r\n")
    (notification,) = account.notifications(1)
    assert "after" == notification["mail"]["commonHeaders"]["subject"]


def test_a_kill_loses_no_mail_that_was_accepted(account: MailAccount) -> None:
    """SIGKILL right after 250: the mail is announced after the restart."""
    time.sleep(SNAPSHOT_SECONDS + 1)
    send(account.desk, "w@e.example", ["ann@example.org"], b"Subject: survivor\r\n\r\nx\r\n")
    account.desk.kill()
    account.desk.start()
    (notification,) = account.notifications(1)
    assert "survivor" == notification["mail"]["commonHeaders"]["subject"]
    assert b"Subject: survivor\r\n\r\nx\r\n" == stored_content(account, notification)


def test_the_spool_is_empty_when_all_is_saved(account: MailAccount) -> None:
    """An entry goes once its notification is on disk, not before."""
    spool = account.desk.layout.ses / "spool"
    send(account.desk, "w@e.example", ["ann@example.org"], b"Subject: s\r\n\r\nx\r\n")
    assert 1 == len(list(spool.glob("*.json")))
    deadline = time.monotonic() + 10
    while list(spool.glob("*")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    account.desk.kill()
    account.desk.start()
    account.notifications(1)


def test_poison_in_the_spool_stops_nobody(account: MailAccount) -> None:
    """Entries that cannot be read, or have lost their content: the daemon starts, others arrive."""
    time.sleep(SNAPSHOT_SECONDS + 1)
    send(account.desk, "w@e.example", ["ann@example.org"], b"Subject: sound\r\n\r\nx\r\n")
    account.desk.kill()
    spool = account.desk.layout.ses / "spool"
    (sound,) = spool.glob("*.json")
    (spool / "a.json").write_bytes(b"\xff\x00")
    (spool / "b.json").write_text("[]")
    (spool / "c.json").symlink_to("nowhere")
    (spool / "d.json").mkdir()
    (spool / "e.json").write_text("[" * 100_000)
    (spool / "f.json").write_text(sound.read_text().replace(sound.stem, "f"))
    (account.desk.layout.ses / "received.jsonl").write_bytes(b'\xff\n[]\n{"received_at": "x"}\n')
    account.desk.start()
    (notification,) = account.notifications(1)
    assert "sound" == notification["mail"]["commonHeaders"]["subject"]
    assert set("abcdef") == {path.stem for path in (spool / "broken").iterdir()}
    send(account.desk, "w@e.example", ["ann@example.org"], b"Subject: after\r\n\r\nx\r\n")
    account.notifications(1)


def test_only_one_daemon_runs_a_desk(account: MailAccount) -> None:
    """A second one for the same directory ends with status 3."""
    second = subprocess.run(
        [
            sys.executable,
            "-m",
            "awsdesk.daemon",
            "--desk",
            str(account.desk.layout.root),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert 3 == second.returncode, second.stderr
    assert "another daemon" in second.stderr
