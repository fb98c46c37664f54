"""Runs one plan and prints the judgement.

Exit status: 0 nothing lost and nothing doubled, 1 something is wrong (the seed reproduces it), 69
something the harness needs is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.aws_stub.process import StubError
from benchmarks.mailhost.engine import ROOT, EngineError
from tests.chaos.outages import HostError
from tests.chaos.plan import Plan, make
from tests.chaos.run import Report, Run


def main() -> int:
    """Run a plan."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="default: a new one, printed")
    parser.add_argument("--mails", type=int, default=10_000)
    parser.add_argument("--faults", type=int, default=500)
    parser.add_argument("--runs", type=int, default=1, help="with seeds that follow each other")
    parser.add_argument("--hosts", type=int, help="default: a run with one host, one with two")
    parser.add_argument("--keep", action="store_true", help="keep the logs of good runs too")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        print("chaos: needs root: it mounts small disks and owns several users' directories")
        return 69
    first = arguments.seed if arguments.seed is not None else random.randrange(2**31)
    for seed in range(first, first + arguments.runs):
        for hosts in (arguments.hosts,) if arguments.hosts else (1, 2):
            try:
                plan = make(seed, arguments.mails, arguments.faults, hosts=hosts)
                if not one(plan, keep=arguments.keep):
                    words = f"--seed {seed} --mails {arguments.mails} --faults {arguments.faults}"
                    print(f"again: python -m tests.chaos {words} --hosts {hosts}")
                    return 1
            except (EngineError, HostError, StubError) as error:
                print(f"chaos: {error}", file=sys.stderr)
                return 69
    return 0


def one(plan: Plan, *, keep: bool) -> bool:
    """Make one run; return whether it passed. Raises EngineError, HostError, StubError."""
    what = f"{plan.hosts} hosts, " if plan.hosts > 1 else ""
    print(f"seed {plan.seed}: {what}{len(plan.mails)} mails, {plan.faults()} faults planned")
    sys.stdout.flush()
    base = ROOT / ".build"
    base.mkdir(exist_ok=True)
    root = Path(tempfile.mkdtemp(dir=base, prefix=f"chaos-{plan.seed}-"))
    root.chmod(0o755)
    begun = time.monotonic()
    report = asyncio.run(Run(plan, root / "run").go())
    print(told(report))
    if report.good and not keep:
        shutil.rmtree(root)
    else:
        print(f"logs: {root}")
    print(f"{time.monotonic() - begun:.0f} s in all", flush=True)
    return report.good


def told(report: Report) -> str:
    """Return a report in text."""
    found = report.judgement
    outages = ", ".join(f"{count} {name}" for name, count in sorted(report.outages.items()))
    met = ", ".join(f"{count} {name}" for name, count in sorted(report.met.items()))
    told_of = f"{report.told['bounce']} bounces, {report.told['dead letter']} dead letters"
    forwards = f"{found.forwarded} forwards, {found.forwarded_again} of them again"
    filters = f"{found.redirected} redirects, {found.rejected} rejections, {found.answers} answers"
    lines = [
        f"{found.delivered} deliveries exactly once, {found.accounted} failures accounted for",
        f"{forwards}; {found.notices} notices of events exactly once",
        f"{filters} of filters",
        f"{report.transactions} LMTP transactions, {report.chunked} with BDAT",
        f"{report.faults_met()} faults met; {sum(report.outages.values())} outages: {outages}",
        f"of mails: {met}",
        f"{told_of}; {report.told_twice} of them twice",
        f"most receives of one mail {report.most_receives}",
        f"SIGTERM took at most {max(report.stops):.1f} s",
    ]
    if report.sessions:
        lines.append(f"{report.flagged} flags of clients in {report.sessions} sessions")
    for kind, wrong in found.faults().items():
        lines.append(f"{kind.upper()}: {len(wrong)}")
        lines += [f"  {line}" for line in wrong[:20]]
    lines += [f"CRASH: {crash}" for crash in report.crashes[:20]]
    lines.append("GOOD: nothing lost, nothing doubled" if report.good else "NOT GOOD")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
