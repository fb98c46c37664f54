"""What is short on the host: from which figures, and what of it is written."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postal_plexus.deliver import host_room
from postal_plexus.deliver.host_room import DISK, MEMORY, METRIC, STATE, SWAP
from postal_plexus.deliver.metrics import Metrics

MEMINFO = """MemTotal:         455560 kB
MemFree:           20000 kB
MemAvailable:     227780 kB
SwapTotal:       1048572 kB
SwapFree:         524286 kB
HugePages_Total:       0
"""


def test_half_of_each_is_half() -> None:
    """Memory that can be had counts as free, whatever it is used for at the moment."""
    found = host_room.used(MEMINFO, {DISK: (200, 100), STATE: (1000, 250)})
    assert {MEMORY: 50, SWAP: 50, DISK: 50, STATE: 75} == found
    assert {} == host_room.short(found)


def test_what_is_short_is_named() -> None:
    """Each from its own limit on, and nothing else."""
    assert {MEMORY: 90, STATE: 80} == host_room.short({MEMORY: 90, SWAP: 74, DISK: 84, STATE: 80})


def test_a_host_without_swap_is_not_short_of_it() -> None:
    """Nor is anything said of what the kernel does not tell."""
    assert {MEMORY: 50} == host_room.used(MEMINFO.replace("1048572", "0"), {DISK: (0, 0)})


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    """Whatever /proc/meminfo holds one day."""
    host_room.short(host_room.used(text, {}))


def test_this_machine_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real files; a state volume that is not there is no fault of `deliver`'s."""
    monkeypatch.setattr(host_room, "SHORT_FROM", dict.fromkeys(host_room.SHORT_FROM, 0))
    found = host_room.look(str(tmp_path))
    assert {MEMORY, DISK, STATE} <= found.keys()
    assert all(0 <= percent <= 100 for percent in found.values())
    df = ["df", "--output=pcent", "/"]
    percent = subprocess.run(df, capture_output=True, text=True, check=True).stdout.split()[1]
    assert abs(found[DISK] - int(percent.rstrip("%"))) <= 2
    assert {} == host_room.look(str(tmp_path / "missing"))


def test_the_room_for_indexes_is_no_part_of_the_state_volume() -> None:
    """Ten of eleven GB are taken from the start; of the one beside them 200 MB are left."""

    def volume(free_mb: int) -> os.statvfs_result:
        blocks = 11 * 1024 * 256
        return os.statvfs_result(
            (4096, 4096, blocks, free_mb * 256, free_mb * 256, 0, 0, 0, 0, 255)
        )

    percentages = [
        host_room.used("", {STATE: host_room.disk(volume(free), 1024**3)})[STATE]
        for free in (2000, 900, 200)
    ]
    assert [0, 12, 80] == percentages


def test_it_is_a_line_of_its_own_and_only_when_short(capfd: pytest.CaptureFixture[str]) -> None:
    """A metric that is there costs money, so a host that has room has none."""
    short: dict[str, int] = {}
    metrics = Metrics("mail.example.org", lambda: short)
    metrics.tick(0, force=True)
    assert METRIC not in capfd.readouterr().out
    short |= {MEMORY: 93, STATE: 80}
    metrics.tick(0, force=True)
    last = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert (2, short, "mail.example.org") == (last[METRIC], last["used"], last["Host"])
    (described,) = last["_aws"]["CloudWatchMetrics"]
    assert [{"Name": METRIC, "Unit": "Count"}] == described["Metrics"]
