"""One run: feed the messages, let the faults happen, restart what was killed, count at the end.

What happened is written to `events.log` in the run's directory, beside the logs of `deliver` and
Dovecot, and what AWS held at the end to `dump.json`. Fails by HostError, EngineError and StubError
where the harness itself cannot go on.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from dataclasses import astuple, dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.mailhost.engine import wait_until
from benchmarks.mailhost.host import greets
from tests.chaos import ledger, shards
from tests.chaos.client import Reader
from tests.chaos.feeding import Feeding
from tests.chaos.plan import READ
from tests.chaos.site import Site

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
    flagged: int = 0  # with several hosts: flags that clients set meanwhile
    sessions: int = 0  # in this number of IMAP sessions

    @property
    def good(self) -> bool:
        """Nothing lost, nothing doubled, nothing else wrong."""
        return not self.judgement.faults() and not self.crashes

    def faults_met(self) -> int:
        """Return the faults that really happened."""
        return sum(self.outages.values()) + sum(self.met.values())


class Run:
    """One plan on its mail hosts below `root`, which must not exist yet."""

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
        self._site = Site(plan, root, f"{name}-{os.getpid()}", arguments)
        self._feeding = Feeding(plan, self._site)
        self._readers: list[Reader] = []
        self._report = Report(ledger.Judgement(), 0, 0, 0)

    async def go(self) -> Report:
        """Do it all. Raises HostError, EngineError, StubError."""
        begun = time.monotonic()
        site, report = self._site, self._report
        async with site.running():
            if self._plan.hosts > 1:
                doors = [site.door(host.number) for host in site.hosts]
                self._readers = [Reader(address, doors) for address in READ]
            await self._feeding.feed()
            await self._feeding.settled(self._patience)
            await site.all_well()
            await asyncio.gather(*(asyncio.to_thread(reader.end) for reader in self._readers))
            await self._all_at_home()
            for host in site.hosts:
                await host.end_deliver()
            self._count()
        for host in site.hosts:
            report.outages += host.outages
            report.crashes += host.crashes
            report.stops += host.stops
        report.most_receives = self._feeding.most_receives
        report.seconds = time.monotonic() - begun
        return report

    async def _all_at_home(self) -> None:
        """Wait until all moves have ended."""
        deadline = time.monotonic() + self._patience
        while self._plan.hosts > 1 and self._site.away() and time.monotonic() < deadline:
            self._site.check()
            await asyncio.sleep(0.5)

    def _count(self) -> None:
        site, hosts = self._site, self._site.hosts
        for host in hosts:
            ready = partial(greets, host.place.lmtp)
            wait_until(f"Dovecot {host.number} at the end", ready, self._patience)
        kept = ledger.mailboxes(lambda address: site.door(site.homes[address]))
        dump = site.stub.get("dump")
        left = [
            f"{letter['receives']} receives: {letter['body'][:300]}"
            for name in (*site.queues("mail"), *site.queues("events"))
            for letter in dump["queues"][name]
        ]
        if self._plan.hosts > 1:
            left += site.away()
        accounts = ledger.accounts(dump)
        report = self._report
        report.told_twice = len(accounts) - len({one[:2] for one in map(astuple, accounts)})
        report.told = Counter(account.how for account in accounts)
        report.judgement = ledger.judge(
            self._plan,
            kept,
            accounts,
            left,
            [one for host in hosts for one in host.postfix.taken],
            [one for host in hosts for one in host.filters.taken],
        )
        self._judge_shards(kept)
        report.transactions = sum(host.proxy.transactions for host in hosts)
        report.chunked = sum(host.proxy.chunked for host in hosts)
        report.met["two rules"] = sum(mail.split for mail in self._plan.mails)
        report.met["notified twice"] = sum(
            one.doubled for one in (*self._plan.mails, *self._plan.echoes)
        )
        for line in (line for host in hosts for line in host.proxy.met):
            report.met[f"proxy {line.partition(': ')[2]}"] += 1
        with (self._root / "aws" / "journal").open() as journal:
            for line in journal:
                entry = json.loads(line)
                if entry["do"] == "met":
                    report.met[f"aws {entry['fault']}"] += 1
        (self._root / "dump.json").write_text(json.dumps(dump, indent=1))

    def _judge_shards(self, kept: Sequence[ledger.Kept]) -> None:
        found, hosts, readers = self._report.judgement, self._site.hosts, self._readers
        shards.judge_flags(found, kept, {each.address: each.flagged for each in readers})
        found.misled += [problem for each in readers for problem in each.problems]
        self._report.flagged = sum(len(each.flagged) for each in readers)
        self._report.sessions = sum(each.sessions for each in readers)
        deliveries = [
            shards.Delivery(host.number, number, at)
            for host in hosts
            for number, at in host.proxy.begun
        ]
        blind = [each for host in hosts for each in host.blind]
        shards.judge_deliveries(found, deliveries, blind, self._feeding.accepted)
