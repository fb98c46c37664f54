"""`plexus replay` on the desk: lost messages return from the archive, once."""

from __future__ import annotations

import json
import uuid
from typing import Any

from system.desk import Desk, letter
from wire import await_true


def send(desk: Desk, mark: str, *recipients: str) -> None:
    """Send a message from outside whose header names nobody here."""
    message = letter("world@elsewhere.example", "list@elsewhere.example", mark)
    assert {} == desk.receive("world@elsewhere.example", list(recipients), message.as_bytes())


def count(desk: Desk, address: str, mark: str) -> int:
    """Return how often a message exists, in all folders."""
    found = desk.engine(
        *("exec", desk.container("dovecot"), "doveadm", "search", "-u", address),
        *("mailbox", "*", "subject", mark),
    )
    return len(found.splitlines())


def lose(desk: Desk, address: str, mark: str) -> None:
    """Delete messages permanently."""
    words = ("doveadm", "-o", "mail_plugins/lazy_expunge=no", "expunge", "-u", address)
    desk.engine("exec", desk.container("dovecot"), *words, "mailbox", "*", "subject", mark)


def replay(desk: Desk, *arguments: str) -> dict[str, Any]:
    run = desk.operate("replay", *arguments, "--json")
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_what_was_lost_comes_back_once(desk: Desk) -> None:
    """Also for blind-copy recipients; existing messages, and other mailboxes, do not change."""
    mark = uuid.uuid4().hex
    for number in range(6):
        send(desk, f"{mark} {number}", desk.ann, desk.ben)
    for address in (desk.ann, desk.ben):
        await_true("the mails", lambda address=address: count(desk, address, mark) == 6)

    def recorded() -> bool:
        shown = replay(desk, desk.ann, "--since", "1h", "--dry-run")["mails"]
        return sum(mark in each["subject"] for each in shown) == 6

    await_true("the records", recorded)
    for number in range(4):
        lose(desk, desk.ann, f"{mark} {number}")
    # Asked for twice at once: each mail comes once.
    for _ in range(2):
        assert replay(desk, desk.ann, "--since", "1h")["queued"] >= 6
    await_true("the lost mails", lambda: count(desk, desk.ann, mark) == 6)
    desk.await_empty_queue()
    assert (6, 6) == (count(desk, desk.ann, mark), count(desk, desk.ben, mark))


def test_who_cannot_have_a_replay_is_told(desk: Desk) -> None:
    """An unknown address, an alias or an invalid time gives one line and a documented exit code."""
    for arguments, code, words in (
        (("ghost@elsewhere.example", "--since", "1h"), 67, "there is no mailbox ghost@"),
        (("postmaster@example.org", "--since", "1h"), 67, "it leads to"),
        ((desk.ann, "--since", "lately"), 64, "how long ago"),
        ((desk.ann, "--since", "1h", "--until", "2h"), 64, "--until is not after --since"),
    ):
        run = desk.operate("replay", *arguments)
        assert (code, "") == (run.returncode, run.stdout), run.stderr
        assert words in run.stderr
        assert "Traceback" not in run.stderr
    assert (
        "Nothing was done" in desk.operate("replay", desk.ann, "--since", "1h", "--dry-run").stdout
    )
