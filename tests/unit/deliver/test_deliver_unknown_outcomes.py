"""When Dovecot is asked how a delivery ended: never before the former transaction is over."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from postal_plexus.deliver.journal import Journal, State, journal_key
from postal_plexus.deliver.lmtp_pool import TransactionLostError
from postal_plexus.deliver.policy import Policy
from postal_plexus.deliver.recipients import Addressee
from postal_plexus.deliver.trace_fields import Copy
from postal_plexus.deliver.transfer import Mail, Transfer, Transport
from postal_plexus.mail.disposition import Disposition
from postal_plexus.mail.reply import Reply

ANN = Addressee("ann@example.org", "ann@example.org", ("ann@example.org",))
KEY = journal_key("m1", "ann@example.org")
UNKNOWN_SECONDS = 30.0


@dataclass
class Clocks:
    """A wall clock that can be set, and one that cannot."""

    wall: float = field(default_factory=time.time)
    running: float = 1000.0

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.wall += seconds
        self.running += seconds


@dataclass
class Dovecot:
    """A next hop: what a transaction does, what it answers, and how often each was wanted."""

    clocks: Clocks
    has_it: bool | None = None
    lost: bool = False
    asked: int = 0
    transactions: int = 0

    def holds(self, _mailbox: str, _receipt_id: str) -> bool | None:
        self.asked += 1
        return self.has_it

    def deliver(self, envelope: Any, _content: Any, _size: int | None) -> dict[str, Reply | None]:
        self.transactions += 1
        if self.lost:
            self.clocks.pass_by(600)  # nothing is answered, until the connection is given up
            raise TransactionLostError("timeout", dict.fromkeys(envelope.recipients))
        return dict.fromkeys(envelope.recipients, Reply(250, "2.0.0", "Saved"))


class Content:
    """A message without fields."""

    received, delivered_to, length = 0, frozenset[str](), 10

    def chunks(self) -> Iterator[bytes]:
        yield b""

    def close(self) -> None:
        pass


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


def opened(place: Path, clocks: Clocks) -> Journal:
    """Open the journal, as a process that starts."""
    return Journal(
        str(place), b"boot", entries=64, wall=lambda: clocks.wall, running=lambda: clocks.running
    )


def attempt(journal: Journal, dovecot: Dovecot, receive_count: int = 2) -> list[Disposition]:
    """Try to deliver the message once more."""
    transport = Transport(cast("Any", dovecot), doveadm=cast("Any", dovecot))
    transfer = Transfer(journal, transport, Policy(3600.0), UNKNOWN_SECONDS)
    copy = Copy("", cast("Any", b""), (ANN,))
    mail = Mail("m1", time.time() - 10, receive_count)
    return transfer.transfer(mail, [copy], lambda _copy: cast("Any", Content())).dispositions


def test_a_forward_step_of_the_clock_asks_no_earlier(tmp_path: Path, clocks: Clocks) -> None:
    """A killed process's transaction may still be completed, which an early answer would double."""
    journal = opened(tmp_path, clocks)
    clocks.pass_by(100)
    journal.record([KEY], State.INTENDED)
    journal.close()
    clocks.wall += 3600
    journal = opened(tmp_path, clocks)
    dovecot = Dovecot(clocks, has_it=False)
    for _ in range(2):
        clocks.pass_by(14)
        clocks.wall += 3600
        (waits,) = attempt(journal, dovecot)
        assert (0, 0, "4.4.2") == (dovecot.asked, dovecot.transactions, waits.status)
    clocks.pass_by(3)
    dovecot.has_it = True
    assert [] == attempt(journal, dovecot)
    assert (1, 0) == (dovecot.asked, dovecot.transactions)
    journal.close()


def test_the_wait_begins_when_the_connection_ends(tmp_path: Path, clocks: Clocks) -> None:
    """Dovecot may complete a transaction from then on, however long it lasted before."""
    journal = opened(tmp_path, clocks)
    clocks.pass_by(100)
    dovecot = Dovecot(clocks, lost=True)
    attempt(journal, dovecot, receive_count=1)
    assert 1 == dovecot.transactions
    clocks.pass_by(20)
    attempt(journal, dovecot)
    assert 0 == dovecot.asked
    clocks.pass_by(11)
    dovecot.has_it = True
    assert [] == attempt(journal, dovecot)
    assert (1, 1) == (dovecot.asked, dovecot.transactions)
    journal.close()


def test_what_may_be_forgotten_is_asked_for_after_the_same_time(
    tmp_path: Path, clocks: Clocks
) -> None:
    """A new volume: the process before may have begun to deliver it just now."""
    journal = opened(tmp_path, clocks)
    dovecot = Dovecot(clocks, has_it=False)
    clocks.pass_by(20)
    attempt(journal, dovecot)
    assert (0, 0) == (dovecot.asked, dovecot.transactions)
    clocks.pass_by(11)
    attempt(journal, dovecot)
    assert (1, 1) == (dovecot.asked, dovecot.transactions)
    journal.close()
