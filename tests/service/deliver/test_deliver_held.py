"""A mailbox that a task works on takes no mail meanwhile, and all of it afterwards, once."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.deliver.bed import ROOT, Bed, laid
from wire import await_true

ANN, BEN, TEAM = "ann@example.org", "ben@example.org", "team@example.org"
NAME = hashlib.sha256(ANN.encode()).hexdigest()


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """Everything runs."""
    with laid(tmp_path) as made:
        # As Dovecot's entrypoint does.
        made.holds.mkdir()
        (made.holds / ".lock").touch()
        made.start()
        yield made


PROGRAM = """
import pathlib, sys
from postal_plexus.maintenance.mailbox_hold import MailboxBusyError, hold
try:
    with hold(sys.argv[1], pathlib.Path(sys.argv[2])):
        print("begun", flush=True)
        sys.stdin.readline()
except MailboxBusyError as error:
    print(error)
"""


@contextlib.contextmanager
def task(bed: Bed) -> Iterator[subprocess.Popen[str]]:
    """Run a task that holds Ann's mailbox; it ends with the block, or when it reads a line."""
    hold = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, ANN, str(bed.holds)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with hold:
        try:
            yield hold
        finally:
            if hold.poll() is None:
                hold.terminate()


def said(hold: subprocess.Popen[str]) -> str:
    """Return the next line of a task."""
    assert hold.stdout is not None
    return hold.stdout.readline()


def test_mail_waits_for_the_task_and_arrives_once(bed: Bed) -> None:
    """Others of the same mail have it at once; waiting costs no attempt, and is logged once."""
    with task(bed) as hold:
        assert "begun\n" == said(hold)
        bed.send("m1", TEAM)
        bed.send("m2", ANN)
        await_true("Ben's mail", lambda: bed.dovecot.mailboxes[BEN])
        # 3, 6, 12, 24 s of SQS, at a hundredth; more attempts than any limit of the policy knows.
        await_true(
            "many receives", lambda: bed.stub.get("dump")["queues"]["mail"][0]["receives"] > 5
        )
        assert 0 == bed.dovecot.offered[ANN]
        hold.communicate("go\n")
    bed.await_deleted(2)
    assert (2, 1) == (len(bed.dovecot.mailboxes[ANN]), len(bed.dovecot.mailboxes[BEN]))
    assert (1, 1) == (len(bed.log("mailbox held")), len(bed.log("mailbox released")))
    assert ([], []) == (bed.dead_letters(), bed.log("deferred"))


def test_a_task_waits_for_a_delivery_that_has_begun(bed: Bed) -> None:
    """Until Dovecot has answered; nothing is delivered between that and the task's begin."""
    answered = threading.Event()

    def reply(_name: str, _before: int) -> str:
        answered.wait(20)
        return "250 2.0.0 Saved"

    bed.dovecot.said = reply
    bed.send("m1", ANN)
    await_true("the transaction", lambda: bed.dovecot.offered[ANN])
    with task(bed) as hold:
        await_true("the hold", (bed.holds / NAME).exists)
        assert hold.stdout is not None
        assert not select.select([hold.stdout], [], [], 1.5)[0]
        answered.set()
        assert "begun\n" == said(hold)
        bed.await_deleted(1)


def test_a_second_task_is_refused(bed: Bed) -> None:
    """Two tasks on one mailbox would each take it for theirs; the second is told to try again."""
    with task(bed) as hold:
        assert "begun\n" == said(hold)
        with task(bed) as second:
            refused = said(second)
            assert "ann@example.org" in refused
            assert "try again" in refused


def test_an_unknown_outcome_is_not_asked_about_meanwhile(bed: Bed) -> None:
    """The question would open the mailbox that a task is about to rename."""
    bed.dovecot.said = lambda _name, before: None if before == 0 else "250 2.0.0 Saved"
    bed.send("m1", ANN)
    assert bed.dovecot.silent.wait(20)
    bed.kill()
    with task(bed) as hold:
        assert "begun\n" == said(hold)
        bed.start()
        await_true("the hold to be met", lambda: bed.log("mailbox held"))
        assert 0 == bed.dovecot.asked
        hold.communicate("go\n")
    bed.await_deleted(1)
    assert (1, 1) == (bed.dovecot.asked, len(bed.dovecot.mailboxes[ANN]))


def test_a_task_waits_for_a_question_that_has_begun(bed: Bed) -> None:
    """It opens one folder after the other, and the task may remove or move the mailbox."""
    bed.dovecot.said = lambda _name, before: None if before == 0 else "250 2.0.0 Saved"
    bed.send("m1", ANN)
    assert bed.dovecot.silent.wait(20)
    bed.kill()
    bed.dovecot.answers.clear()
    bed.start()
    await_true("the question", lambda: bed.dovecot.asked)
    with task(bed) as hold:
        await_true("the hold", (bed.holds / NAME).exists)
        assert hold.stdout is not None
        assert not select.select([hold.stdout], [], [], 0.5)[0]
        bed.dovecot.answers.set()
        assert "begun\n" == said(hold)
        bed.await_deleted(1)
    assert (1, 1) == (bed.dovecot.asked, len(bed.dovecot.mailboxes[ANN]))


def test_a_killed_task_holds_for_minutes_at_most(bed: Bed) -> None:
    """A killed task's hold has an end, and other files beside it hold no mailbox."""
    with task(bed) as hold:
        assert "begun\n" == said(hold)
        hold.send_signal(signal.SIGKILL)
    path = bed.holds / NAME
    lines = path.read_text().split("\n")
    now = float(Path("/proc/uptime").read_text().split()[0])
    assert 0 < float(lines[3].split()[0]) - now <= 180
    # The same, seconds before its end.
    path.write_text("\n".join([*lines[:3], f"{int(now) + 2} owner", ""]))
    (bed.holds / "garbage").write_bytes(os.urandom(100))
    (bed.holds / hashlib.sha256(BEN.encode()).hexdigest()).write_bytes(os.urandom(5000))
    bed.send("m1", TEAM)
    bed.await_deleted(1)
    assert (1, 1) == (len(bed.dovecot.mailboxes[ANN]), len(bed.dovecot.mailboxes[BEN]))
