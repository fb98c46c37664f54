"""What is short on the host: from which figures, and what of it is written."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from postal_plexus.deliver import host_room
from postal_plexus.deliver.host_room import DELIVER, DISK, MEMORY, METRIC, STATE, SWAP
from postal_plexus.deliver.metrics import NAMESPACE, Metrics

SCRIPT = Path(__file__).parents[3] / "containers/shared/memory-short"

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
@example("MemTotal: ² kB")
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


# What a Dovecot holds at 128 MiB: anonymous memory, tmpfs, and page cache for the rest.
V2 = """anon {anon}
file {file}
kernel 4194304
shmem 2097152
inactive_file {inactive}
active_file 8388608
slab_reclaimable 2097152
slab_unreclaimable 1048576
"""
V1 = """cache {file}
rss {anon}
inactive_file 0
active_file 0
total_inactive_file {inactive}
total_active_file 8388608
"""
MIB = 1024**2


def control_group(root: Path, version: int, limit: str, held: int, inactive: int) -> str:
    """Make a container's files below `root`, as the kernel names them. Returns their path."""
    group = root if version == 2 else root / "memory"
    group.mkdir(exist_ok=True)
    text = (V2 if version == 2 else V1).format(anon=0, file=inactive + 10 * MIB, inactive=inactive)
    (group / "memory.stat").write_text(text)
    names = ("memory.current", "memory.max")
    if version == 1:
        names = ("memory.usage_in_bytes", "memory.limit_in_bytes")
    (group / names[0]).write_text(f"{held}\n")
    (group / names[1]).write_text(f"{limit}\n")
    return str(root)


@pytest.mark.parametrize(
    ("version", "limit", "held", "inactive", "percent"),
    [
        # The limit is reached, by page cache: daily life.
        (2, str(128 * MIB), 128 * MIB, 90 * MIB, None),
        (1, str(128 * MIB), 128 * MIB, 90 * MIB, None),
        # 128 of which 10 can be dropped (8 of page cache, 2 of the kernel's); version 1 tells 8.
        (2, str(128 * MIB), 128 * MIB, 0, 92),
        (1, str(128 * MIB), 128 * MIB, 0, 94),
        (2, str(40 * MIB), 46 * MIB, 0, 90),
        (2, "max", 128 * MIB, 0, None),
        (1, "9223372036854771712", 128 * MIB, 0, None),
    ],
)
def test_a_container_is_short_of_what_it_cannot_drop(
    tmp_path: Path, version: int, limit: str, held: int, inactive: int, percent: int | None
) -> None:
    """`deliver` and the other containers' script say the same, in the same words."""
    cgroups = control_group(tmp_path, version, limit, held, inactive)
    assert percent == host_room.look(str(tmp_path), cgroups).get(DELIVER)
    done = subprocess.run(
        [SCRIPT, "dovecot", cgroups],
        env={"PATH": os.environ["PATH"], "PLEXUS_HOSTNAME": "mail.example.org"},
        capture_output=True,
        text=True,
        check=True,
    )
    if percent is None:
        assert ("", "") == (done.stdout, done.stderr)
        return
    said = json.loads(done.stdout)
    assert ({"dovecot": percent}, 1, "mail.example.org") == (
        said["used"],
        said[METRIC],
        said["Host"],
    )
    (described,) = said["_aws"]["CloudWatchMetrics"]
    assert (NAMESPACE, [["Host"]]) == (described["Namespace"], described["Dimensions"])
    assert [{"Name": METRIC, "Unit": "Count"}] == described["Metrics"]
    assert 0 <= time.time() * 1000 - said["_aws"]["Timestamp"] < 3600_000


def test_a_container_without_control_groups_is_not_short(tmp_path: Path) -> None:
    """Half a file, or none: nothing is said, and nothing ends."""
    assert DELIVER not in host_room.look(str(tmp_path), str(tmp_path))
    control_group(tmp_path, 2, "", 0, 0)
    assert DELIVER not in host_room.look(str(tmp_path), str(tmp_path))


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


def test_hosts_of_one_stack_count_together_and_are_short_alone(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The minute's numbers have the first host's name, what is short has that of its own host."""
    metrics = Metrics("mail-2.example.org", lambda: {MEMORY: 93}, "mail.example.org")
    metrics.tick(0, force=True)
    metrics.directory_refused()
    hosts = [json.loads(line)["Host"] for line in capfd.readouterr().out.splitlines()]
    assert ["mail.example.org", "mail-2.example.org", "mail-2.example.org"] == hosts
