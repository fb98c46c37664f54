"""The processor time of one program of several in a container.

What a process that has ended used is in the figures of its parent (proc_pid_stat(5): cutime and
cstime).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.mailhost.engine import ControlGroup


@dataclass(frozen=True, slots=True)
class Process:
    """A running process: its parent, its name, and ticks of its own and its ended children."""

    parent: int
    name: str
    ticks: int


def parsed(stat: str) -> tuple[int, Process]:
    """Return the process id and the process of a line of /proc/PID/stat."""
    head, _, rest = stat.rpartition(")")
    pid, _, name = head.partition(" (")
    fields = rest.split()  # from field 3 on
    return int(pid), Process(int(fields[1]), name, sum(int(each) for each in fields[11:15]))


def processes(groups: Iterable[ControlGroup]) -> dict[int, Process]:
    """Return the processes of control groups, as the host sees them."""
    found: dict[int, Process] = {}
    for group in groups:
        for pid in group.processes():
            try:
                found.update([parsed(Path(f"/proc/{pid}/stat").read_text())])
            except OSError:  # it has just ended
                continue
    return found


def tree_ticks(found: dict[int, Process], name: str) -> int:
    """Return the ticks of all processes of this name and of all below them."""

    def belongs(pid: int) -> bool:
        process = found.get(pid)
        return process is not None and (process.name == name or belongs(process.parent))

    return sum(process.ticks for pid, process in found.items() if belongs(pid))
