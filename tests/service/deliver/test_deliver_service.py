"""The service as a process: real sockets on every side, and what must hold on each of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus import cpython_mails
from postal_plexus.directory import Directory, Mailbox
from service.deliver.bed import DIRECTORY, ROOT, Bed, laid, without_trace
from wire import await_true

ANN, BEN, CAT = (f"{name}@example.org" for name in ("ann", "ben", "cat"))
AUTHENTIC = {"spam": "PASS", "spf": "PASS"}
FORGED = {"spf": "FAIL", "dmarc": "FAIL"}


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """Everything but `deliver` runs."""
    with laid(tmp_path) as made:
        yield made


ODD = {
    "one octet": b"x",
    "nothing": b"",
    "no header": b"hello\r\nworld\r\n",
    "binary": bytes(range(256)) * 300,
    "dots": b"\r\n.\r\n..\r\n.x\r\n" * 20,
    "bare": b"Subject: a\n\nb\rc\n.\n.\r\n\r.\r",
    "long lines": b"Subject: a\r\n\r\n" + b"y" * 300_000,
}


def crlf(content: bytes) -> bytes:
    """Return the content with CRLF line ends, the last line with one too."""
    text = re.sub(rb"\r\n|\r|\n", b"\r\n", content)
    return text if text.endswith(b"\r\n") or not text else text + b"\r\n"


@pytest.mark.parametrize("chunking", [True, False], ids=["BDAT", "DATA"])
def test_content_in_is_content_out(tmp_path: Path, chunking: bool) -> None:
    """CPython's messages and odd ones: below our trace headers, octet for octet with CRLF ends."""
    mails = {**cpython_mails(), **ODD}
    with laid(tmp_path, chunking=chunking) as bed:
        for number, content in enumerate(mails.values()):
            bed.send(f"m{number}", ANN, content=content, raw=number % 2 == 0)
        bed.start()
        bed.await_deleted(len(mails))
        received = {
            int(mail.split(b"X-Plexus-Receipt: m")[1].split(b"\r\n")[0]): without_trace(mail)
            for mail in bed.dovecot.mailboxes[ANN]
        }
    assert len(mails) == len(received)
    for number, content in enumerate(mails.values()):
        assert crlf(content) == received[number]


def test_trace_headers_are_ses_words(bed: Bed) -> None:
    """Receipt, verdicts and authentication results on top; a forged copy is renamed."""
    forged = b"X-Plexus-Verdicts: spam=PASS\r\nSubject: a\r\n\r\n"
    bed.send("m1", ANN, content=forged, spam="FAIL", virus="PASS")
    bed.start()
    bed.await_deleted(1)
    (mail,) = bed.dovecot.mailboxes[ANN]
    assert mail.startswith(
        b"X-Plexus-Receipt: m1\r\n"
        b"X-Plexus-Verdicts: spam=FAIL; virus=PASS; spf=PASS; dkim=PASS; dmarc=PASS\r\n"
        b"Authentication-Results: mail.example.org; spf=pass; dkim=pass; dmarc=pass\r\n"
        b"X-Plexus-Policy: answer=no\r\n"
        b"X-Original-To: ann@example.org\r\n"
        b"X-Auto-Response-Suppress: All\r\n"
        b"X-Forged-X-Plexus-Verdicts: spam=PASS\r\n"
    )


def test_each_recipient_by_itself_and_only_those_still_owed(bed: Bed) -> None:
    """One delivered, one deferred twice, one refused: two more offers to the second alone."""
    said = {BEN: ["451 4.3.0 later", "452 4.2.2 full", "250 2.0.0 Saved"], CAT: ["550 5.7.1 no"]}
    bed.dovecot.said = lambda name, before: said.get(name, ["250 2.0.0 Saved"])[before]
    bed.send("m1", ANN, BEN, CAT, **FORGED)
    bed.start()
    bed.await_deleted(1)
    assert {ANN: 1, BEN: 3, CAT: 1} == dict(bed.dovecot.offered)
    assert (1, 1, 0) == tuple(len(bed.dovecot.mailboxes[name]) for name in (ANN, BEN, CAT))
    assert ["a@b.c"] * 5 == bed.dovecot.senders  # each in a transaction of its own
    (letter,) = bed.dead_letters()
    assert CAT == letter["attributes"]["Recipient"]
    assert letter["attributes"]["Reason"].startswith("5.7.1 550 5.7.1 no")


def test_repeated_and_parallel_notifications_store_once(bed: Bed) -> None:
    """Five copies of one notification, and the alias beside the mailbox: once in each mailbox."""
    bed.send("m1", "team@example.org", ANN, "ann+tag@example.org", times=5)
    bed.start()
    bed.await_deleted(5)
    assert (1, 1) == (len(bed.dovecot.mailboxes[ANN]), len(bed.dovecot.mailboxes[BEN]))


@pytest.mark.parametrize("holds", [True, False])
def test_killed_before_the_reply_is_recorded(bed: Bed, holds: bool) -> None:
    """SIGKILL between Dovecot's storing and our record: it is asked, and never has two copies.

    With the copy thrown away (as if Dovecot had died as well) it gets its one copy then.
    """
    bed.dovecot.said = lambda _name, before: None if before == 0 else "250 2.0.0 Saved"
    bed.send("m1", ANN)
    bed.start()
    assert bed.dovecot.silent.wait(20)
    bed.kill()
    if not holds:
        bed.dovecot.mailboxes[ANN].clear()
    bed.start()
    bed.await_deleted(1)
    assert bed.dovecot.asked >= 1
    assert 1 == len(bed.dovecot.mailboxes[ANN])
    assert (1 if holds else 2) == bed.dovecot.offered[ANN]


def test_dovecot_dies_after_storing(bed: Bed) -> None:
    """The connection breaks without a reply: asked, not sent again."""
    bed.dovecot.said = lambda _name, before: None if before == 0 else "250 2.0.0 Saved"
    bed.send("m1", ANN)
    bed.start()
    assert bed.dovecot.silent.wait(20)
    bed.dovecot.stop()
    time.sleep(0.2)
    bed.dovecot.start()
    bed.await_deleted(1)
    assert (1, 1) == (len(bed.dovecot.mailboxes[ANN]), bed.dovecot.offered[ANN])


def test_an_unanswered_question_waits(bed: Bed) -> None:
    """Dovecot does not say: the mail is neither sent again nor given up."""
    bed.dovecot.said = lambda _name, before: None if before == 0 else "250 2.0.0 Saved"
    bed.send("m1", ANN)
    bed.start()
    assert bed.dovecot.silent.wait(20)
    bed.dovecot.stop()
    question, bed.dovecot.question = bed.dovecot.question, None
    bed.dovecot.start()
    await_true("a question without answer", lambda: bed.log("asked"))
    assert "no answer" == bed.log("asked")[0]["answer"]
    assert 1 == bed.dovecot.offered[ANN]
    bed.dovecot.stop()
    bed.dovecot.question = question
    bed.dovecot.start()
    bed.await_deleted(1)
    assert 1 == bed.dovecot.offered[ANN]


def test_killed_after_the_record_and_before_the_delete(bed: Bed) -> None:
    """The queue never heard of it: the notification comes again, and nothing is owed."""
    bed.stub.post("faults", operation="delete", kind="error500", times=8)
    bed.send("m1", ANN)
    bed.start()
    await_true("the delivery", lambda: bed.log("delivered"))
    bed.kill()
    bed.start()
    bed.await_deleted(1)
    assert (1, 0) == (bed.dovecot.offered[ANN], bed.dovecot.asked)
    assert bed.log("repeated")


def test_a_lost_volume_asks_before_it_sends(bed: Bed) -> None:
    """Journal gone, notification comes again: Dovecot knows."""
    bed.stub.post("faults", operation="delete", kind="error500", times=8)
    bed.send("m1", ANN)
    bed.start()
    await_true("the delivery", lambda: bed.log("delivered"))
    bed.kill()
    for path in (bed.root / "state").iterdir():
        path.unlink()
    bed.start()
    bed.await_deleted(1)
    assert (1, 1) == (bed.dovecot.offered[ANN], bed.dovecot.asked)


def test_dovecot_away_stops_the_intake_and_burns_no_receives(bed: Bed) -> None:
    """Nothing is received while it is away but what was under way; it resumes by itself."""
    bed.dovecot.stop()
    for number in range(30):
        bed.send(f"m{number}", ANN)
    bed.start()
    await_true("the stop", lambda: bed.log("intake stopped"))
    time.sleep(1.0)
    calls = bed.stub.get("stats")["queues"]["mail"]["receive_calls"]
    time.sleep(1.0)
    stats = bed.stub.get("stats")["queues"]["mail"]
    assert (calls, 1) == (stats["receive_calls"], len(bed.log("intake stopped")))
    bed.dovecot.start()
    bed.await_deleted(30)
    assert 30 == len(bed.dovecot.mailboxes[ANN])
    assert 1 == len(bed.log("intake resumed"))


def test_setup_notifications_vanish_and_nonsense_is_dead_lettered_whole(bed: Bed) -> None:
    """With the reason; nothing is retried for days, nothing stops the service."""
    setup = json.dumps(
        {"notificationType": "Received", "mail": {"messageId": "AMAZON_SES_SETUP_NOTIFICATION"}}
    )
    bed.put(setup, "no json", json.dumps({"notificationType": "Bounce", "mail": {}}))
    bed.send("m1", ANN)
    bed.start()
    bed.await_deleted(4)
    letters = {letter["body"]: letter["attributes"]["Reason"] for letter in bed.dead_letters()}
    assert 2 == len(letters)
    assert "not JSON" in letters["no json"]
    assert 1 == len(bed.dovecot.mailboxes[ANN])


def test_an_unknown_mailbox_is_bounced_where_that_is_safe(bed: Bed) -> None:
    """An authenticated sender gets one bounce through SES; no other mailbox changes."""
    bed.send("m1", "nobody@example.org", ANN, times=2, **AUTHENTIC)
    bed.start()
    bed.await_deleted(2)
    (bounce,) = bed.stub.get("dump")["bounces"]
    assert "m1" == bounce["OriginalMessageId"]
    assert "nobody@example.org" == bounce["BouncedRecipientInfoList.member.1.Recipient"]
    assert ([], 1) == (bed.dead_letters(), len(bed.dovecot.mailboxes[ANN]))


@pytest.mark.parametrize("sender", ["a@b.c", ""])
def test_an_unsafe_bounce_is_a_dead_letter(bed: Bed, sender: str) -> None:
    """Not authentic, or the null sender: no backscatter."""
    bed.send("m1", "nobody@example.org", sender=sender, **({} if not sender else FORGED))
    bed.start()
    bed.await_deleted(1)
    assert [] == bed.stub.get("dump")["bounces"]
    (letter,) = bed.dead_letters()
    assert "5.1.1 no such mailbox" == letter["attributes"]["Reason"]


def test_a_refused_bounce_is_a_dead_letter(bed: Bed) -> None:
    """If SES refuses the bounce, the operator gets a dead letter instead."""
    bed.stub.post("faults", operation="bounce", kind="error500")
    bed.send("m1", "nobody@example.org", **AUTHENTIC)
    bed.start()
    bed.await_deleted(1)
    assert ([], 1) == (bed.stub.get("dump")["bounces"], len(bed.dead_letters()))


def test_a_flood_of_bounces_holds_up_nobody_else(bed: Bed) -> None:
    """SES takes a bounce a second: mail to many unknown addresses waits without the workers."""
    for number in range(50):
        bed.send(f"flood{number}", f"nobody{number}@example.org", **AUTHENTIC)
    bed.send("m1", ANN)
    bed.start()
    await_true("the mail behind it", lambda: len(bed.dovecot.mailboxes[ANN]) == 1, 15.0)
    assert 1 <= len(bed.stub.get("dump")["bounces"]) <= 20
    assert [] == bed.dead_letters()


def test_a_missing_object_is_retried_and_then_dead_lettered(bed: Bed) -> None:
    """Five receives; the other messages are not held up."""
    bed.send("gone", ANN, stored=False, **FORGED)
    bed.send("m1", ANN)
    bed.start()
    bed.await_deleted(2)
    (letter,) = bed.dead_letters()
    assert "the content is gone" in letter["attributes"]["Reason"]
    assert 1 == len(bed.dovecot.mailboxes[ANN])


@pytest.mark.parametrize("kind", ["error500", "throttle", "expired", "drop-before", "truncate"])
def test_trouble_with_s3_passes(bed: Bed, kind: str) -> None:
    """Retried within the attempt or after it; a content that was cut short is never stored."""
    bed.stub.post("faults", operation="get", kind=kind, times=3)
    content = b"Subject: a\r\n\r\n" + b"0123456789abcdef\r\n" * 30_000
    bed.send("m1", ANN, content=content)
    bed.start()
    bed.await_deleted(1)
    (mail,) = bed.dovecot.mailboxes[ANN]
    assert content == without_trace(mail)


def test_aws_down_is_one_log_line_and_passes(bed: Bed) -> None:
    """The emulator is killed and comes back: mail flows again by itself."""
    bed.send("m1", ANN)
    bed.start()
    bed.await_deleted(1)
    bed.stub.kill()
    await_true("the line", lambda: bed.log("aws unreachable"))
    time.sleep(2)
    assert bed.process is not None
    assert bed.process.poll() is None
    bed.stub.start()
    bed.send("m2", ANN)
    await_true("the second mail", lambda: len(bed.dovecot.mailboxes[ANN]) == 2, 30)
    lines = [each for each in bed.log("aws unreachable") if each["operation"] == "ReceiveMessage"]
    assert 1 == len(lines)


@pytest.mark.parametrize(
    "header", [b"Received: x\r\n" * 51, b"Delivered-To: ann@example.org\r\n"], ids=["hops", "again"]
)
def test_loops_end_in_the_dead_letters(bed: Bed, header: bytes) -> None:
    """And are never answered, however authentic the sender."""
    bed.send("m1", ANN, content=header + b"Subject: a\r\n\r\n", **AUTHENTIC)
    bed.start()
    bed.await_deleted(1)
    assert ([], {}) == (bed.stub.get("dump")["bounces"], dict(bed.dovecot.mailboxes))
    assert "5.4.6 loop" in bed.dead_letters()[0]["attributes"]["Reason"]


def test_feedback_becomes_one_notice(bed: Bed) -> None:
    """SES's event, twice: one readable report in the sender's mailbox; nonsense: dead letter.

    What concerns nobody is logged: another kind of event, SES's word that it knows the topic.
    """
    event = json.dumps(
        {
            "eventType": "Bounce",
            "bounce": {
                "timestamp": "2026-11-24T04:00:00Z",
                "feedbackId": "f",
                "bouncedRecipients": [{"emailAddress": "x@else.example", "status": "5.1.1"}],
            },
            "mail": {"messageId": "out-1", "source": "ann@example.org", "headers": []},
        }
    )
    known = "Successfully validated SNS topic for Amazon SES event publishing."
    bed.put(event, event, "nonsense", json.dumps({"eventType": "New"}), known, queue="events")
    bed.start()
    bed.await_deleted(5, "events")
    (notice,) = bed.dovecot.mailboxes[ANN]
    assert b"report-type=delivery-status" in notice
    assert [""] == bed.dovecot.senders
    assert ["nonsense"] == [letter["body"] for letter in bed.dead_letters()]
    assert {"New", "topic validated"} == {line["kind"] for line in bed.log("event")}


def test_sigterm_finishes_what_is_in_flight(bed: Bed) -> None:
    """A delivery under way completes, what has not begun is released at once, exit status 0."""
    bed.dovecot.said = lambda _name, _before: time.sleep(1.0) or "250 2.0.0 Saved"
    for number in range(50):
        bed.send(f"m{number}", ANN)
    bed.start()
    await_true("deliveries", lambda: bed.dovecot.offered[ANN] >= 4)
    status, seconds = bed.stop()
    assert (0, True) == (status, seconds < 25)
    assert bed.dovecot.offered[ANN] == len(bed.log("delivered"))
    bed.dovecot.said = lambda _name, _before: "250 2.0.0 Saved"
    bed.start()
    bed.await_deleted(50)
    assert 50 == len(bed.dovecot.mailboxes[ANN])


def test_sigterm_may_come_again_and_again(bed: Bed) -> None:
    """Found by the long chaos run: a second one within the first one's handler hung the service."""
    for number in range(1, 5):
        bed.start()
        await_true("a start", lambda wanted=number: len(bed.log("started")) == wanted)
        status, seconds = bed.stop(times=500)
        assert (0, True) == (status, seconds < 25)


def test_sigterm_breaks_off_what_does_not_end(bed: Bed) -> None:
    """A server that never replies: released within 25 s, and asked about afterwards."""
    bed.dovecot.said = lambda _name, before: None if before == 0 else "250 2.0.0 Saved"
    bed.send("m1", ANN)
    bed.start()
    assert bed.dovecot.silent.wait(20)
    status, seconds = bed.stop()
    assert (0, True) == (status, seconds < 25)
    bed.start()
    bed.await_deleted(1)
    assert 1 == len(bed.dovecot.mailboxes[ANN])


def test_the_directory_is_followed_and_a_broken_one_refused(bed: Bed) -> None:
    """Files for the other containers, replaced whole; the last good one outlives S3 and a restart."""
    bed.start()
    await_true("the first", (bed.root / "dovecot-passwd").exists)
    mode = (bed.root / "dovecot-passwd").stat().st_mode & 0o777
    assert 0o640 == mode
    more = Directory(
        DIRECTORY.domains, (*DIRECTORY.mailboxes, Mailbox("new@example.org", "{PLAIN}x"))
    )
    bed.put_directory(more.to_json())
    await_true("the second", lambda: b"new@" in (bed.root / "dovecot-passwd").read_bytes())
    bed.put_directory(b'{"version": 1}')
    await_true("the refusal", lambda: bed.log("directory refused"))
    await_true("its metric", lambda: b'"DirectoryRefused": 1' in bed.log_path.read_bytes())
    # `plexus doctor` asks the log which one is in use.
    bed.put_directory(more.to_json())
    await_true("the second again", lambda: 3 == len(bed.log("directory taken")))
    bed.put_directory(b'{"version": 1}')
    await_true("the second refusal", lambda: 2 == len(bed.log("directory refused")))
    bed.send("m1", "new@example.org")
    bed.await_deleted(1)
    bed.stop()
    bed.stub.post("faults", operation="get", kind="error503", times=50)
    bed.send("m2", "new@example.org")
    bed.start()
    await_true("the start from the last good one", lambda: len(bed.log("started")) == 2)
    assert [False, True] == [each["directory"] for each in bed.log("started")]


def test_a_forty_megabyte_mail_in_constant_memory(bed: Bed) -> None:
    """Three at once: their octets arrive, and the process stays below 40 MB."""
    content = b"Subject: big\r\n\r\n" + (b"x" * 76 + b"\r\n") * (40 * 1024 * 1024 // 78)
    for number in range(3):
        bed.send(f"m{number}", ANN, content=content)
    bed.start()
    bed.await_deleted(3)
    assert bed.process is not None
    status = Path(f"/proc/{bed.process.pid}/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    assert 3 == len(bed.dovecot.mailboxes[ANN])
    assert all(content == without_trace(mail) for mail in bed.dovecot.mailboxes[ANN])
    assert peak < 40


def test_a_wrong_environment_is_said_and_ends_with_78() -> None:
    """One line that names each variable."""
    ended = subprocess.run(
        [sys.executable, "-m", "postal_plexus.deliver"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 78 == ended.returncode
    assert 1 == len(ended.stderr.splitlines())
    assert "PLEXUS_QUEUE_URL is not set" in ended.stderr


def test_the_heartbeat_and_the_metrics(bed: Bed) -> None:
    """The file is there from the start; the last metrics line tells what was done."""
    bed.send("m1", ANN)
    bed.start()
    bed.await_deleted(1)
    assert (bed.root / "heartbeat").exists()
    bed.stop()
    lines = [json.loads(line) for line in bed.log_path.read_text().splitlines()]
    (metrics,) = [line for line in lines if "_aws" in line]
    named = metrics["_aws"]["CloudWatchMetrics"][0]["Metrics"]
    assert all(metric["Name"] in metrics for metric in named)
    assert (1, 1, 0) == (metrics["Received"], metrics["Delivered"], metrics["Failed"])
