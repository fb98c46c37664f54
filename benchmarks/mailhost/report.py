"""What every report says: when, on what machine, with which versions; its demands judged."""

from __future__ import annotations

import datetime
import json
import math
import platform
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.mailhost.engine import ROOT, command, image

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RESULTS = ROOT / "benchmarks" / "results"

Demand = tuple[str, str, str, float]  # name, key, comparison, figure


def machine() -> str:
    """Return the processor, its cores and the kernel."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    cores = Path("/proc/cpuinfo").read_text().count("processor\t")
    return f"{model}, {cores} cores, Linux {platform.release()}"


def versions() -> dict[str, str]:
    """Of all that took part, and the commit."""
    dovecot = command("run", "--rm", "--entrypoint", "dovecot", image("dovecot"), "--version")
    postfix = command(
        "run", "--rm", "--entrypoint", "postconf", image("postfix"), "-dh", "mail_version"
    )
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return {
        "commit": commit,
        "python": platform.python_version(),
        "dovecot": dovecot.split()[0],
        "postfix": postfix,
    }


def today() -> str:
    """Return the date in UTC."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def read(path: Path) -> dict[str, Any]:
    """Return the results that the last run wrote; nothing if there was none."""
    return json.loads(path.read_text()) if path.exists() else {}


def runs(before: Mapping[str, str], parts: Iterable[str], date: str, commit: str) -> dict[str, str]:
    """Return when each part was measured, and with which commit: those before, then these."""
    return {**before, **dict.fromkeys(parts, f"{date}, commit {commit}")}


def judged(
    results: Mapping[str, Any], demands: Iterable[Demand]
) -> list[tuple[str, float, str, float, bool]]:
    """Return each demand whose figure was measured: name, found, comparison, wanted, reached."""
    found: list[tuple[str, float, str, float, bool]] = []
    for name, key, comparison, wanted in demands:
        value = results.get(key)
        if value is not None:
            reached = value >= wanted if comparison == ">=" else value <= wanted
            found.append((name, value, comparison, wanted, reached))
    return found


def short(value: float) -> str:
    """Format a figure for a table."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"


def percentile(values: list[float], percent: float) -> float:
    """Return the smallest value that is not below this percentage of all values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
