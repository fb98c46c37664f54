"""Forwards by the service as a process: how they leave, come back, and stop."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from postal_plexus.directory import Alias, Directory
from service.deliver.bed import DIRECTORY, Bed, laid
from wire import await_true

ANN = "ann@example.org"
AUTHENTIC = {"spam": "PASS", "spf": "PASS"}


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """Everything but `deliver` runs."""
    with laid(tmp_path) as made:
        yield made


def test_a_forward_leaves_by_postfix_in_our_name(bed: Bed) -> None:
    """As it came, below the alias and SES's verdicts; its bounces to a sealed address; the mailbox too."""
    content = (
        b"X-Plexus-Forwarder: ann@example.org\r\nFrom: A <a@b.c>\r\nSubject: plan\r\n\r\nbody\n"
    )
    bed.send("m1", "out@example.org", content=content, times=2)
    bed.start()
    bed.await_deleted(2)
    (mail,) = bed.postfix.mailboxes["friend@else.example"]
    head, _, body = mail.partition(b"\r\n\r\n")
    assert b"body\r\n" == body
    assert head.startswith(b"X-Plexus-Forwarder: out@example.org\r\nX-Plexus-Receipt: m1\r\n")
    assert b"\r\nDelivered-To: out@example.org\r\n" in head
    assert b"\r\nX-Forged-X-Plexus-Forwarder: ann@example.org\r\nFrom: A <a@b.c>\r\n" in head
    assert bed.postfix.senders[0].startswith("postmaster+fwd-")
    assert 1 == len(bed.dovecot.mailboxes[ANN])
    # The bounce of that forward reaches the postmaster; a forged one reaches nobody.
    sealed = bed.postfix.senders[0]
    bed.send("m2", sealed, sender="")
    bed.send("m3", sealed[:-20] + "0" * 8 + "@example.org", sender="")
    bed.await_deleted(4)
    assert 2 == sum(map(len, bed.dovecot.mailboxes.values()))


def test_a_forward_that_keeps_bouncing_stops(bed: Bed) -> None:
    """It is logged as queued, its bounces reach the postmaster and are counted, and the 5th ends it.

    The sender is then told, without a word about where the alias leads, also after a restart; and
    mail is forwarded again once the alias leads somewhere else besides.
    """
    bed.send("m1", "out@example.org")
    bed.start()
    bed.await_deleted(1)
    (line,) = bed.log("forwarded")
    assert "friend@else.example" == line["recipient"]
    sealed = bed.postfix.senders[0]

    def event(number: int, name: str, kind: str, people: str) -> str:
        who = [{"emailAddress": "Friend@Else.example", "status": "5.1.1"}]
        details = {"timestamp": "2026-11-24T04:00:00Z", "feedbackId": f"f{number}", people: who}
        mail = {"messageId": f"out-{number}", "source": sealed, "headers": []}
        return json.dumps({"eventType": name, kind: details, "mail": mail})

    bounces = [event(number, "Bounce", "bounce", "bouncedRecipients") for number in range(4)]
    bed.put(*bounces, *bounces, queue="events")
    bed.await_deleted(8, "events")
    bed.send("m2", "out@example.org")
    bed.await_deleted(2)
    assert 2 == len(bed.postfix.mailboxes["friend@else.example"])
    bed.put(event(5, "Complaint", "complaint", "complainedRecipients"), queue="events")
    bed.await_deleted(9, "events")
    assert ["friend@else.example"] == [line["recipient"] for line in bed.log("forward stopped")]
    # Five notices and the two messages that the alias keeps here.
    assert 7 == len(bed.dovecot.mailboxes[ANN])
    bed.stop()
    lines = [json.loads(line) for line in bed.log_path.read_text().splitlines()]
    (metrics,) = [line for line in lines if "_aws" in line]
    assert (2, 2, 5) == tuple(metrics[k] for k in ("Forwarded", "Delivered", "ForwardsBounced"))

    bed.start()
    bed.send("m3", "out@example.org", **AUTHENTIC)
    bed.await_deleted(3)
    assert 2 == len(bed.postfix.mailboxes["friend@else.example"])
    (bounce,) = bed.stub.get("dump")["bounces"]
    assert "out@example.org" in str(bounce)
    assert "else.example" not in str(bounce)
    more = Alias("more@example.org", ("friend@else.example",))
    changed = Directory(DIRECTORY.domains, DIRECTORY.mailboxes, (*DIRECTORY.aliases, more))
    bed.put_directory(changed.to_json())
    await_true("the directory", lambda: bed.log("directory taken")[-1]["aliases"] == 4)
    bed.send("m4", "out@example.org")
    bed.await_deleted(4)
    assert 3 == len(bed.postfix.mailboxes["friend@else.example"])


def test_a_redirect_that_keeps_bouncing_stops(bed: Bed) -> None:
    """Its bounces reach the user and are counted; from the fifth on his messages say that it rests."""

    def event(number: int, owner: str) -> str:
        who = [{"emailAddress": "Friend@Else.example", "status": "5.1.1"}]
        details = {"timestamp": "2026-11-24T04:00:00Z", "feedbackId": f"r{number}"}
        headers = [{"name": "X-Loop", "value": owner}, {"name": "X-Loop", "value": "x@y.example"}]
        mail = {"messageId": f"out-{number}", "source": ANN, "headers": headers}
        return json.dumps(
            {"eventType": "Bounce", "bounce": details | {"bouncedRecipients": who}, "mail": mail}
        )

    bed.start()
    # What is nobody's redirect, or another's, does not count.
    bed.put(
        *(event(number, ANN) for number in range(4)),
        *(event(9, "ben@example.org"),) * 2,
        queue="events",
    )
    bed.await_deleted(6, "events")
    bed.send("m1", ANN)
    bed.await_deleted(1)
    assert b"X-Plexus-Stopped" not in bed.dovecot.mailboxes[ANN][-1]
    bed.put(event(5, ANN), queue="events")
    bed.await_deleted(7, "events")
    assert [ANN] == [line["sender"] for line in bed.log("forward stopped")]
    bed.send("m2", ANN, "ben@example.org")
    bed.await_deleted(2)
    assert b"\r\nX-Plexus-Stopped: friend@else.example\r\n" in bed.dovecot.mailboxes[ANN][-1]
    assert b"X-Plexus-Stopped" not in bed.dovecot.mailboxes["ben@example.org"][-1]


def test_a_forward_that_comes_back_is_refused(bed: Bed) -> None:
    """Delivered-To names the alias: neither sent on again nor answered."""
    content = b"Delivered-To: out@example.org\r\nSubject: a\r\n\r\n"
    bed.send("m1", "out@example.org", content=content, **AUTHENTIC)
    bed.start()
    bed.await_deleted(1)
    assert {} == dict(bed.postfix.mailboxes)
    (letter,) = bed.dead_letters()
    assert "friend@else.example" == letter["attributes"]["Recipient"]
