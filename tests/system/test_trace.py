"""`plexus trace` on the desk: every path of a message, found by each of its ids."""

from __future__ import annotations

import json
import ssl
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from service.managesieve import ManageSieve
from system.desk import Desk, letter
from wire import await_true

WORLD = "world@elsewhere.example"
FILING = """require ["fileinto", "mailbox"];
if header :contains "subject" "filed" {
  fileinto :create "Lists/Traced";
}
"""


def traced(desk: Desk, what: str, *more: str) -> list[dict[str, Any]]:
    """Return the messages that are found; none where the command says so."""
    run = desk.operate("trace", "--json", "--since", "1h", *more, what)
    assert run.returncode in (0, 65), run.stderr
    return json.loads(run.stdout)["mails"]


def await_trace(desk: Desk, what: str, recipient: str, state: str) -> dict[str, Any]:
    """Wait until the one mail of a name has come so far for a recipient.

    Each service's lines come when they come: what was filed is told by deliver too.
    """

    def come() -> dict[str, Any] | None:
        mails = traced(desk, what)
        states = {each["address"]: each["state"] for mail in mails for each in mail["recipients"]}
        places = {step["where"] for mail in mails for step in mail["steps"]}
        if states.get(recipient) != state or ("Dovecot" in places and "deliver" not in places):
            return None
        return mails[0]

    found = await_true(f"{state} for {recipient} of {what}", come)
    assert found is not None
    assert [found["message_ids"]] == [each["message_ids"] for each in traced(desk, what)]
    return found


def recipient(mail: dict[str, Any], address: str) -> dict[str, Any]:
    """Return what a document says of a recipient."""
    return next(each for each in mail["recipients"] if each["address"] == address)


def found_by_every_name(desk: Desk, mail: dict[str, Any]) -> bool:
    """Return whether each id of the services leads to the same mail."""
    names = [name for kind in ("receipt", "queue", "ses") for name in mail["ids"][kind]]
    assert names
    return all([mail["message_ids"]] == [m["message_ids"] for m in traced(desk, n)] for n in names)


def content(mark: str, subject: str, body: str = "hello") -> bytes:
    """Return a mail whose Message-ID is its mark's."""
    head = f"From: <{WORLD}>\r\nMessage-ID: <{mark}@elsewhere.example>\r\nSubject: {subject}"
    return f"{head} {mark}\r\n\r\n{body}\r\n".encode()


@pytest.fixture(scope="module")
def filter_of_ben(desk: Desk) -> Iterator[None]:
    """Set a filter that files."""
    context = ssl.create_default_context(cafile=desk.ca_file)
    session = ManageSieve(desk.endpoint("sieve")[1], context, desk.ben, desk.password(desk.ben))
    session.activate("my-rules", FILING)
    yield
    session.activate("my-rules", "keep;")
    session.close()


@pytest.mark.usefixtures("filter_of_ben")
def test_a_mail_that_a_filter_filed(desk: Desk) -> None:
    """Incoming: SES, S3, deliver, Dovecot, the folder and the rule; found by id, address and subject."""
    mark = uuid.uuid4().hex
    sender = f"{mark}@elsewhere.example"
    desk.receive(sender, [desk.ben], content(mark, "filed"))
    mail = await_trace(desk, f"<{mark}@elsewhere.example>", desk.ben, "delivered")
    filed = recipient(mail, desk.ben)
    assert ("Lists/Traced", "my-rules: line 3") == (filed["folder"], filed["rule"])
    assert {"SES", "S3", "deliver", "Dovecot"} == {step["where"] for step in mail["steps"]}
    assert found_by_every_name(desk, mail)
    assert [mail["ids"]] == [each["ids"] for each in traced(desk, sender.upper())]
    assert [mail["ids"]] == [each["ids"] for each in traced(desk, f"FILED {mark}")]
    told = desk.operate("trace", f"{mark}@elsewhere.example")
    assert "in the folder Lists/Traced, by the rule my-rules: line 3" in told.stdout
    assert "" == told.stderr


@pytest.mark.parametrize(
    ("to", "state", "words"),
    [
        ("friend@elsewhere.example", "arrived", "250 2.6.0 Message received"),
        ("bounce@simulator.amazonses.com", "failed", "550 5.1.1 user unknown"),
    ],
)
def test_a_mail_that_a_user_sent(desk: Desk, to: str, state: str, words: str) -> None:
    """Outgoing: Postfix, SES, and the other server's reply; found by Message-ID, queue id and SES's id."""
    mark = uuid.uuid4().hex
    message = letter(desk.ann, to, mark)
    message["Message-ID"] = f"<{mark}@laptop.example>"
    with desk.submission(desk.ann) as client:
        client.send_message(message)
    mail = await_trace(desk, f"{mark}@laptop.example", to, state)
    assert words in recipient(mail, to)["words"]
    assert [1, 1] == [len(mail["ids"][kind]) for kind in ("queue", "ses")]
    assert found_by_every_name(desk, mail)


def test_an_alias_that_leads_outside(desk: Desk) -> None:
    """A forward is one path in and out, found by the alias and the ids of both directions."""
    mark = uuid.uuid4().hex
    desk.receive(WORLD, ["away@example.org"], content(mark, "away"))
    mail = await_trace(desk, f"{mark}@elsewhere.example", "friend@elsewhere.example", "arrived")
    assert [1, 1, 1] == [len(mail["ids"][kind]) for kind in ("receipt", "queue", "ses")]
    assert found_by_every_name(desk, mail)
    assert mail["ids"] in [each["ids"] for each in traced(desk, "away@example.org")]


def test_a_mail_that_nobody_gets(desk: Desk) -> None:
    """An unknown recipient of an accepted message: failed, and a dead letter with the reason."""
    sender = f"{uuid.uuid4().hex}@elsewhere.example"
    desk.receive_with_verdicts(b"Subject: x\r\n\r\nx\r\n", "nobody@example.org", sender, spf="FAIL")
    mail = await_trace(desk, sender, "nobody@example.org", "held")
    assert "5.1.1 no such mailbox" == recipient(mail, "nobody@example.org")["words"]


def test_a_held_mail_says_why(desk: Desk) -> None:
    """A message with a virus is a dead letter, found by Message-ID."""
    mark = uuid.uuid4().hex
    virus = r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
    desk.receive(WORLD, [desk.ann], content(mark, "held", virus))
    mail = await_trace(desk, f"{mark}@elsewhere.example", desk.ann, "held")
    assert "virus" == recipient(mail, desk.ann)["words"]


def test_a_mail_on_its_way_says_what_it_waits_for(desk: Desk) -> None:
    """While SES refuses, it says that the message waits in Postfix's queue, since when, and SES's reply."""
    mark = uuid.uuid4().hex
    faults = desk.directory / "ses" / "faults.json"
    try:
        # Not the greeting: Postfix may have kept a connection.
        faults.write_text('{"smtp_reply": "454 Throttling failure: Daily message quota exceeded."}')
        desk.submit(desk.ann, "later@elsewhere.example", mark)
        mail = await_trace(desk, f"mark {mark}", "later@elsewhere.example", "waiting")
        assert mail["under_way"]
        told = desk.operate("trace", f"mark {mark}").stdout
        assert "Daily message quota exceeded" in told
        assert ", since 20" in told
    finally:
        faults.unlink(missing_ok=True)
    desk.engine("exec", desk.container("postfix"), "postqueue", "-f")
    mail = await_trace(desk, f"mark {mark}", "later@elsewhere.example", "arrived")
    assert not mail["under_way"]


def test_what_ses_refused_left_no_trace(desk: Desk) -> None:
    """For a recipient that SES refused, it lists possible reasons, and whether SES accepts the address now."""
    unknown = f"{uuid.uuid4().hex}@example.org"
    assert {unknown} == set(desk.receive(WORLD, [desk.ben, unknown], content(unknown, "to nobody")))
    run = desk.operate("trace", unknown)
    assert (65, "") == (run.returncode, run.stdout)
    assert f"SES now refuses (550, no receipt rule names it) mail to {unknown}." in run.stderr
    assert "leaves no trace here" in run.stderr
    assert "SES now takes mail to" in desk.operate("trace", "ann+new@example.org").stderr
    empty = desk.operate("trace", "--since", "2026-01-02", "--until", "2026-01-01", unknown)
    assert 64 == empty.returncode
