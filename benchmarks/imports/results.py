"""The page of results, and what is demanded of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from benchmarks.mailhost import report

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DEMANDS: tuple[report.Demand, ...] = (
    ("messages a second", "mails_a_second", ">=", 500.0),
    ("speed relative to mbsync", "mbsync_ratio", ">=", 1.0),
    ("memory, ten times the messages relative to one", "growth", "<=", 1.2),
    ("memory with one message of 40 MB, MB", "peak_large_mb", "<=", 256.0),
    ("everything equal after a kill half-way", "equal", ">=", 1.0),
)


def page(found: Mapping[str, Any]) -> str:
    """Return the page of one run's figures. Pure."""
    mails, few = f"{found['mails']:,}", f"{found['mails'] // 10:,}"
    rows = {
        f"messages a second: {mails} of 1 to 12 KB, from the start of the task to its end": (
            "mails_a_second"
        ),
        "one sync of Dovecot's straight into the mailbox, in the same container": (
            "one_step_a_second"
        ),
        "`plexus import` relative to that (median of the rounds)": "one_step_ratio",
        "mbsync between the same two servers": "mbsync_a_second",
        "`plexus import` relative to mbsync": "mbsync_ratio",
        "processor time of the task for one message, ms": "processor_ms",
        "a second pass without news, seconds": "again_seconds",
        f"memory of the task without page cache, MB, {few} messages": "peak_few_mb",
        f"... {mails} messages": "peak_many_mb",
        "... first, second, third and last quarter of that run": "quarters_mb",
        f"... {mails} messages, one of them of 40 MB": "peak_large_mb",
        "messages, octets and flags of each folder equal, after a kill half-way (1: yes)": "equal",
        "load of the machine before (2 cores: above 2 it is busy with something else)": "load",
    }
    lines = [
        "# Importing a mailbox",
        "",
        "Made by `make bench-import`; [benchmarks.md](../../docs/benchmarks.md) explains it.",
        "",
        f"{found['date']}, {found['machine']}; rounds: {found['rounds']}; limit {found['limit']}.",
        "",
        "| | |",
        "|---|---:|",
    ]
    for name, key in rows.items():
        value = found[key]
        shown = value if isinstance(value, list) else [value]
        lines.append(f"| {name} | {', '.join(report.short(each) for each in shown)} |")
    judged = report.judged(found, DEMANDS)
    missed = [name for name, *_, reached in judged if not reached]
    lines += ["", f"Targets missed: {', '.join(missed) or 'none'}."]
    return "\n".join(lines) + "\n"


def write(out: Path, found: Mapping[str, Any]) -> None:
    """Write the page and every figure into a directory."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "imports.md").write_text(page(found))
    (out / "imports.json").write_text(json.dumps(found, indent=1) + "\n")
