"""How many IMAP clients Dovecot takes, by its container's memory."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from postal_plexus.config.host_memory import memory_of

CONTAINERS = Path(__file__).parents[3] / "containers/dovecot"
LEAST = 128 << 20


def room(folder: Path, limit: str, *, first: bool = False) -> str:
    """What the script prints in a container with this limit; `first`: control groups version 1."""
    file = folder / ("memory/memory.limit_in_bytes" if first else "memory.max")
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"{limit}\n")
    script = CONTAINERS / "room"
    return subprocess.run([script, folder], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("limit", [str(LEAST), str(64 << 20), "max", "9223372036854771712"])
@pytest.mark.parametrize("first", [False, True])
def test_the_least_memory_leaves_the_settings_alone(
    tmp_path: Path, limit: str, *, first: bool
) -> None:
    """So does a container without a limit, whose memory is not known."""
    assert "" == room(tmp_path, limit, first=first)


def test_without_control_groups_the_settings_are_left_alone(tmp_path: Path) -> None:
    """Where they are not mounted, Dovecot starts all the same."""
    script = CONTAINERS / "room"
    done = subprocess.run([script, tmp_path], capture_output=True, text=True, check=True)
    assert "" == done.stdout


@pytest.mark.parametrize("first", [False, True])
def test_more_memory_lets_more_clients_in(tmp_path: Path, *, first: bool) -> None:
    """On a t4g.small: several times as many, whose processes fit into two thirds of its memory."""
    megabytes = memory_of("t4g.small").dovecot
    text = room(tmp_path, str(megabytes << 20), first=first)
    processes, clients = (
        int(re.findall(pattern, text)[0])
        for pattern in (r"process_limit = (\d+)", r"client_limit = (\d+)")
    )
    assert processes > 100
    assert processes * 2.7 < megabytes * 2 / 3
    assert clients > 1000


def test_the_steps_begin_where_the_configuration_ends(tmp_path: Path) -> None:
    """One MB more than the least never lowers a limit."""
    text = room(tmp_path, str(LEAST + (1 << 20)))
    conf = (CONTAINERS / "dovecot.conf").read_text()
    for service, setting in (
        ("imap", "process_limit"),
        ("imap-login", "client_limit"),
        ("imap-hibernate", "client_limit"),
    ):
        pattern = rf"service {service} {{[^}}]*?\b{setting} = (\d+)"
        (before,), (after,) = re.findall(pattern, conf), re.findall(pattern, text)
        assert int(before) <= int(after) <= int(before) + 1
