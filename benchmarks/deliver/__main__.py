"""Measures `deliver` and writes the results.

Exit status: 0 measured, 1 measured and a demand is not reached, 69 something it needs is missing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.deliver import latency, memory, picture, results, throughput
from benchmarks.deliver.bed import laid
from benchmarks.deliver.peer import at_hand
from benchmarks.mailhost import report
from benchmarks.mailhost.engine import ROOT, EngineError

PARTS = ("throughput", "predecessor", "memory", "latency", "growth")


def main() -> int:
    """Measure the parts that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deliver", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short runs, for development")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part (repeatable)")
    parser.add_argument("--pairs", type=int, help="of interleaved runs (default 5; quick 2)")
    parser.add_argument("--process", action="store_true", help="deliver as a process, not boxed")
    parser.add_argument("--scenario", type=int, action="append", help="only these, from 0")
    parser.add_argument("--out", type=Path, help="default benchmarks/results; quick: .build/bench")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        print("bench: needs root, as the host's directories belong to several users")
        return 69
    out = arguments.out or (ROOT / ".build/bench" if arguments.quick else report.RESULTS)
    try:
        found = results.merged(
            report.read(out / "deliver.json") if arguments.only else {},
            measure(arguments),
            arguments.only or PARTS,
        )
    except EngineError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 69
    drawn = ""
    if found.get("throughput"):
        drawn = picture.drawn(found["throughput"], f"{found['date']}, {found['machine']}")
    results.write(found, drawn, out)
    print(f"\nWritten to {out}/deliver.md, .json, .svg\n")
    missed = [name for name, *_, reached in results.judged(found) if not reached]
    for name, value, comparison, wanted, reached in results.judged(found):
        print(f"{'ok  ' if reached else 'MISS'} {name}: {value:.2f} ({comparison} {wanted:g})")
    return 1 if missed else 0


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the requested parts, and return one JSON object. Raises EngineError."""
    quick = arguments.quick
    parts = arguments.only or PARTS
    pairs = arguments.pairs or (2 if quick else 5)
    found: dict[str, Any] = {
        "date": report.today(),
        "machine": report.machine(),
        "versions": report.versions(),
        "deliver_as": "process" if arguments.process else "container",
        "quick": quick,
    }
    base = ROOT / ".build"
    base.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=base, prefix="bench-") as scratch:
        root = Path(scratch) / "bed"
        Path(scratch).chmod(0o755)
        with laid(root, delay=throughput.AWS_DELAY) as bed:
            if "throughput" in parts:
                found |= _throughput(bed, arguments, pairs)
            if "predecessor" in parts:
                speed = throughput.predecessor(bed, 3 if quick else 12)
                print(f"predecessor's loop: {speed:.3f} mails/s", flush=True)
                found["predecessor_mails_per_second"] = speed
            if "growth" in parts:
                lengths = [500, 2000] if quick else [1_000, 10_000, 100_000]
                found["growth"] = [one.in_json() for one in memory.growth(bed, lengths, _say)]
            bed.stub.post("settings", delay=0)
            if "memory" in parts:
                found |= _memory(bed, quick=quick)
            if "latency" in parts:
                found |= _latency(bed, 40 if quick else 400, boxed=not arguments.process)
    return found


def _say(line: str) -> None:
    print(line, flush=True)


def _throughput(bed: Any, arguments: argparse.Namespace, pairs: int) -> dict[str, Any]:
    wanted = throughput.scenarios(quick=arguments.quick)
    if arguments.scenario:
        wanted = [wanted[index] for index in arguments.scenario]
    with (
        bed.service(boxed=not arguments.process) as service,
        at_hand(bed, sorted({scenario.size for scenario in wanted})) as peer,
    ):
        measured = [
            throughput.measure(bed, peer, service, scenario, pairs, _say) for scenario in wanted
        ]
    small = [one for one in measured if one.name.startswith("4 KB")] or measured
    return {
        "throughput": [one.in_json() for one in measured],
        "throughput_ratio": min(one.ratio for one in measured),
        "cpu_ms_per_mail": max(statistics.median(one.cpu_ms) for one in small),
    }


def _memory(bed: Any, *, quick: bool) -> dict[str, Any]:
    starts = memory.start_up(bed, 3 if quick else 10)
    _say(f"start-up to the first receive: {statistics.median(starts) * 1000:.0f} ms")
    stages = memory.stages(bed, 1000 if quick else 10_000, 10, _say, cold=not quick)
    return {
        "start_up_ms": statistics.median(starts) * 1000,
        "memory": {
            name: {"peak": stage.peak, "anonymous": stage.anonymous}
            for name, stage in stages.items()
        },
        "memory_peak_start_mb": stages["start"].peak,
        "memory_peak_after_mails_mb": stages["small"].peak,
        "memory_peak_mb": stages["big"].peak,
    }


def _latency(bed: Any, samples: int, *, boxed: bool) -> dict[str, Any]:
    with bed.service(boxed=boxed):
        queued, direct = latency.measure(bed, samples)
    found: dict[str, Any] = {"latency_samples": samples}
    for name, taken in (("latency", queued), ("latency_dovecot_alone", direct)):
        p50, p99 = (report.percentile(taken, percent) * 1000 for percent in (50, 99))
        _say(f"{name}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, most {max(taken) * 1000:.1f} ms")
        found |= {f"{name}_p50_ms": p50, f"{name}_p99_ms": p99}
    return found


if __name__ == "__main__":
    sys.exit(main())
