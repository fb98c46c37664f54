"""Messages in transit, from lines that the services wrote on a desk."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from postal_plexus.console import journeys
from postal_plexus.console.journeys import Standing, Way
from postal_plexus.tracing.services import SERVICES, steps_of
from postal_plexus.tracing.step import Step

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


DOVECOT = """\
2026-11-28T18:33:00.509086556+00:00 stdout F lmtp(55): Info: Connect from local
2026-11-28T18:33:00.550095822+00:00 stdout F lmtp(ann@example.org)<55><axKEHVweC2s3AAAANrh4tg>: Info: sieve: msgid=<17@elsewhere.example>: stored mail into mailbox 'Lists'
"""
AT = datetime(2026, 11, 28, 18, 33, tzinfo=UTC)


def deliver(event: str, **fields: object) -> tuple[Step, ...]:
    """Return a line of `deliver`."""
    line = {"time": "2026-11-28T18:33:00.578Z", "event": event, "receipt": "tro65", **fields}
    found = steps_of("deliver", AT, json.dumps(line))
    assert found
    return found


def test_a_mail_comes_in() -> None:
    """An incoming message has the steps of SES, Dovecot and deliver, in order."""
    ses = [step for line in SES.splitlines() if (step := journeys.of_stand_in(line))]
    told = deliver(
        "delivered",
        sender="friend@elsewhere.example",
        recipients=["ann@example.org"],
        replies=["250 2.0.0 <ann@example.org> axKEHVweC2s3AAAANrh4tg Saved"],
    )
    filed = list(journeys.of_container("dovecot", DOVECOT.splitlines()))
    assert (3, 1) == (len(ses), len(filed))
    (found,) = journeys.shown([*told, *filed, *ses])
    assert journeys.STAGES[Way.IN] == tuple(found.passed)
    assert sorted(found.passed.values()) == list(found.passed.values())
    assert (Standing.DONE, "tro65", ()) == (found.standing, found.key, found.ahead)
    assert ("friend@elsewhere.example", ("ann@example.org",)) == (found.sender, found.recipients)


def test_a_mail_is_half_way() -> None:
    """It shows the stages so far, and delivery as the next one, but no later ones."""
    ses = [step for line in SES.splitlines() if (step := journeys.of_stand_in(line))]
    for count in (1, 2, 3):
        (found,) = journeys.shown(ses[:count])
        assert journeys.STAGES[Way.IN][:count] == tuple(found.passed)
        assert (("delivered",), Standing.MOVING) == (found.ahead, found.standing)


def test_a_mail_goes_out() -> None:
    """An outgoing message is joined from Postfix's lines with one queue id."""
    (found,) = journeys.shown(journeys.of_container("postfix", POSTFIX.splitlines()))
    assert ("submitted", "queued", "sent") == tuple(found.passed)
    assert (Way.OUT, Standing.DONE, ()) == (found.way, found.standing, found.ahead)
    assert ("ann@example.org", ("friend@elsewhere.example",)) == (found.sender, found.recipients)
    (half,) = journeys.shown(journeys.of_container("postfix", POSTFIX.splitlines()[:3]))
    assert (("sent",), Standing.MOVING) == (half.ahead, half.standing)


def test_how_it_stands_with_several_recipients() -> None:
    """Delivered after a delay counts as done; one failed recipient counts as failure."""
    waits = deliver("deferred", recipient="ann@example.org", status="4.0.0", reason="451 later")
    done = deliver("delivered", recipients=["ann@example.org"])
    failed = deliver("failed", recipient="ben@example.org", status="5.0.0", reason="550 full")
    assert Standing.WAITING is journeys.shown(waits)[0].standing
    assert Standing.DONE is journeys.shown([*waits, *done])[0].standing
    (found,) = journeys.shown([*done, *failed])
    assert Standing.FAILED is found.standing
    assert {"ann@example.org", "ben@example.org"} == set(found.recipients)
    letter = deliver("dead-lettered", reason="550 full", recipient=None)
    assert Standing.FAILED is journeys.shown(letter)[0].standing


def test_the_newest_are_shown() -> None:
    """At most the requested number is shown, sorted by start."""
    steps = [
        Step(
            AT + timedelta(seconds=number), "SES", "accepted it", frozenset({f"receipt:m{number}"})
        )
        for number in range(9)
    ]
    assert ["m8", "m7"] == [each.key for each in journeys.shown(steps, 2)]


@given(st.text(), st.sampled_from(SERVICES))
def test_any_line_is_read(line: str, service: str) -> None:
    """Any log line is accepted, and its text stays one line."""
    steps = [*steps_of(service, AT, line), *deliver("failed", sender=line, recipient=line)]
    for each in journeys.shown(steps):
        for text in (each.sender, *each.recipients, each.subject, each.said):
            assert text.isprintable()
    journeys.of_stand_in(line)
    assert [] == list(journeys.of_container(service, [line, f"x stdout F {line}"]))
