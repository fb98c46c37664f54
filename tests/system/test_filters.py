"""Users' filters on the desk: uploaded by ManageSieve, with replies through Postfix and SES."""

from __future__ import annotations

import ssl
import uuid
from email import message_from_bytes
from email.policy import default

import pytest

from service.managesieve import ManageSieve
from system.desk import Desk, letter
from wire import await_true

VACATION = """require ["vacation"];
vacation :days 1 :subject "Away {mark}" "Back on Monday.";
"""


def test_vacation_answers_the_envelope_sender(desk: Desk) -> None:
    """A vacation reply goes to an outside sender from the user's own address, through SES.

    To the envelope sender, whatever From says; as an automatic answer that nothing answers (RFC 3834,
    sections 4 and 5).
    """
    mark = uuid.uuid4().hex
    context = ssl.create_default_context(cafile=desk.ca_file)
    session = ManageSieve(desk.endpoint("sieve")[1], context, desk.ben, desk.password(desk.ben))
    session.activate("away", VACATION.replace("{mark}", mark))
    try:
        question = letter("somebody-else@elsewhere.example", desk.ben, uuid.uuid4().hex)
        sender = f"stranger-{mark}@elsewhere.example"
        assert {} == desk.receive(sender, [desk.ben], question.as_bytes())
        sent = desk.await_outbox(f"Away {mark}")
        answer = message_from_bytes(sent.content, policy=default)
        assert [sender] == sent.recipients
        assert desk.ben in str(answer["From"])
        assert "auto-replied" in str(answer["Auto-Submitted"])
        assert "Back on Monday." in answer.get_body().get_content()
    finally:
        session.activate("away", "keep;")
        session.close()


def test_vacation_answers_for_an_alias_and_a_catch_all_and_no_forged_sender(desk: Desk) -> None:
    """The user's addresses come from the directory, without `:addresses`; unauthenticated senders get none."""
    mark = uuid.uuid4().hex
    context = ssl.create_default_context(cafile=desk.ca_file)
    session = ManageSieve(desk.endpoint("sieve")[1], context, desk.ann, desk.password(desk.ann))
    session.activate("away", VACATION.replace("{mark}", mark))
    try:
        desk.receive_with_verdicts(
            letter("a@elsewhere.example", desk.ann, mark).as_bytes(),
            desk.ann,
            sender=f"forged-{mark}@elsewhere.example",
            spf="FAIL",
            dmarc="FAIL",
        )
        senders = [f"{kind}-{mark}@elsewhere.example" for kind in ("alias", "caught")]
        for sender, recipient in zip(
            senders, ("info@example.org", "anybody@example.net"), strict=True
        ):
            question = letter("somebody@elsewhere.example", recipient, uuid.uuid4().hex)
            assert {} == desk.receive(sender, [recipient], question.as_bytes())
        await_true("both answers", lambda: len(desk.outbox(f"Away {mark}")) == 2)
        assert {(sender,) for sender in senders} == {
            tuple(sent.recipients) for sent in desk.outbox(f"Away {mark}")
        }
        with desk.mailbox(desk.ann) as mailbox:
            (uid,) = mailbox.await_mail("SUBJECT", f'"mark {mark}"')
            assert b"X-Auto-Response-Suppress: All" in mailbox.content(uid)
    finally:
        session.activate("away", "keep;")
        session.close()


@pytest.mark.parametrize(
    ("verdicts", "folder"),
    [
        ({"dmarc": "FAIL", "dmarcPolicy": "REJECT"}, "Junk"),
        ({"dmarc": "FAIL", "dmarcPolicy": "QUARANTINE"}, "Junk"),
        ({"dmarc": "FAIL", "dmarcPolicy": "NONE"}, "INBOX"),
    ],
    ids=["reject", "quarantine", "none"],
)
def test_what_its_domain_disowns_goes_to_junk(
    desk: Desk, verdicts: dict[str, str], folder: str
) -> None:
    """A message that fails DMARC goes to Junk if its domain asks for it, also one of our domains."""
    mark = uuid.uuid4().hex
    forged = letter(desk.ann, desk.ben, mark).as_bytes()
    desk.receive_with_verdicts(forged, desk.ben, spf="FAIL", dkim="FAIL", **verdicts)
    with desk.mailbox(desk.ben) as mailbox:
        mailbox.imap.select(folder, readonly=True)
        assert mailbox.await_mail("SUBJECT", f'"mark {mark}"')
