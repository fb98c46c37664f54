"""Messages a second of `deliver` beside those of smtp-source, in interleaved pairs."""

from __future__ import annotations

import os
import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.deliver.bed import USERS
from benchmarks.mailhost.deliver_service import Process

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.deliver.bed import Bed
    from benchmarks.deliver.peer import Peer
    from benchmarks.mailhost.deliver_service import DeliverService

AWS_DELAY = 0.015  # seconds added to every AWS call
SESSIONS = (1, 2, 3, 4)  # Dovecot's configuration allows four LMTP processes


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is sent where."""

    size: int
    mailboxes: int
    count: int

    @property
    def name(self) -> str:
        """For tables."""
        boxes = "1 mailbox" if self.mailboxes == 1 else f"{self.mailboxes} mailboxes"
        return f"{self.size // 1024} KB, {boxes}"


@dataclass(slots=True)
class Measured:
    """The runs of one scenario: messages a second, and `deliver`'s processor time."""

    name: str
    mails: int
    sessions: int
    deliver: list[float] = field(default_factory=list)
    smtp_source: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    stub_cpu_ms: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """The median of the pairs' ratios."""
        return statistics.median(self.ratios)

    def in_json(self) -> dict[str, Any]:
        """Return runs and medians."""
        return {
            **asdict(self),
            "ratio": self.ratio,
            "deliver_median": statistics.median(self.deliver),
            "smtp_source_median": statistics.median(self.smtp_source),
            "cpu_ms_median": statistics.median(self.cpu_ms),
        }


def scenarios(*, quick: bool) -> list[Scenario]:
    """4 KB and 100 KB, one mailbox and twenty. Counts are multiples of twenty."""
    small, big = (1000, 300) if quick else (4000, 2000)
    return [
        Scenario(size, mailboxes, count)
        for size, count in ((4096, small), (102400, big))
        for mailboxes in (1, USERS)
    ]


def measure(
    bed: Bed,
    peer: Peer,
    service: DeliverService,
    scenario: Scenario,
    pairs: int,
    say: Callable[[str], None],
) -> Measured:
    """Find smtp-source's best concurrency, then run the pairs, each in the other order."""
    trial = max(20, scenario.count // 4 // 20 * 20)
    speeds = {n: trial / _peer_run(bed, peer, scenario, trial, n) for n in SESSIONS}
    best = max(speeds, key=lambda n: speeds[n])
    measured = Measured(scenario.name, scenario.count, best)
    _deliver_run(bed, service, scenario, trial)
    for pair in range(pairs):
        if pair % 2:
            theirs = scenario.count / _peer_run(bed, peer, scenario, scenario.count, best)
            ours, cpu, stub_cpu = _deliver_run(bed, service, scenario, scenario.count)
        else:
            ours, cpu, stub_cpu = _deliver_run(bed, service, scenario, scenario.count)
            theirs = scenario.count / _peer_run(bed, peer, scenario, scenario.count, best)
        measured.deliver.append(ours)
        measured.smtp_source.append(theirs)
        measured.ratios.append(ours / theirs)
        measured.cpu_ms.append(cpu)
        measured.stub_cpu_ms.append(stub_cpu)
        say(
            f"{scenario.name}: deliver {ours:.0f}, smtp-source ({best} sessions) {theirs:.0f} "
            f"mails/s, ratio {ours / theirs:.2f}, own CPU {cpu:.2f} ms a mail"
        )
    return measured


def _peer_run(bed: Bed, peer: Peer, scenario: Scenario, count: int, sessions: int) -> float:
    bed.place.empty_mailboxes()
    os.sync()
    return peer.run(count, scenario.size, scenario.mailboxes, sessions)


def _deliver_run(
    bed: Bed, service: DeliverService, scenario: Scenario, count: int
) -> tuple[float, float, float]:
    bed.place.empty_mailboxes()
    os.sync()
    before, stub_before = service.processor_seconds(), _seconds_of(bed.stub.pid)
    begun, deleted = bed.queue_mails(count, scenario.size, scenario.mailboxes)
    ended = bed.await_deleted(deleted, timeout=1800)
    cpu = service.processor_seconds() - before
    stub_cpu = _seconds_of(bed.stub.pid) - stub_before
    return count / (ended - begun), cpu / count * 1000, stub_cpu / count * 1000


def _seconds_of(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 - not a file that has a path of ours
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def predecessor(bed: Bed, mails: int) -> float:
    """Measure messages per second of the predecessor's loop with this stub and Dovecot."""
    settings = {
        "AWS_ENDPOINT_URL": bed.stub.url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "stub",
        "AWS_SECRET_ACCESS_KEY": "stub",
        "PLEXUS_QUEUE_URL": bed.stub.queue_url("mail"),
    }
    module = ("-m", "benchmarks.deliver.predecessor", str(bed.place.lmtp))
    loop = Process(bed.place, settings, arguments=module)
    bed.place.empty_mailboxes()
    _, deleted = bed.queue_mails(mails + 1, 4096, USERS)
    loop.start()
    try:
        begun = bed.await_deleted(deleted - mails, timeout=60)
        return mails / (bed.await_deleted(deleted, timeout=mails * 10) - begun)
    finally:
        loop.kill()
