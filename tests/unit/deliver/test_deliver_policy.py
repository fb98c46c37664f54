"""What a failure means, row by row of the table in `policy`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postal_plexus.deliver.policy import (
    BOUNCE_SECONDS,
    GIVE_UP_SECONDS,
    Policy,
    bounce_is_safe,
    retry_after,
)
from postal_plexus.mail.disposition import Fate
from postal_plexus.mail.envelope import Envelope
from postal_plexus.mail.receipt import Receipt
from postal_plexus.mail.reply import Reply
from postal_plexus.mail.verdicts import Verdict, Verdicts

HOUR = 3600.0
POLICY = Policy(over_quota_seconds=20 * HOUR)
GOOD = Verdicts(Verdict.PASS, Verdict.PASS, Verdict.PASS, Verdict.PASS, Verdict.PASS)


@pytest.mark.parametrize(
    ("reply", "age", "fate", "status"),
    [
        (Reply(250, "2.0.0", "Saved"), 0.0, Fate.DELIVERED, "2.0.0"),
        (Reply(451, "4.3.0", "later"), HOUR, Fate.DEFERRED, "4.3.0"),
        (Reply(451, "", "later"), HOUR, Fate.DEFERRED, "4.0.0"),
        (Reply(451, "4.3.0", "later"), GIVE_UP_SECONDS + 1, Fate.FAILED, "4.4.7"),
        (Reply(552, "5.2.2", "full"), 19 * HOUR, Fate.DEFERRED, "4.2.2"),
        (Reply(552, "", "full"), 19 * HOUR, Fate.DEFERRED, "4.2.2"),
        (Reply(452, "4.2.2", "full"), 19 * HOUR, Fate.DEFERRED, "4.2.2"),
        (Reply(452, "4.2.2", "full"), 21 * HOUR, Fate.FAILED, "5.2.2"),
        (Reply(552, "5.3.4", "too big"), 0.0, Fate.FAILED, "5.3.4"),
        (Reply(550, "5.1.1", "no such user"), 0.0, Fate.FAILED, "5.1.1"),
        (Reply(554, "", "no"), 0.0, Fate.FAILED, "5.0.0"),
    ],
)
def test_a_reply_decides_one_recipient(reply: Reply, age: float, fate: Fate, status: str) -> None:
    """Delivered, deferred or failed, by code, enhanced code and age."""
    disposition = POLICY.of_reply("ann@example.org", reply, age)
    assert (fate, status) == (disposition.fate, disposition.status)


@given(st.integers(1, 1000), st.floats(0, 1))
def test_retries_grow_to_hours_and_stay_within_what_sqs_allows(count: int, jitter: float) -> None:
    """Never sooner than 15 s, never later than 2.4 h, never shorter than the last one's base."""
    wait = retry_after(count, jitter)
    assert 15 <= wait <= 8640
    assert wait <= retry_after(count + 1, jitter)


def receipt(sender: str = "a@b.c", verdicts: Verdicts = GOOD, **headers: str) -> Receipt:
    """Return a mail that may be bounced, unless something is changed."""
    return Receipt(
        "m",
        Envelope(sender, ("ann@example.org",)),
        "bucket",
        "key",
        verdicts,
        0.0,
        tuple((name.lower().replace("_", "-"), text) for name, text in headers.items()),
    )


def test_a_bounce_goes_to_an_authentic_sender_of_an_ordinary_mail() -> None:
    """No objection; with DMARC alone, and Auto-Submitted: no, as well."""
    assert "" == bounce_is_safe(receipt(), HOUR)
    dmarc_only = Verdicts(Verdict.PASS, Verdict.PASS, Verdict.FAIL, Verdict.FAIL, Verdict.PASS)
    assert "" == bounce_is_safe(receipt(verdicts=dmarc_only), HOUR)
    assert "" == bounce_is_safe(receipt(Auto_Submitted="no"), HOUR)


@pytest.mark.parametrize(
    ("mail", "age", "why"),
    [
        (receipt(sender=""), 0.0, "null sender"),
        (receipt(verdicts=Verdicts(spam=Verdict.PASS)), 0.0, "neither SPF nor DMARC"),
        (receipt(verdicts=Verdicts(Verdict.FAIL, spf=Verdict.PASS)), 0.0, "spam"),
        (receipt(verdicts=Verdicts(Verdict.GRAY, spf=Verdict.PASS)), 0.0, "spam"),
        (receipt(verdicts=Verdicts(Verdict.PASS, Verdict.FAIL, Verdict.PASS)), 0.0, "virus"),
        (receipt(Auto_Submitted="auto-replied (vacation)"), 0.0, "auto-submitted"),
        (receipt(Precedence="Bulk"), 0.0, "list"),
        (receipt(List_Id="<l.x>"), 0.0, "list"),
        (receipt(), BOUNCE_SECONDS + 1, "too old"),
    ],
)
def test_a_bounce_that_could_be_backscatter_is_not_sent(
    mail: Receipt, age: float, why: str
) -> None:
    """Each objection by itself is enough."""
    assert why in bounce_is_safe(mail, age)
