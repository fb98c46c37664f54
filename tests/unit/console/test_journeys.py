"""Mails on their way, read from lines that the services wrote on a desk."""

from __future__ import annotations

import json
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from postal_plexus.console import journeys
from postal_plexus.console.journeys import Event, Fate, Way

SES = """\
2026-11-28 18:33:00,296 INFO awsdesk.ses.receiving ses.accepted message_id=tro65 sender=<friend@elsewhere.example> recipients=1 size=407 rules=plexus-desk-1
2026-11-28 18:33:00,308 INFO awsdesk.ses.actions ses.stored message_id=tro65 bucket=b key=inbound/tro65
2026-11-28 18:33:00,314 INFO awsdesk.ses.actions ses.notified message_id=tro65 topic=t
2026-11-28 18:33:00,400 INFO awsdesk.ses.sending ses.sent message_id=0100 caller=c sender=s recipients=1
Traceback (most recent call last):
"""
POSTFIX = """\
2026-11-28T18:33:01.038114437+00:00 stdout F Nov 28 18:33:01 mail postfix/submissions/smtpd[322]: 093C121873C: client=unknown[10.89.10.1], sasl_method=PLAIN, sasl_username=ann@example.org
2026-11-28T18:33:01.045062032+00:00 stdout F Nov 28 18:33:01 mail postfix/cleanup[325]: 093C121873C: message-id=<17@example.org>
2026-11-28T18:33:01.049255651+00:00 stdout F Nov 28 18:33:01 mail postfix/qmgr[232]: 093C121873C: from=<ann@example.org>, size=500, nrcpt=1 (queue active)
2026-11-28T18:33:01.191833283+00:00 stdout F Nov 28 18:33:01 mail postfix/tlsproxy[331]: CONNECT to [10.89.10.1]:37591
2026-11-28T18:33:02.186761033+00:00 stdout F Nov 28 18:33:02 mail postfix/smtp[326]: 093C121873C: to=<friend@elsewhere.example>, relay=email-smtp.us-east-1.amazonaws.com[10.89.10.1]:37591, delay=1.2, delays=0.03/0.06/0.13/0.95, dsn=2.0.0, status=sent (250 Ok 0100)
2026-11-28T18:33:02.188757963+00:00 stdout F Nov 28 18:33:02 mail postfix/qmgr[232]: 093C121873C: removed
not a line of a container
"""


def deliver(event: str, **fields: object) -> Event:
    """What a line of `deliver` says."""
    line = {"time": "2026-11-28T18:33:00.578Z", "event": event, "receipt": "tro65", **fields}
    found = journeys.of_line("deliver", 0.0, json.dumps(line))
    assert found is not None
    return found


def test_a_mail_comes_in() -> None:
    """SES's three steps and deliver's, with times of their own, make one journey."""
    ses = [event for line in SES.splitlines() if (event := journeys.of_stand_in(line))]
    told = deliver("delivered", sender="friend@elsewhere.example", recipients=["ann@example.org"])
    assert 3 == len(ses)
    (found,) = journeys.journeys([told, *ses])
    assert journeys.STAGES[Way.IN] == tuple(found.passed)
    assert (Fate.DONE, "tro65") == (found.fate, found.key)
    assert "friend@elsewhere.example" == found.sender
    assert ("ann@example.org",) == found.recipients


def test_a_mail_goes_out() -> None:
    """Postfix's lines of one queue id, as its container's log has them."""
    events = journeys.of_container("postfix", POSTFIX.splitlines())
    (found,) = journeys.journeys(events)
    assert journeys.STAGES[Way.OUT] == tuple(found.passed)
    assert (Way.OUT, Fate.DONE, "250 Ok 0100") == (found.way, found.fate, found.said)
    assert ("ann@example.org", ("friend@elsewhere.example",)) == (found.sender, found.recipients)
    assert 1.148 < found.seconds < 1.149


def test_how_it_stands_with_several_recipients() -> None:
    """Delivered after it had to wait is done; one that failed counts, in whatever order."""
    waits = deliver("deferred", recipient="ann@example.org", reason="451 later")
    done = deliver("delivered", recipients=["ann@example.org"])
    failed = deliver("failed", recipient="ben@example.org", reason="550 full")
    assert Fate.DONE is journeys.journeys([waits, done])[0].fate
    for events in permutations([done, failed]):
        (found,) = journeys.journeys(list(events))
        assert Fate.FAILED is found.fate
        assert {"ann@example.org", "ben@example.org"} == set(found.recipients)
    letter = deliver("dead-lettered", reason="550 full", recipient=None)
    again = deliver("redriven", recipient="ben@example.org")
    assert Fate.MOVING is journeys.journeys([failed, letter, again])[0].fate
    assert Fate.DONE is journeys.journeys([failed, again, done])[0].fate


def test_the_newest_are_shown() -> None:
    """Not more than asked for, by when they began."""
    events = [Event(float(number), Way.IN, f"m{number}", "accepted", "") for number in range(9)]
    assert ["m8", "m7"] == [each.key for each in journeys.journeys(events, 2)]


def test_what_is_no_mail_gives_nothing() -> None:
    """Metrics, other services, broken JSON, fields of another kind."""
    for line in (
        '{"_aws": {}}',
        '{"event": "delivered"}',
        '{"event": "delivered", "receipt": 3, "time": "2026-11-28T18:33:00.578Z"}',
        '{"event": ["delivered"], "receipt": "x", "time": "2026-11-28T18:33:00.578Z"}',
        '{"event": "delivered", "receipt": "x", "time": 3}',
        '{"event": "started", "receipt": "x", "time": "2026-11-28T18:33:00.578Z"}',
        "[]",
        "null",
        "{",
    ):
        assert None is journeys.of_line("deliver", 0.0, line)
    assert None is journeys.of_line("dovecot", 0.0, "imap-login: Info: Logged in")
    assert [] == list(journeys.of_container("deliver", ["x stdout F {}", "2026 stdout F {}"]))


@given(st.text(), st.sampled_from(["deliver", "postfix"]))
def test_any_line_is_read(line: str, service: str) -> None:
    """No line of a log is a fault, and what it says stays one line."""
    for wrapped in (
        line,
        f"Nov 1 mail postfix/smtp[1]: ABCDEF1: to=<{line}>, x status=sent ({line})",
    ):
        event = journeys.of_line(service, 0.0, wrapped)
        assert event is None or event.text.isprintable()
    journeys.of_stand_in(line)


def test_hostile_fields_stay_one_line() -> None:
    """What a sender writes into an address or a reply has no line ends and no escapes."""
    found = deliver("failed", sender="a\x1b[31m\n@x", recipient="b\r\n@y", reason="c\u2028d")
    assert found.sender is not None
    for text in (found.sender, *found.recipients, found.text):
        assert text.isprintable()
