"""What is left of the host's memory, swap and disks, which all containers share.

A container sees the host's /proc/meminfo, and its root is on the host's disk, so `deliver` can
tell and no agent is needed. One metric, and only while something is short: a metric costs money
for each hour in which it is written, and an alarm for each metric. The line beside it says what.
"""

import os
from collections.abc import Mapping

# From these percentages on a person should look. Memory is what cannot be dropped or swapped out.
MEMORY, SWAP, DISK, STATE = "memory", "swap", "disk", "state volume"
# Beside the room for indexes, which is taken in advance (pulumi/deployment/host.py).
_STATE_BYTES = 1024**3
# How many of them are short.
METRIC = "HostShort"
SHORT_FROM = {MEMORY: 90, SWAP: 75, DISK: 85, STATE: 80}


def used(meminfo: str, disks: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    """Return the percentages in use, of what exists.

    `meminfo`: the text of /proc/meminfo (proc_meminfo(5)). `disks`: (blocks, blocks available) by
    name. What cannot be read from them is left out.
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
    """Return those of them that a person should know of."""
    return {name: each for name, each in percentages.items() if each >= SHORT_FROM[name]}


def disk(found: os.statvfs_result, most: int | None) -> tuple[int, int]:
    """Return (blocks, blocks available) of a file system, as a container may use it.

    `most`: octets beyond which a disk counts as no bigger: the rest of it has another use.
    """
    # Without the blocks that are kept for root.
    blocks = found.f_blocks - (found.f_bfree - found.f_bavail)
    if most is not None:
        blocks = min(blocks, most // found.f_frsize)
    return blocks, min(blocks, found.f_bavail)


def look(state_path: str) -> dict[str, int]:
    """Return what is short now; nothing that is short, or cannot be read, is an empty answer."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            meminfo = file.read()
        disks = {
            DISK: disk(os.statvfs("/"), None),
            STATE: disk(os.statvfs(state_path), _STATE_BYTES),
        }
    except OSError:
        return {}
    return short(used(meminfo, disks))
