"""What the service logs of a mail: enough to find it, bounded, and no subject unasked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from postal_plexus.deliver import maillog
from postal_plexus.mail.disposition import Disposition, Fate
from postal_plexus.mail.envelope import RawEnvelope
from postal_plexus.mail.receipt import Receipt
from postal_plexus.mail.verdicts import Verdict, Verdicts

# What docker's and podman's log drivers keep together.
_LONGEST_LINE = 16 * 1024


@pytest.fixture(autouse=True)
def _subjects_are_not_logged_afterwards() -> Iterator[None]:
    yield
    maillog.log_subjects(wanted=False)


def receipt(**headers: str) -> Receipt:
    """Return SES's record of a mail with these header fields."""
    passed = Verdict.PASS
    return Receipt(
        message_id="receipt-1",
        envelope=RawEnvelope("world@elsewhere.example", ("info@example.org",)),
        bucket="b",
        key="k",
        verdicts=Verdicts(passed, passed, passed, passed, passed),
        accepted_at=1795891067.25,
        headers=tuple((name.lower(), value) for name, value in headers.items()),
    )


def logged(
    capfd: pytest.CaptureFixture[str], of: Receipt, found: list[Disposition]
) -> list[dict[str, Any]]:
    """Return the lines about a mail; check that none is longer than log drivers accept."""
    maillog.dispositions(of, found, lambda _name: "info@example.org", seconds=0.1, octets=7)
    maillog.flush()
    lines = capfd.readouterr().out.splitlines()
    assert all(len(line) < _LONGEST_LINE for line in lines)
    return [json.loads(line) for line in lines]


def to(number: int, fate: Fate = Fate.DELIVERED) -> Disposition:
    """Return a disposition with a reply as long as any."""
    return Disposition(f"user{number}@example.org", fate, "2.0.0", "250 2.0.0 " + "x" * 400)


def test_a_line_has_every_name_of_a_mail(capfd: pytest.CaptureFixture[str]) -> None:
    """SES's id, the sender's own, envelope, original recipient, Dovecot's reply; not the subject."""
    of = receipt(**{"Message-ID": "<a@b>", "Subject": "secret"})
    (line,) = logged(capfd, of, [Disposition("ann@example.org", Fate.DELIVERED, "2.0.0", "250 x")])
    del line["time"]
    assert {
        "level": "info",
        "event": "delivered",
        "receipt": "receipt-1",
        "message_id": "<a@b>",
        "sender": "world@elsewhere.example",
        "accepted": "2026-11-28T18:37:47.250Z",
        "verdicts": "spam=PASS; virus=PASS; spf=PASS; dkim=PASS; dmarc=PASS",
        "octets": 7,
        "seconds": 0.1,
        "recipients": ["ann@example.org"],
        "for": ["info@example.org"],
        "replies": ["250 x"],
    } == line


def test_subjects_are_logged_where_they_are_wanted(capfd: pytest.CaptureFixture[str]) -> None:
    """With `log-subjects`, and cut at 200 characters."""
    maillog.log_subjects()
    (line,) = logged(capfd, receipt(Subject="s" * 1000), [to(1)])
    assert "s" * 200 == line["subject"]


@pytest.mark.parametrize("fates", [[Fate.DELIVERED], [Fate.DELIVERED, Fate.DEFERRED]])
def test_five_hundred_recipients_are_in_lines_that_are_kept_whole(
    capfd: pytest.CaptureFixture[str], fates: list[Fate]
) -> None:
    """However many recipients and however long the replies: each is named once."""
    found = [to(number, fates[number % len(fates)]) for number in range(500)]
    lines = logged(capfd, receipt(), found)
    named = [each for line in lines for each in line.get("recipients", [line.get("recipient")])]
    assert [each.recipient for each in found] == named


@pytest.mark.parametrize("message_id", ["<a@b>\n{}", "x" * 100_000, "\x1b[2J\x00\u2028"])
def test_a_hostile_message_id_is_one_bounded_line(
    capfd: pytest.CaptureFixture[str], message_id: str
) -> None:
    """Its sender chose it: line ends, control characters and length must not reach the log."""
    (line,) = logged(capfd, receipt(**{"Message-ID": message_id}), [to(1)])
    assert len(line["message_id"]) <= 300
    assert line["message_id"].isprintable()
