"""A flood from one account stops at its limits, over real sessions, and a new container remembers."""

from __future__ import annotations

import json
import os
import signal
import smtplib
from collections.abc import Callable

import pytest

from service.certificates import Authority
from service.mail_host import HOSTNAME, MailHost
from service.ses_endpoint import SesEndpoint
from wire import await_true

pytestmark = pytest.mark.timeout(300)

OUTSIDE = "someone@elsewhere.example"
CONTENT = b"Subject: flood\r\n\r\nHello\r\n"


def send(
    host: MailHost, login: str, recipients: int = 1, content: bytes = CONTENT
) -> smtplib.SMTPResponseException | None:
    """Submit one mail; the refusal, if it was refused."""
    to = [f"r{number}@elsewhere.example" for number in range(recipients)]
    with host.submission(login) as smtp:
        try:
            smtp.sendmail(login, to, content)
        except smtplib.SMTPResponseException as refusal:
            return refusal
    return None


@pytest.fixture
def limited(host: MailHost, ses: SesEndpoint, authority: Authority) -> Callable[[str], None]:
    """Restart Postfix with other limits."""
    return lambda limits: host.start_postfix(ses.port, authority.file, limits=limits) and None


def metrics(host: MailHost) -> list[dict[str, object]]:
    """Return the metric lines that the container has written."""
    lines = host.containers["postfix"].logs().splitlines()
    return [json.loads(line) for line in lines if line.startswith('{"_aws"')]


def test_a_flood_ends_at_the_hourly_limit_and_tells(
    host: MailHost, ses: SesEndpoint, limited: Callable[[str], None]
) -> None:
    """450 4.7.1 with the limits and a time; others go on; CloudWatch gets one line, not a hundred."""
    limited("messages-hour=5 recipients-hour=60")
    assert [None] * 5 == [send(host, "ann@example.org") for _ in range(5)]
    refusals = [send(host, "ann@example.org") for _ in range(20)]
    assert {450} == {refusal.smtp_code for refusal in refusals if refusal}
    assert refusals[0] is not None
    text = refusals[0].smtp_error.decode()
    assert text.startswith("4.7.1 Your hourly limit of 5 messages and 60 recipients is reached")
    assert send(host, "ben@example.org") is None
    await_true("what passed to be relayed", lambda: len(ses.relayed) == 6)
    (line,) = metrics(host)
    assert ("ann@example.org", "hour", 1) == (
        line["Login"],
        line["Limit"],
        line["SubmissionsOverLimit"],
    )
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert ("PostalPlexus", [["Host"]]) == (directive["Namespace"], directive["Dimensions"])
    assert HOSTNAME == line["Host"]

    # A new container goes on counting; the daily limit is refused for good.
    limited("messages-hour=100 messages-day=6")
    assert send(host, "ann@example.org") is None
    refusal = send(host, "ann@example.org")
    assert refusal is not None
    assert 550 == refusal.smtp_code
    assert b"5.7.1 Your daily limit of 6 messages" in refusal.smtp_error
    assert send(host, "ben@example.org") is None


def test_many_recipients_in_one_mail_are_no_way_round(
    host: MailHost, limited: Callable[[str], None]
) -> None:
    """A mail to more than an hour's recipients gets 550 5.5.3, also in a session that goes on."""
    limited("recipients-hour=60")
    refusal = send(host, "ann@example.org", recipients=61)
    assert refusal is not None
    assert 550 == refusal.smtp_code
    assert b"5.5.3 61 recipients are more than the 60 allowed" in refusal.smtp_error


def test_wrong_limits_refuse_the_start(host: MailHost, authority: Authority) -> None:
    """A misspelt limit ends the start with one line that names it."""
    container = host.start_postfix(1, authority.file, limits="messages=5", await_health=False)
    await_true("the end", lambda: not container.running())
    assert (
        "postfix: refused to start: PLEXUS_SUBMISSION_LIMITS: 'messages' is not" in container.logs()
    )


def guards(host: MailHost) -> list[int]:
    """Return the processes that are the submission guard, as this machine sees them."""
    return host.containers["postfix"].usage().processes_of(b"\0/usr/local/bin/submission-guard\0")


def test_a_guard_that_was_killed_is_begun_again(
    host: MailHost, ses: SesEndpoint, limited: Callable[[str], None]
) -> None:
    """Without the guard senders are not checked, so clients get 4xx until it is back."""
    limited("messages-hour=50 recipients-hour=60")
    (guard,) = guards(host)
    os.kill(guard, signal.SIGKILL)
    # What was submitted before Postfix's restart may still be on its way.
    again = CONTENT + b"again\r\n"

    def sent() -> bool:
        try:
            return send(host, "ann@example.org", content=again) is None
        except smtplib.SMTPResponseException as refusal:
            assert refusal.smtp_code == 454
            return False

    await_true("a mail to be taken again", sent)
    assert guards(host) != [guard]
    await_true("it to be relayed", lambda: sum(b"again" in one.content for one in ses.relayed) == 1)
