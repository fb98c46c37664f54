"""`plexus dead-letters` on the desk: show, deliver, drop."""

from __future__ import annotations

import json
import uuid
from typing import Any

from system.desk import Desk
from wire import await_true


def letter_with(desk: Desk, text: str) -> dict[str, Any]:
    """Wait for the dead letter that has a text among its recipients or its reason."""

    def found() -> dict[str, Any] | None:
        run = desk.operate("dead-letters list", "--json")
        assert run.returncode == 0, run.stderr
        return next((each for each in json.loads(run.stdout) if text in json.dumps(each)), None)

    letter = await_true(f"a dead letter with {text}", found)
    assert letter is not None
    return letter


def test_a_held_mail_is_delivered_once_it_is_released(desk: Desk) -> None:
    """After a false alarm of the virus scan, one command delivers the message."""
    mark = uuid.uuid4().hex
    content = f"X-Mark: {mark}\r\nSubject: no virus\r\n\r\nhello\r\n".encode()
    sender = f"{mark}@elsewhere.example"
    desk.receive_with_verdicts(content, desk.ann, sender, virus="FAIL")
    letter = letter_with(desk, sender)
    assert ("virus", sender, [desk.ann]) == (
        letter["reason"],
        letter["sender"],
        letter["recipients"],
    )
    assert desk.operate("dead-letters show", letter["id"][:8]).stdout.count(letter["object"]) == 1
    run = desk.operate("dead-letters deliver", letter["id"][:8])
    assert (0, "") == (run.returncode, run.stderr)
    with desk.mailbox(desk.ann) as mailbox:
        assert 1 == len(mailbox.await_mail("HEADER", "X-Mark", mark))
    assert letter["id"] not in desk.operate("dead-letters list", "--json").stdout


def test_what_is_dropped_is_gone_and_nobody_drops_unasked(desk: Desk) -> None:
    """Without --yes nothing is dropped: 64. What is no message cannot be delivered: 65."""
    body = f"{uuid.uuid4().hex} is no notification"
    desk.enqueue(body)

    def found() -> str | None:
        every = [
            each["id"] for each in json.loads(desk.operate("dead-letters list", "--json").stdout)
        ]
        shown = (
            json.loads(desk.operate("dead-letters show", "--json", *every).stdout) if every else []
        )
        return next((each["id"] for each in shown if each["entry"] == body), None)

    letter = await_true("the dead letter", found)
    assert letter is not None
    assert 64 == desk.operate("dead-letters drop", letter).returncode
    assert 65 == desk.operate("dead-letters deliver", letter).returncode  # it is no mail
    assert letter == found()
    assert 0 == desk.operate("dead-letters drop", letter, "--yes").returncode
    assert found() is None


def test_an_unknown_id_is_told(desk: Desk) -> None:
    """Exit code 65, with the id."""
    run = desk.operate("dead-letters deliver", "ffffffff-none")
    assert 65 == run.returncode
    assert "no dead letter has the id ffffffff-none" in run.stderr
