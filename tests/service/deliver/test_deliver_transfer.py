"""The transfer to Dovecot by the service as a process, where recipients of one copy fare differently."""

from __future__ import annotations

from pathlib import Path

from service.deliver.bed import laid
from wire import await_true


def test_a_loop_is_told_of_once_while_dovecot_comes_back(tmp_path: Path) -> None:
    """One recipient loops, the other one waits for Dovecot: one dead letter and one delivery."""
    with laid(tmp_path) as bed:
        bed.dovecot.stop()
        looping = b"Delivered-To: ann@example.org\r\nSubject: a\r\n\r\n"
        bed.send("m1", "team@example.org", content=looping)
        bed.start()
        await_true("the stop", lambda: bed.log("intake stopped"))
        bed.dovecot.start()
        bed.await_deleted(1)
        told = [letter["attributes"]["Recipient"] for letter in bed.dead_letters()]
        assert ["ann@example.org"] == told
        delivered = {name: len(mails) for name, mails in bed.dovecot.mailboxes.items()}
        assert {"ben@example.org": 1} == delivered
