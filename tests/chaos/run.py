"""One run: feed the mails, let the faults happen, restart what was killed, count at the end.

What happened is written to `events.log` in the run's directory, beside the logs of `deliver` and
Dovecot, and what AWS held at the end to `dump.json`. Fails by HostError, EngineError and StubError
where the harness itself cannot go on.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from dataclasses import astuple, dataclass, field
from typing import TYPE_CHECKING

from benchmarks.mailhost.engine import wait_until
from benchmarks.mailhost.host import HOSTNAME, greets, trusting
from tests.chaos import ledger
from tests.chaos.feeding import Feeding
from tests.chaos.outages import Host

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.chaos.plan import Plan

# Seconds without progress. A lock that a killed LMTP process left is broken by Dovecot after 180.
PATIENCE = 240


@dataclass(slots=True)
class Report:
    """What a run came to."""

    judgement: ledger.Judgement
    seconds: float
    transactions: int
    chunked: int
    outages: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)
    crashes: list[str] = field(default_factory=list)
    stops: list[float] = field(default_factory=list)
    most_receives: int = 0
    told: Counter[str] = field(default_factory=Counter)
    told_twice: int = 0  # a lost answer may repeat a dead letter or a bounce: counted, not wrong

    @property
    def good(self) -> bool:
        """Nothing lost, nothing doubled, nothing else wrong."""
        return not self.judgement.faults() and not self.crashes

    def faults_met(self) -> int:
        """Return the faults that really happened."""
        return sum(self.outages.values()) + sum(self.met.values())


class Run:
    """One plan on one mail host below `root`, which must not exist yet."""

    def __init__(
        self,
        plan: Plan,
        root: Path,
        *,
        name: str = "plexus-chaos",
        arguments: Sequence[str] = ("-m", "postal_plexus.deliver"),
        patience: float = PATIENCE,
    ) -> None:
        root.mkdir(parents=True)
        self._plan = plan
        self._root = root
        self._patience = patience
        self._host = Host(plan, root, f"{name}-{os.getpid()}", arguments)
        self._report = Report(ledger.Judgement(), 0, 0, 0)

    async def go(self) -> Report:
        """Do it all. Raises HostError, EngineError, StubError."""
        begun = time.monotonic()
        host, report = self._host, self._report
        async with host.running():
            feeding = Feeding(self._plan, host)
            await feeding.feed()
            await feeding.settled(self._patience)
            await host.end_deliver()
            self._count()
        report.outages, report.crashes, report.stops = host.outages, host.crashes, host.stops
        report.most_receives = feeding.most_receives
        report.seconds = time.monotonic() - begun
        return report

    def _count(self) -> None:
        host = self._host
        wait_until("Dovecot at the end", lambda: greets(host.place.lmtp), self._patience)
        kept = ledger.mailboxes(host.box.port(993), trusting(host.place), HOSTNAME)
        dump = host.stub.get("dump")
        left = [
            f"{letter['receives']} receives: {letter['body'][:300]}"
            for letter in dump["queues"]["mail"] + dump["queues"]["events"]
        ]
        accounts = ledger.accounts(dump)
        report = self._report
        report.told_twice = len(accounts) - len({one[:2] for one in map(astuple, accounts)})
        report.told = Counter(account.how for account in accounts)
        report.judgement = ledger.judge(
            self._plan, kept, accounts, left, host.postfix.taken, host.filters.taken
        )
        report.transactions = host.proxy.transactions
        report.chunked = host.proxy.chunked
        report.met["two rules"] = sum(mail.split for mail in self._plan.mails)
        report.met["notified twice"] = sum(
            one.doubled for one in (*self._plan.mails, *self._plan.echoes)
        )
        for line in host.proxy.met:
            report.met[f"proxy {line.partition(': ')[2]}"] += 1
        with (self._root / "aws" / "journal").open() as journal:
            for line in journal:
                entry = json.loads(line)
                if entry["do"] == "met":
                    report.met[f"aws {entry['fault']}"] += 1
        (self._root / "dump.json").write_text(json.dumps(dump, indent=1))
