"""Import mailboxes from Debian's Courier by the task of `plexus import`, and by others beside it.

Needs root, mbsync (Debian's isync) and a quiet machine. Each round runs all three, in changing
order, each into an empty mailbox; the ratios are those of the runs of one round. What arrives after
a kill half-way is compared with the source: folders, messages, octets, flags. Exit status: 0
measured, 1 a target is missed, 69 mbsync is missing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.imports.results import DEMANDS, page, write
from benchmarks.imports.runs import Taken, imported, mirrored, one_step
from benchmarks.imports.source import counted, fill
from benchmarks.mailhost import report
from benchmarks.mailhost.engine import ROOT
from service import imap_source
from service.certificates import Authority
from service.container_engine import Network, engine
from service.import_task import MEMORY, imap_job
from service.mail_host import STACK, MailHost, prepared

WAYS = ("ours", "one step", "mbsync")


class Bed:
    """Courier with its messages, Dovecot as it is deployed, and mailboxes nobody has used yet."""

    def __init__(self, host: MailHost, root: Path, mailboxes: int) -> None:
        users = [f"user{number}@example.org" for number in range(mailboxes)]
        hashed = STACK["mailboxes"][0]["password-hash"]  # type: ignore[index]
        entries = [{"address": each, "password-hash": hashed} for each in users]
        self.host = host
        self.fresh = iter(users)
        host.write_directory({"domains": ["example.org"], "mailboxes": entries})
        host.start("dovecot")
        authority = Authority(root)
        self.source = imap_source.start(host.engine, host.network.name, "courier", authority)
        host.names[self.source.host] = self.source.address
        self.job = imap_job(root / "job/job", self.source)

    def run(self, way: str) -> Taken:
        """Import all that Courier has into a mailbox that is empty, in one of the ways."""
        address = next(self.fresh)
        subprocess.run(["sync"], check=True)
        match way:
            case "ours":
                taken = imported(self.host, self.job, address)
            case "one step":
                taken = one_step(self.host, self.job, address)
            case _:
                taken = mirrored(self.host, self.source, address)
        print(f"{way}: {taken.seconds:.1f} s", flush=True)
        return taken


def measure(bed: Bed, mails: int, rounds: int) -> dict[str, Any]:
    """Return the figures by their keys."""
    fill(bed.source, mails // 10, with_large=False)
    few = bed.run("ours").peak()
    fill(bed.source, mails, with_large=False)
    taken: dict[str, list[Taken]] = {way: [] for way in WAYS}
    for number in range(rounds):
        for way in (*WAYS[number % 3 :], *WAYS[: number % 3]):
            taken[way].append(bed.run(way))
    ours = taken["ours"]
    last = ours[-1]
    quarters = [last.peak(at / 4, (at + 1) / 4) for at in range(4)]
    again = next(bed.fresh)
    imported(bed.host, bed.job, again)
    second = imported(bed.host, bed.job, again).seconds

    fill(bed.source, mails, with_large=True)
    shutil.rmtree(bed.host.root / "mail/.import")
    killed = next(bed.fresh)
    imported(bed.host, bed.job, killed, kill_at=mails // 2)
    large = imported(bed.host, bed.job, killed)
    is_equal = counted(bed.source.client()) == counted(bed.host.imap(killed))
    many = max(each.peak() for each in ours)
    return {
        "mails_a_second": mails / _median(ours),
        "one_step_a_second": mails / _median(taken["one step"]),
        "one_step_ratio": _ratio(taken["one step"], ours),
        "mbsync_a_second": mails / _median(taken["mbsync"]),
        "mbsync_ratio": _ratio(taken["mbsync"], ours),
        "processor_ms": 1000 * statistics.median(each.processor for each in ours) / mails,
        "again_seconds": second,
        "peak_few_mb": few,
        "peak_many_mb": many,
        "growth": many / few,
        "quarters_mb": quarters,
        "peak_large_mb": large.peak(),
        "equal": float(is_equal),
        "seconds": {way: [each.seconds for each in its] for way, its in taken.items()},
    }


def _median(runs: list[Taken]) -> float:
    return statistics.median(each.seconds for each in runs)


def _ratio(others: list[Taken], ours: list[Taken]) -> float:
    """Return how much faster ours is: the median of the rounds."""
    pairs = zip(others, ours, strict=True)
    return statistics.median(other.seconds / own.seconds for other, own in pairs)


def main() -> int:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imports", description=__doc__)
    parser.add_argument("--mails", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="1,000 messages, into .build/bench")
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    arguments = parser.parse_args()
    if not shutil.which("mbsync"):
        print("bench-import: mbsync is missing: apt-get install isync", file=sys.stderr)
        return 69
    mails, rounds, out = arguments.mails, arguments.rounds, arguments.out
    if arguments.quick:
        mails, rounds, out = 1000, 1, ROOT / ".build" / "bench"
    found: dict[str, Any] = {
        "date": report.today(),
        "machine": report.machine(),
        "versions": report.versions(),
        "mails": mails,
        "rounds": rounds,
        "limit": MEMORY,
        "load": os.getloadavg()[0],
    }
    network = Network(engine())
    try:
        with tempfile.TemporaryDirectory(prefix="bench-import-") as directory:
            root = Path(directory)
            with prepared(network, root / "host", "dovecot") as host:
                bed = Bed(host, root, len(WAYS) * rounds + 3)
                try:
                    found |= measure(bed, mails, rounds)
                finally:
                    bed.source.container.remove()
    finally:
        network.remove()
    write(out, found)
    print(page(found))
    return 0 if all(reached for *_, reached in report.judged(found, DEMANDS)) else 1


if __name__ == "__main__":
    sys.exit(main())
