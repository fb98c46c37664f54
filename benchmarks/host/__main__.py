"""Measures the three containers of a host and writes the results.

Exit status: 0 measured, 1 measured and a demand is not reached, 69 something it needs is missing.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.host import (
    index_copy,
    mailbox,
    memory,
    neighbour,
    notices,
    picture,
    relay,
    results,
    search,
    storage,
)
from benchmarks.host.bed import CONFIGURATIONS, Bed, laid
from benchmarks.mailhost import report
from benchmarks.mailhost.engine import ROOT, Container, EngineError

PARTS = ("memory", "notices", "mailbox", "neighbour", "search", "index-copy", "relay", "storage")
RUNS = 5  # of the searches in a large mailbox


def main() -> int:
    """Measure the parts that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.host", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short runs, for development")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part (repeatable)")
    parser.add_argument("--out", type=Path, help="default benchmarks/results; quick: .build/bench")
    for name, limit in memory.LIMITS.items():
        parser.add_argument(f"--{name}", type=int, default=limit, help="its limit in MB")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        print("bench-host: needs root, as the host's directories belong to several users")
        return 69
    out = arguments.out or (ROOT / ".build/bench" if arguments.quick else report.RESULTS)
    parts: dict[str, Any] = {}
    try:
        about = {
            "date": report.today(),
            "machine": report.machine(),
            "versions": report.versions(),
            "quick": arguments.quick,
        }
        for part in arguments.only or PARTS:
            found = {part: about | {"found": measure(part, arguments)}}
            parts = results.merged(out, found)
            results.write(parts, picture.drawn(results.flat(parts)), out)
    except EngineError as error:
        print(f"bench-host: {error}", file=sys.stderr)
        return 69
    print(f"\nWritten to {out}/mailhost.md, .json, .svg\n")
    judged = results.judged(parts)
    for name, value, comparison, wanted, reached in judged:
        print(f"{'ok  ' if reached else 'MISS'} {name}: {value:.2f} ({comparison} {wanted:.2f})")
    return 0 if all(reached for *_, reached in judged) else 1


def _say(line: str) -> None:
    print(line, flush=True)


def measure(part: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure one part, and return its figures. Raises EngineError."""
    quick = arguments.quick
    limits = {name: getattr(arguments, name) for name in memory.LIMITS}
    if part == "memory":
        return _memory(limits, quick=quick)
    if part == "notices":
        return _notices(limits["dovecot"], 100 if quick else 1000)
    if part == "relay":
        with laid(*CONFIGURATIONS) as beds:
            return relay.measure(beds, 500 if quick else 3000, 2 if quick else 5, _say)
    with laid("ours") as (bed,):
        if part == "storage":
            return storage.measure(bed, 2000 if quick else 50_000, _say, quick=quick)
        box = bed.dovecot(f"{limits['dovecot']}m")
        if part == "neighbour":
            size = (5000, 200, 5.0) if quick else (50_000, 1700, 30.0)
            found = neighbour.measure(bed, box, *size, _say)
        elif part == "index-copy":
            found = index_copy.measure(bed, box, 50 if quick else 1000, 100, _say)
        elif part == "search":
            found = search.measure(bed, box, 1000 if quick else 10_000, _say)
        else:
            found = _mailbox(bed, box, 2000 if quick else 50_000, quick=quick)
        return found


def _memory(limits: dict[str, int], *, quick: bool) -> dict[str, Any]:
    ample = dict.fromkeys(limits, memory.AMPLE)
    found: dict[str, Any] = {}
    for which, given in (("ours", limits), ("defaults", ample)):
        with laid(which) as (bed,):
            found[which] = memory.measure(bed, given, size=500 if quick else 5000, say=_say)
    return {"memory": found}


def _notices(limit: int, samples: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for which in CONFIGURATIONS:
        with laid(which) as (bed,):
            megabytes = limit if which == "ours" else memory.AMPLE
            found |= notices.measure(bed, f"{megabytes}m", samples, _say)
    return found


def _mailbox(bed: Bed, box: Container, count: int, *, quick: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"mails": count}
    found["fill"] = mailbox.fill(bed, box, count)
    _say(f"filled at {found['fill']:.0f} mails/s")
    runs = [mailbox.reading(bed, box, _say) for _ in range(1 if quick else RUNS)]
    # The first one finds nothing in the page cache; no search may be slow in any of them.
    found |= runs[0] | {"search_ms": max(run["search_ms"] for run in runs)}
    found |= mailbox.growth(bed, box, 200 if quick else 2000, 2 if quick else 5, _say)
    found["index_mails"], found["index_seconds"] = mailbox.index(bed, box)
    _say(f"{found['index_mails']} mails indexed anew in {found['index_seconds']:.0f} s")
    return found


if __name__ == "__main__":
    sys.exit(main())
