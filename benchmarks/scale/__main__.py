"""Measure what grows with mailboxes, hosts and clients, and simulate a day; write the results.

Parts that are left out keep their figures of an earlier run. The simulation uses the figures of
hosts and sessions. No figure is judged: the machine decides most of them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.mailhost import report
from benchmarks.mailhost.engine import ROOT
from benchmarks.scale import directory, hosts, page, sessions
from benchmarks.scale.simulation import INSTANCES, Costs, Load, Outage, hosts_for, simulate
from postal_plexus.config.host_memory import Memory, memory_of

PARTS = ("directory", "hosts", "sessions", "day")
# A delivery waits so long for EFS (results/nfs.md: 14 operations of 1 ms and a write).
STORE_MS = 16.0
# The three containers at rest took 0.36 processor seconds a minute.
IDLE_PROCESSORS = 0.36 / 60
# How many times as long as here a processor of t4g (Graviton2) takes. An assumption.
SLOWNESS = 1.5
# Clients that stay connected, for each mailbox.
SESSIONS_A_MAILBOX = 1.0


def main() -> int:
    """Measure, simulate, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=PARTS, help="leave the others as they are"
    )
    parser.add_argument("--quick", action="store_true", help="small numbers, for development")
    parser.add_argument("--rounds", type=int, default=3, help="turns of the part hosts")
    parser.add_argument("--out", type=Path, help="directory of the results")
    arguments = parser.parse_args()
    out = arguments.out or (ROOT / ".build/bench" if arguments.quick else report.RESULTS)
    out.mkdir(parents=True, exist_ok=True)
    path = out / "scale.json"
    found: dict[str, Any] = report.read(path) or {"about": {}}
    root = ROOT / ".build" / f"bench-scale-{os.getpid()}"
    for part in arguments.only or PARTS:
        about = {"date": report.today(), "machine": report.machine(), "load": os.getloadavg()[0]}
        begun = time.monotonic()
        rounds = 1 if arguments.quick else arguments.rounds
        found[part] = _measured(part, root, found, rounds=rounds, quick=arguments.quick)
        say(f"{part}: {time.monotonic() - begun:.0f} s")
        found["about"][part] = about | {"commit": report.versions()["commit"]}
        path.write_text(json.dumps(found, indent=1) + "\n")
    text = page.page(found)
    (out / "scale.md").write_text(text)
    print(text)
    print(f"Written to {path.with_suffix('.md')} and .json")
    return 0


def say(text: str) -> None:
    """Report progress."""
    print(text, file=sys.stderr, flush=True)


def _measured(part: str, root: Path, found: dict[str, Any], *, rounds: int, quick: bool) -> Any:
    if part == "directory":
        sizes = {500: "t4g.nano", 100_000: ""} if quick else directory.SIZES
        return directory.measure(root, sizes, say)
    if part == "hosts":
        runs = hosts.measure(root, rounds, 40 if quick else 80, say)
        caps = f"Each host: Dovecot {hosts.DOVECOT_CPUS} and `deliver` {hosts.DELIVER_CPUS}"
        return runs | {"caps": f"{caps} of a processor; messages of {hosts.SIZE // 1024} KB."}
    if part == "sessions":
        return {
            str(memory): sessions.measure(root, memory, (100, 130) if quick else steps, say)
            for memory, steps in sessions.STEPS.items()
        }
    return day(found, quick=quick)


def day(found: dict[str, Any], *, quick: bool) -> dict[str, Any]:
    """Return the simulated days of several sizes."""
    by_memory: dict[str, Any] = found["sessions"]
    least = by_memory[str(Memory().dovecot)]
    costs = Costs(
        own_ms=found["hosts"]["queues"]["1"]["all_ms_median"],
        foreign_ms=page.foreign_ms(found["hosts"]["queues"]),
        client_ms=least["client_ms"],
        store_ms=STORE_MS,
        slowness=SLOWNESS,
        idle=IDLE_PROCESSORS,
    )
    loads = (
        Load(100, 10_000),
        Load(1_000, 100_000),
        Load(10_000, 100_000 if quick else 1_000_000),
    )
    needed: list[dict[str, Any]] = []
    for load in loads:
        for kind in ("t4g.nano", "t4g.small"):
            most = by_memory[str(memory_of(kind).dovecot)]["most"]
            sessions_wanted = load.mailboxes * SESSIONS_A_MAILBOX
            counts = hosts_for(load, costs, INSTANCES[kind], sessions_wanted, most)
            names = ("mailboxes", "type", "by_processors", "by_sessions")
            needed.append(dict(zip(names, (load.mailboxes, kind, *counts), strict=True)))
    away = Outage(10 * 3600, 10 * 3600 + 600)
    rows: list[dict[str, Any]] = []
    for load, number, kind, outage in (
        (loads[0], 1, "t4g.nano", None),
        (loads[1], 1, "t4g.small", None),
        (loads[2], 1, "t4g.small", None),
        (loads[2], 4, "t4g.small", None),
        (loads[2], 8, "t4g.small", None),
        (loads[2], 8, "t4g.small", away),
    ):
        outcome = simulate(load, costs, number, INSTANCES[kind], outage=outage)
        what = {"what": ", one away for 10 minutes" if outage else ""}
        about = {"mailboxes": load.mailboxes, "messages": load.messages, "hosts": number}
        rows.append(about | {"type": kind} | what | asdict(outcome))
    assumptions = (
        f"A message takes {costs.own_ms:.1f} ms of processor time at its host, "
        f"{costs.foreign_ms:.2f} at each other, and {costs.client_ms:.1f} for each of 1.5 clients "
        f"that fetch it, all times {SLOWNESS:g} for t4g (assumed), and waits {STORE_MS:.0f} ms for "
        "EFS. An office's day; at half past nine everybody gets a message at once. "
        f"{SESSIONS_A_MAILBOX:g} client of each mailbox stays connected."
    )
    return {"rows": rows, "hosts": needed, "assumptions": assumptions}


if __name__ == "__main__":
    sys.exit(main())
