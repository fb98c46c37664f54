"""Free memory, swap and disk space of the host, and the service's own memory.

A container sees the host's /proc/meminfo, and its root is on the host's disk, so `deliver` can
measure them without an agent. There is one metric, written only while something is short, because a
metric costs money for each hour in which it is written, and each alarm costs money. The log line
beside it names the resource. Dovecot's and Postfix's containers write the same metric for theirs,
with memory-short.
"""

import os
from collections.abc import Mapping

# At these percentages somebody should look. Memory is what cannot be reclaimed or swapped out.
MEMORY, SWAP, DISK, STATE = "memory", "swap", "disk", "state volume"
# Of this container's own limit.
DELIVER = "deliver"
# Without the space for indexes, which is allocated in advance (pulumi/deployment/host.py).
_STATE_BYTES = 1024**3
# How many of them are short.
METRIC = "HostShort"
SHORT_FROM = {DELIVER: 90, MEMORY: 90, SWAP: 75, DISK: 85, STATE: 80}


def used(meminfo: str, disks: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    """Return the percentages in use, of those that exist.

    `meminfo`: the text of /proc/meminfo (proc_meminfo(5)). `disks`: (blocks, blocks available) by
    name. Values that cannot be read are left out.
    """
    amounts: dict[str, int] = {}
    for line in meminfo.splitlines():
        words = line.split()
        if len(words) >= 2 and words[1].isascii() and words[1].isdecimal():
            amounts[words[0]] = int(words[1])
    pairs = {
        MEMORY: (amounts.get("MemTotal:", 0), amounts.get("MemAvailable:", 0)),
        SWAP: (amounts.get("SwapTotal:", 0), amounts.get("SwapFree:", 0)),
        **disks,
    }
    return {
        name: round(100 * (total - available) / total)
        for name, (total, available) in pairs.items()
        if total > 0
    }


def short(percentages: Mapping[str, int]) -> dict[str, int]:
    """Return those that are above their limits."""
    return {name: each for name, each in percentages.items() if each >= SHORT_FROM[name]}


def disk(found: os.statvfs_result, most: int | None) -> tuple[int, int]:
    """Return (blocks, blocks available) of a file system, as a container may use it.

    `most`: octets that count at most; the rest of the disk is used for something else.
    """
    # Without the blocks that are reserved for root.
    blocks = found.f_blocks - (found.f_bfree - found.f_bavail)
    if most is not None:
        blocks = min(blocks, most // found.f_frsize)
    return blocks, min(blocks, found.f_bavail)


def container(stat: str, held: str, limit: str) -> tuple[int, int]:
    """Return (octets, octets available) of a container's memory limit.

    Available includes what the kernel can reclaim: page cache and its own caches.

    Args:
        stat: the text of memory.stat, of control groups version 2, or of 1 (with `total_`).
        held: that of memory.current, or of memory.usage_in_bytes.
        limit: that of memory.max, or of memory.limit_in_bytes.

    Raises:
        ValueError: one of them is not a number, so there is no limit.

    https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files
    """
    lines = [line.partition(" ") for line in stat.splitlines()]
    found = {name: int(value) for name, _, value in lines if value.isdecimal()}
    prefix = "total_" if "total_active_file" in found else ""
    names = (f"{prefix}active_file", f"{prefix}inactive_file", "slab_reclaimable")
    most = int(limit)
    return most, most - int(held) + sum(found.get(name, 0) for name in names)


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()


def _own_memory(cgroups: str) -> dict[str, tuple[int, int]]:
    """Return what `container` returns, or nothing if there is no limit or nothing can be read."""
    for path, held, limit in (
        (cgroups, "memory.current", "memory.max"),
        (f"{cgroups}/memory", "memory.usage_in_bytes", "memory.limit_in_bytes"),
    ):
        try:
            texts = [_read(f"{path}/{name}") for name in ("memory.stat", held, limit)]
            return {DELIVER: container(texts[0], texts[1], texts[2])}
        except (OSError, ValueError):
            continue
    return {}


def look(state_path: str, cgroups: str = "/sys/fs/cgroup") -> dict[str, int]:
    """Return what is short now; empty if nothing is short or can be read."""
    try:
        meminfo = _read("/proc/meminfo")
        disks = {
            DISK: disk(os.statvfs("/"), None),
            STATE: disk(os.statvfs(state_path), _STATE_BYTES),
            **_own_memory(cgroups),
        }
    except OSError:
        return {}
    return short(used(meminfo, disks))
