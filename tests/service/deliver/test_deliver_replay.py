"""A replay: one mailbox gets back what it had and lacks now, once; nobody else gets anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from postal_plexus.directory import Directory
from postal_plexus.mail.delivered import PREFIX, REPLAY, Record, Replay, read_records, write_replay
from postal_plexus.mail.receipt import Receipt, read_notification
from service.deliver.bed import BUCKET, DIRECTORY, Bed, laid
from wire import await_true

ANN, BEN, TEAM, OUT = (f"{name}@example.org" for name in ("ann", "ben", "team", "out"))


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """Everything runs."""
    with laid(tmp_path) as made:
        made.start()
        yield made


def recorded(bed: Bed) -> list[Record]:
    """Return all records of deliveries."""
    keys = [key for key in bed.stub.get("dump")["objects"] if key.startswith(f"{BUCKET}/{PREFIX}")]
    return [
        record for key in keys for record in read_records(bed.stub.request("GET", f"/{key}")[1])
    ]


def replay(bed: Bed, mailbox: str, times: int = 1, value: str | None = None) -> None:
    """Replay as `plexus replay` does, with the record of what was delivered first."""
    record = next(each for each in recorded(bed))
    mark = value or write_replay(Replay(mailbox, record.mailboxes.get(mailbox, ())))
    attributes = {REPLAY: {"DataType": "String", "StringValue": mark}}
    entry = {"body": record.entry, "attributes": attributes}
    bed.stub.post("send", queue="mail", entries=[entry] * times)


def counts(bed: Bed) -> dict[str, int]:
    return {name: len(had) for name, had in bed.dovecot.mailboxes.items() if had}


def test_who_has_a_mail_is_recorded_before_it_is_forgotten(bed: Bed) -> None:
    """By the recipient that led there; not who was refused, nor who is outside."""
    bed.dovecot.said = lambda name, _before: "550 5.7.1 no" if name == BEN else "250 2.0.0 ok"
    bed.send("m1", TEAM, OUT, "nobody@example.org")
    bed.await_deleted(1)
    (record,) = recorded(bed)
    assert {ANN: (TEAM, OUT)} == record.mailboxes
    receipt = read_notification(record.entry)
    assert isinstance(receipt, Receipt)
    assert ("m1", (TEAM, OUT, "nobody@example.org")) == (
        receipt.message_id,
        receipt.envelope.recipients,
    )


def test_many_deliveries_share_an_object(bed: Bed) -> None:
    """One request for ten messages while there is much to do."""
    for number in range(40):
        bed.send(f"m{number}", ANN)
    bed.await_deleted(40)
    assert 40 == len(recorded(bed))
    keys = [key for key in bed.stub.get("dump")["objects"] if PREFIX in key]
    assert len(keys) < 40


def test_a_lost_mail_comes_back_once_however_often_it_is_replayed(bed: Bed) -> None:
    """The journal calls it delivered; Dovecot is asked. Others, also outside, get nothing."""
    bed.send("m1", TEAM, OUT)
    bed.await_deleted(1)
    bed.dovecot.mailboxes[ANN].clear()
    replay(bed, ANN, times=3)
    bed.await_deleted(4)
    assert {ANN: 1, BEN: 1} == counts(bed)
    assert 1 == len(bed.postfix.mailboxes["friend@else.example"])
    (mail,) = bed.dovecot.mailboxes[ANN]
    head = mail.partition(b"\r\n\r\n")[0]
    # Nothing is answered or sent on again, and no other recipient is shown.
    for field in (b"X-Auto-Response-Suppress: All", b"X-Original-To: team@example.org"):
        assert field in head
    assert b"X-Plexus-Policy: answer=no; redirect=no\r\n" in head


def test_who_has_the_mail_gets_nothing(bed: Bed) -> None:
    """A replay asks Dovecot, which has the message, whatever the journal says."""
    bed.send("m1", ANN)
    bed.await_deleted(1)
    replay(bed, ANN)
    bed.await_deleted(2)
    assert ({ANN: 1}, 1) == (counts(bed), bed.dovecot.asked)


def test_a_lost_journal_changes_nothing(bed: Bed) -> None:
    """A replay restores what the mailbox lacks, and doubles nothing that another one has."""
    bed.send("m1", TEAM)
    bed.await_deleted(1)
    bed.kill()
    for path in (bed.root / "state").iterdir():
        path.unlink()
    bed.dovecot.mailboxes[ANN].clear()
    bed.start()
    replay(bed, ANN, times=2)
    replay(bed, BEN, times=2)
    bed.await_deleted(5)
    assert {ANN: 1, BEN: 1} == counts(bed)


def test_without_an_answer_of_dovecots_it_waits(bed: Bed) -> None:
    """Rather late than twice."""
    bed.send("m1", ANN)
    bed.await_deleted(1)
    question = bed.dovecot.question
    assert question is not None
    question.rename(question.with_name("away"))
    replay(bed, ANN)
    await_true("the mail to wait", lambda: bed.log("deferred"))
    question.with_name("away").rename(question)
    bed.await_deleted(2)
    assert {ANN: 1} == counts(bed)


def test_an_alias_that_leads_elsewhere_now_does_not_matter(bed: Bed) -> None:
    """What a mailbox had, it gets back."""
    bed.send("m1", TEAM)
    bed.await_deleted(1)
    before = len(bed.log("directory taken"))
    bed.put_directory(Directory(DIRECTORY.domains, DIRECTORY.mailboxes).to_json())
    await_true("the directory", lambda: len(bed.log("directory taken")) > before)
    bed.dovecot.mailboxes[BEN].clear()
    replay(bed, BEN)
    bed.await_deleted(2)
    assert {ANN: 1, BEN: 1} == counts(bed)


@pytest.mark.parametrize(
    "mailbox", [TEAM, "ghost@example.org", "ann+x@example.org", "x@else.example"]
)
def test_only_a_mailbox_gets_a_replay(bed: Bed, mailbox: str) -> None:
    """Anything else is a dead letter, so that an operator hears of it."""
    bed.send("m1", ANN)
    bed.await_deleted(1)
    replay(bed, mailbox)
    bed.await_deleted(2)
    assert [mailbox] == [each["attributes"]["Recipient"] for each in bed.dead_letters()]
    assert {ANN: 1} == counts(bed)


@pytest.mark.parametrize("value", ["", "[]", "null", '{"mailbox": 1}', "{" * 5000])
def test_a_mark_of_nonsense_is_a_dead_letter(bed: Bed, value: str) -> None:
    """The attribute of a replay that is no JSON or names no mailbox delivers to nobody."""
    bed.send("m1", ANN)
    bed.await_deleted(1)
    replay(bed, ANN, value=value or " ")
    bed.await_deleted(2)
    assert 1 == len(bed.dead_letters())


def test_what_fails_again_is_a_dead_letter_and_no_bounce(bed: Bed) -> None:
    """The sender has known for long what became of the mail; an old mail is tried as a new one is."""
    bed.send("m1", ANN)
    bed.await_deleted(1)
    bed.dovecot.mailboxes[ANN].clear()
    bed.dovecot.said = lambda _name, before: (
        "451 4.2.0 busy" if before == 1 else "552 5.7.1 no" if before == 2 else "250 2.0.0 ok"
    )
    (record,) = recorded(bed)
    old = json.loads(record.entry)
    old["Message"] = old["Message"].replace("2026-", "2025-")
    mark = {"DataType": "String", "StringValue": write_replay(Replay(ANN, ()))}
    entry = {"body": json.dumps(old), "attributes": {REPLAY: mark}}
    bed.stub.post("send", queue="mail", entries=[entry])
    bed.await_deleted(2)
    assert ["5.7.1 552 5.7.1 no"] == [each["attributes"]["Reason"] for each in bed.dead_letters()]
    assert [] == bed.stub.get("dump")["bounces"]


def test_a_virus_is_not_replayed(bed: Bed) -> None:
    """It is held, and so was never delivered; what an operator released is replayed as that."""
    bed.send("m1", ANN, virus="FAIL")
    bed.await_deleted(1)
    assert [] == recorded(bed)
    bed.send("m2", ANN)
    bed.await_deleted(2)
    (record,) = recorded(bed)
    body = record.entry.replace(
        '\\"virusVerdict\\": {\\"status\\": \\"PASS', '\\"virusVerdict\\": {\\"status\\": \\"FAIL'
    )
    assert body != record.entry
    mark = {"DataType": "String", "StringValue": write_replay(Replay(ANN, ()))}
    bed.dovecot.mailboxes[ANN].clear()
    bed.stub.post("send", queue="mail", entries=[{"body": body, "attributes": {REPLAY: mark}}])
    bed.await_deleted(3)
    assert {} == counts(bed)


def test_s3_that_takes_no_record_holds_no_mail_up(bed: Bed) -> None:
    """A hiccup is tried again; for good it is one line in the log, and the queue forgets the mail."""
    for number, times in enumerate((1, 9)):
        name = f"m{number}"
        bed.stub.put_object(f"{BUCKET}/mail/{name}", b"Subject: a\r\n\r\nhi\r\n")
        bed.stub.post("faults", operation="put", kind="error503", times=times)
        bed.send(name, ANN, stored=False)
        bed.await_deleted(number + 1)
        assert number == len(bed.log("deliveries not recorded"))
    assert {ANN: 2} == counts(bed)
