"""A user's own filters on the desk: ManageSieve from outside, answers through Postfix and SES."""

from __future__ import annotations

import ssl
import uuid
from email import message_from_bytes
from email.policy import default

from service.managesieve import ManageSieve
from system.desk import Desk, letter

VACATION = """require ["vacation"];
vacation :days 1 :subject "Away {mark}" "Back on Monday.";
"""


def test_vacation_answers_the_envelope_sender(desk: Desk) -> None:
    """A script uploaded by ManageSieve answers a stranger from the user's own address, by SES.

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
