"""Non-delivery reports: what SES is asked to send, and how often."""

from __future__ import annotations

import threading
import time

from postal_plexus.deliver.non_delivery import Failure, RateLimiter, bounce_fields
from postal_plexus.mail.disposition import Disposition, Fate
from postal_plexus.mail.envelope import Envelope
from postal_plexus.mail.receipt import Receipt
from postal_plexus.mail.verdicts import Verdicts


def test_a_bounce_names_what_the_sender_wrote() -> None:
    """The envelope recipient, not the mailbox behind it; one line of diagnostics."""
    receipt = Receipt("m", Envelope("a@b.c", ("x@y.z",)), "b", "k", Verdicts(), 0.0)
    disposition = Disposition("ben@example.org", Fate.FAILED, "5.2.2", "552 5.2.2 full\r\nX: y")
    fields = bounce_fields(receipt, [Failure(disposition, "info@example.org")], "mail.example.org")
    assert "m" == fields["OriginalMessageId"]
    assert "mailer-daemon@example.org" == fields["BounceSender"]
    member = "BouncedRecipientInfoList.member.1"
    assert ("info@example.org", "ExceededQuota") == (
        fields[f"{member}.Recipient"],
        fields[f"{member}.BounceType"],
    )
    assert not any("ben@" in value or "\r" in value or "\n" in value for value in fields.values())


def test_bounces_are_a_second_apart() -> None:
    """SES's quota, over all threads."""
    limiter = RateLimiter()
    began = time.monotonic()
    threads = [
        threading.Thread(target=limiter.wait, args=(threading.Event(),), daemon=True)
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began >= 2.0


def test_a_bounce_whose_turn_is_far_off_does_not_wait() -> None:
    """Five bounces may wait; the next one fails at once and takes no turn."""
    limiter, stopped = RateLimiter(), threading.Event()
    stopped.set()
    turns = [limiter.wait(stopped) for _ in range(10)]
    assert turns == [True] * 5 + [False] * 5
