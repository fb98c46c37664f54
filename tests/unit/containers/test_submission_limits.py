"""How much one login may submit, and that a restart does not forget it."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from submission_limits import AUTOMATIC_LIMITS, DAY, HOUR, Ledger, Limits

LIMITS = Limits(messages_hour=3, recipients_hour=10, messages_day=5, recipients_day=20)
START = 1_800_000_000.0  # 08:00 UTC


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Ledger:
    return Ledger(LIMITS, tmp_path / "journal", clock=clock)


def test_the_hour_is_refused_for_now_and_says_until_when(ledger: Ledger, clock: Clock) -> None:
    """The fourth message within an hour gets 450 with the time; after it the next one passes."""
    for _ in range(3):
        assert ledger.claim("ann@example.org", 1) is None
        clock.now += 600
    refusal = ledger.claim("ann@example.org", 1)
    assert refusal is not None
    assert ("450", "4.7.1", "hour") == (refusal.code, refusal.status, refusal.window)
    assert "3 messages and 10 recipients" in refusal.text
    assert "after 09:01 UTC" in refusal.text
    assert ledger.claim("ben@example.org", 1) is None
    clock.now = START + HOUR
    assert ledger.claim("ann@example.org", 1) is None


def test_recipients_count_as_messages_do(ledger: Ledger) -> None:
    """Ten recipients an hour: 6 and 4 pass, then not one more."""
    assert ledger.claim("ann@example.org", 6) is None
    assert ledger.claim("ann@example.org", 4) is None
    refusal = ledger.claim("ann@example.org", 1)
    assert refusal is not None
    assert "450" == refusal.code


def test_the_day_is_refused_for_good(ledger: Ledger, clock: Clock) -> None:
    """The sixth message within a day gets 550; a day after the first there is room again."""
    for _ in range(5):
        assert ledger.claim("ann@example.org", 1) is None
        clock.now += HOUR
    refusal = ledger.claim("ann@example.org", 1)
    assert refusal is not None
    assert ("550", "5.7.1", "day") == (refusal.code, refusal.status, refusal.window)
    clock.now = START + DAY
    assert ledger.claim("ann@example.org", 1) is None


def test_a_mail_that_can_never_pass_is_refused_for_good(ledger: Ledger) -> None:
    """Eleven recipients where ten are allowed an hour: 550, not 450 for ever."""
    refusal = ledger.claim("ann@example.org", 11)
    assert refusal is not None
    assert ("550", "5.5.3", "mail") == (refusal.code, refusal.status, refusal.window)


def test_a_restart_forgets_nothing_but_what_is_old(tmp_path: Path, clock: Clock) -> None:
    """A new process counts on; the journal loses what is older than a day and what is damaged."""
    journal = tmp_path / "journal"
    journal.write_text(f"{START - DAY - 1:.0f} 1 ann@example.org\ngarbage\n{START + 99:.0f} 1 x\n5")
    for _ in range(3):
        assert Ledger(LIMITS, journal, clock=clock).claim("ann@example.org", 2) is None
    refusal = Ledger(LIMITS, journal, clock=clock).claim("ann@example.org", 1)
    assert refusal is not None
    assert [f"{START:.0f} 2 ann@example.org"] * 3 == journal.read_text().splitlines()


def test_a_journal_that_cannot_be_written_stops_no_mail(tmp_path: Path, clock: Clock) -> None:
    """It is said, and the limits hold in memory."""
    said: list[str] = []
    ledger = Ledger(LIMITS, tmp_path / "gone" / "journal", clock=clock, complain=said.append)
    assert [None] * 3 == [ledger.claim("ann@example.org", 1) for _ in range(3)]
    assert ledger.claim("ann@example.org", 1) is not None
    assert 3 == len(said)


@settings(max_examples=200)
@given(mails=st.lists(st.tuples(st.integers(0, HOUR), st.integers(1, 12)), max_size=60))
def test_no_window_ever_holds_more_than_its_limits(
    mails: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever is tried whenever: what passed keeps all four limits; a refusal's time is true."""
    clock = Clock()
    ledger = Ledger(LIMITS, tmp_path_factory.mktemp("j") / "journal", clock=clock)
    passed: deque[tuple[float, int]] = deque()
    for wait, recipients in mails:
        clock.now += wait
        if ledger.claim("ann@example.org", recipients) is None:
            passed.append((clock.now, recipients))
        for window, most_messages, most_recipients in ((HOUR, 3, 10), (DAY, 5, 20)):
            counted = [each for at, each in passed if at > clock.now - window]
            assert len(counted) <= most_messages
            assert sum(counted) <= most_recipients


def test_limits_are_read_by_name() -> None:
    """What is not named has its default."""
    assert (Limits(), AUTOMATIC_LIMITS) == Limits.parse("")
    assert (
        Limits(messages_hour=7, recipients_day=9),
        AUTOMATIC_LIMITS._replace(messages_hour=3),
    ) == Limits.parse("messages-hour=7 recipients-day=9 automatic-messages-hour=3")


@pytest.mark.parametrize(
    "text", ["messages-hour", "messages-hour=", "messages-hour=0", "mails=3", "recipients-day=-1"]
)
def test_wrong_limits_are_refused(text: str) -> None:
    """Unknown names and malformed numbers are refused."""
    with pytest.raises(ValueError, match=text.partition("=")[0]):
        Limits.parse(text)
