"""`plexus restore` on the desk: one mailbox beside its current content, and the loss of all."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from system.desk import Desk
from system.test_replay import count, lose, send
from wire import await_true

DOVEADM = ("setpriv", "--reuid=5000", "--regid=5000", "--clear-groups")


def inside(desk: Desk, *words: str) -> str:
    """Run a program in Dovecot's container."""
    return desk.engine("exec", desk.container("dovecot"), *words)


def back_up(desk: Desk) -> None:
    """Copy the indexes, and take a recovery point."""
    inside(desk, *DOVEADM, "indexes", "copy")
    take_recovery_point(desk)


def take_recovery_point(desk: Desk) -> None:
    """Take a recovery point, as AWS does every night."""
    backup, efs = desk.client("backup"), desk.client("efs")
    identifier = desk.output("file_system")
    (found,) = efs.describe_file_systems(FileSystemId=identifier)["FileSystems"]
    job = backup.start_backup_job(
        BackupVaultName=desk.output("backup_vault"),
        ResourceArn=found["FileSystemArn"],
        IamRoleArn=desk.output("backup_role"),
    )["BackupJobId"]

    def completed() -> bool:
        state = backup.describe_backup_job(BackupJobId=job)
        assert state["State"] != "FAILED", state
        return state["State"] == "COMPLETED"

    await_true("the recovery point", completed)


def restore(desk: Desk, *arguments: str) -> dict[str, Any]:
    run = desk.operate("restore", *arguments, "--json")
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def flagged(desk: Desk, address: str, mark: str) -> list[str]:
    """Return the flags of a user's messages of a mark, in all folders."""
    words = ("fetch", "-u", address, "flags", "mailbox", "*", "subject", mark)
    lines = inside(desk, "doveadm", "-f", "tab", *words).splitlines()[1:]
    return sorted(line.replace("\\Recent", "").strip() for line in lines)


def test_a_mailbox_comes_into_folders_of_its_own(desk: Desk) -> None:
    """With flags, without interrupting mail; an unknown address or time gives one line."""
    mark = uuid.uuid4().hex
    for number in range(3):
        send(desk, f"{mark} {number}", desk.ann)
    await_true("the mails", lambda: count(desk, desk.ann, mark) == 3)
    inside(desk, "doveadm", "flags", "add", "-u", desk.ann, "\\Seen", "subject", f"{mark} 0")
    back_up(desk)
    lose(desk, desk.ann, mark)
    done = restore(desk, desk.ann)
    assert done["folder"].startswith("Restored 20")
    assert 3 == count(desk, desk.ann, mark)
    assert ["", "", "\\Seen"] == flagged(desk, desk.ann, mark)
    assert 0 == int(inside(desk, "sh", "-c", "ls -d /srv/mail/../aws-backup* 2>/dev/null | wc -l"))
    for arguments, code, words in (
        (("ghost@elsewhere.example",), 67, "there is no mailbox"),
        (
            (desk.ann, "--at", "2020-01-01"),
            65,
            "no recovery point of 2020-01-01 00:00 UTC or before",
        ),
        ((desk.ann, "--folder", "No such"), 69, "No such"),
        ((desk.ann, "--folder", "../ben"), 65, "../ben"),
        (("--all",), 64, "give --yes"),
    ):
        run = desk.operate("restore", *arguments)
        assert (code, "") == (run.returncode, run.stdout), run.stderr
        assert words in run.stderr


@pytest.mark.timeout(240)
def test_the_loss_of_all_mailboxes_loses_no_mail(desk: Desk) -> None:
    """The drill: messages, backup, more messages, loss, restore, replay: each message exists once."""
    mark = uuid.uuid4().hex
    for number in range(4):
        send(desk, f"{mark} {number}", desk.ann, desk.ben)
    for address in (desk.ann, desk.ben):
        await_true("the mails", lambda address=address: count(desk, address, mark) == 4)
    inside(desk, "doveadm", "flags", "add", "-u", desk.ann, "\\Flagged", "subject", f"{mark} 1")
    inside(desk, "doveadm", "mailbox", "create", "-u", desk.ben, "Drill")
    inside(
        desk, "doveadm", "move", "-u", desk.ben, "Drill", "mailbox", "INBOX", "subject", f"{mark} 2"
    )
    back_up(desk)
    for number in range(4, 8):
        send(desk, f"{mark} {number}", desk.ann, desk.ben)
    for address in (desk.ann, desk.ben):
        await_true("the mails", lambda address=address: count(desk, address, mark) == 8)
    # All is gone, and mail goes on before anybody notices.
    inside(desk, "sh", "-c", "rm -rf /srv/mail/* /srv/mail/.[!.]* /srv/indexes/*")
    send(desk, f"{mark} 8", desk.ann, desk.ben)
    await_true("the mail since", lambda: count(desk, desk.ann, mark) == 1)
    done = restore(desk, "--all", "--yes")
    assert {desk.ann, desk.ben} <= {each["address"] for each in done["mailboxes"]}
    assert [] == done["damaged"]
    desk.await_healthy()
    for address in (desk.ann, desk.ben):
        await_true("all mails", lambda address=address: count(desk, address, mark) == 9)
    desk.await_empty_queue()
    subjects = [f"{mark} {number}" for number in range(9)]
    for address in (desk.ann, desk.ben):
        assert [1] * 9 == [count(desk, address, subject) for subject in subjects]
    assert ["\\Flagged"] == flagged(desk, desk.ann, f"{mark} 1")
    words = ("search", "-u", desk.ben, "mailbox", "Drill", "subject", mark)
    assert 1 == len(inside(desk, "doveadm", *words).splitlines())
