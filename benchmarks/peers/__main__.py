"""Measures this project beside what users would run instead, and writes the results.

Needs `tests` in the Python path, as `make bench-peers` has it.

Exit status: 0 measured, 69 something it needs is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.mailhost import report as machine
from benchmarks.mailhost.engine import ROOT, EngineError
from benchmarks.peers import features, measures, power, report
from benchmarks.peers.definitions import IDLE_CLIENTS, OURS, PEERS, SAME, TITLES
from benchmarks.peers.systems import side_by_side, versions

if TYPE_CHECKING:
    from benchmarks.host.sink import Sink
    from benchmarks.peers.systems import System

PARTS = ("intake", "notices", "memory", "relay", "mailbox")
POWER = "power"  # only if it is asked for: virtual machines, more than an hour


def main() -> int:
    """Measure the parts and systems that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short runs, for development")
    parser.add_argument(
        "--only", action="append", choices=(*PARTS, POWER), help="this part (repeatable)"
    )
    parser.add_argument("--system", action="append", choices=TITLES, help="this one (repeatable)")
    parser.add_argument("--rounds", type=int, help="default 3; quick 1")
    parser.add_argument("--mails", type=int, help="of the big mailbox (default 50000; quick 1000)")
    parser.add_argument("--cuts", type=int, help="of power, for each (default 5; quick 1)")
    parser.add_argument("--note", default="", help="a remark for the results: who else ran here")
    parser.add_argument("--out", type=Path, help="default benchmarks/results; quick: .build/bench")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        print("bench-peers: needs root, as the hosts' directories belong to several users")
        return 69
    out = arguments.out or (ROOT / ".build/bench" if arguments.quick else machine.RESULTS)
    try:
        results = machine.read(out / "peers.json")
        if arguments.only != [POWER]:
            # What a power cut loses is kept, and the other parts if some are measured again.
            kept = {k: v for k, v in results.items() if k == POWER or arguments.only}
            results = measure(arguments, out, kept)
        if POWER in (arguments.only or ()):
            cut(arguments, out, results)
    except EngineError as error:
        print(f"bench-peers: {error}", file=sys.stderr)
        return 69
    print(report.table(results))
    print(f"Written to {out}/peers.md, .json, .svg")
    return 0


def cut(arguments: argparse.Namespace, out: Path, results: dict[str, Any]) -> None:
    """Add to the results what each system loses by power cuts, system by system."""
    number = arguments.cuts or (1 if arguments.quick else 5)
    found = results.setdefault(POWER, {})
    for name in arguments.system or TITLES:
        taken = power.cuts(name, number, lambda text: print(text, flush=True))
        found[name] = {"date": machine.today(), "cuts": taken}
        report.write(results, out)


def measure(arguments: argparse.Namespace, out: Path, kept: dict[str, Any]) -> dict[str, Any]:
    """Return all samples, what the report says about them, and `kept`. Raise EngineError."""
    quick, parts = arguments.quick, [each for each in PARTS if each in (arguments.only or PARTS)]
    wanted = arguments.system or list(TITLES)
    rounds = arguments.rounds or (1 if quick else 3)
    big = arguments.mails or (1000 if quick else 50_000)
    about = {
        "date": machine.today(),
        "machine": machine.machine(),
        "quick": quick,
        "note": arguments.note,
        "rounds": rounds,
        "mails": big,
        "versions": {OURS: machine.versions()}
        | {peer.name: versions(peer) for peer in PEERS if peer.name in wanted},
    }
    samples: dict[str, dict[str, Any]] = {name: {} for name in TITLES if name in wanted}
    results = kept
    begun = time.monotonic()
    with side_by_side(wanted) as (systems, sink):
        for system in systems:  # the first messages make the mailboxes
            asyncio.run(measures.intake(system, 40, 4096, "warm", 5_000_000))
        about["proven"] = {
            system.name: asyncio.run(features.proven(system))
            for system in systems
            if system.name in (OURS, SAME)
        }
        for done, part in enumerate(parts, 1):
            if part == "intake":
                _intake(systems, samples, rounds, (200, 60) if quick else (500, 200))
            elif part == "notices":
                _notices(systems, samples, 20 if quick else 80)
            elif part == "memory":
                _memory(systems, sink, samples, 3 if quick else 12)
            elif part == "relay":
                for turn in range(rounds):
                    for system in _turned(systems, turn):
                        taken = asyncio.run(measures.relay(system, sink, 100 if quick else 300))
                        _keep(samples, system, "relay", taken)
            else:
                _mailbox(systems, samples, big)
            # Each part is kept: a later one may fail.
            results = report.merged(kept, {"about": about, "samples": samples}, parts[:done])
            report.write(results, out)
            print(f"{part}: {time.monotonic() - begun:.0f} s since the beginning", flush=True)
    return results


def _turned(systems: list[System], turn: int) -> list[System]:
    """Return the systems in their order in a round: another one begins in each."""
    at = turn % len(systems)
    return systems[at:] + systems[:at]


def _keep(samples: dict[str, dict[str, Any]], system: System, key: str, value: float) -> None:
    samples[system.name].setdefault(key, []).append(value)
    print(f"{system.name}, {key}: {value:.1f}", flush=True)


def _intake(
    systems: list[System], samples: dict[str, Any], rounds: int, counts: tuple[int, int]
) -> None:
    first = 0
    for kilobytes, count in zip((4, 100), counts, strict=True):
        before = {system.name: measures.octets(system) for system in systems}
        for turn in range(rounds):
            for system in _turned(systems, turn):
                run = f"in{kilobytes}-{turn}"
                found = asyncio.run(measures.intake(system, count, kilobytes * 1024, run, first))
                _keep(samples, system, f"in_{kilobytes}", found.speed)
                _keep(samples, system, f"sustained_{kilobytes}", found.sustained)
                _keep(samples, system, f"processor_{kilobytes}", found.processor)
                if found.dovecot:
                    _keep(samples, system, f"dovecot_{kilobytes}", found.dovecot)
            first += count
        if kilobytes == 4:
            for system in systems:
                more = measures.octets(system) - before[system.name]
                _keep(samples, system, "octets", more / (count * rounds))


def _notices(systems: list[System], samples: dict[str, Any], count: int) -> None:
    for name, taken in asyncio.run(measures.notices(systems, count)).items():
        samples[name]["notice"] = taken
        print(f"{name}, notice: median {statistics.median(taken) * 1000:.1f} ms of {len(taken)}")


def _memory(systems: list[System], sink: Sink, samples: dict[str, Any], seconds: float) -> None:
    time.sleep(measures.SPARE)  # since what was measured before
    for system in systems:
        found = asyncio.run(measures.memory(system, sink, IDLE_CLIENTS, seconds, "busy"))
        for key, value in found.items():
            _keep(samples, system, f"memory_{key}", value)


def _mailbox(systems: list[System], samples: dict[str, Any], count: int) -> None:
    for system in systems:
        begun = time.monotonic()
        system.fill(count)
        print(f"{system.name}: {count} messages in {time.monotonic() - begun:.0f} s", flush=True)
        for key, value in asyncio.run(measures.mailbox(system)).items():
            samples[system.name][key] = value
        print(f"{system.name}: {samples[system.name]['search_first']}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
