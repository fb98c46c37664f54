"""The space for indexes on the state volume: the boot script's own function, on real file systems."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from postal_plexus.config.state_volume import state_gb
from service.container_engine import ROOT, engine

_SCRIPT = ROOT / "pulumi/deployment/host_boot.sh"


@contextlib.contextmanager
def mounted(directory: Path, size: str) -> Iterator[Path]:
    """Mount a volume of this size, formatted as the script does, from a sparse file."""
    engine()  # root and its tools, as for the other tests of the host
    device, state = directory / "volume", directory / "state"
    state.mkdir()
    subprocess.run(["truncate", f"--size={size}", device], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", device], check=True)
    subprocess.run(["mount", "-o", "loop", device, state], check=True)
    try:
        yield state
    finally:
        subprocess.run(["umount", "--quiet", state / "indexes"], check=False)
        subprocess.run(["chattr", "-i", state / "indexes"], check=False, capture_output=True)
        subprocess.run(["umount", state], check=True)


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """Provide a volume of 200 MB."""
    with mounted(tmp_path, "200M") as state:
        yield state


def mount_indexes(state: Path, size: str) -> None:
    """Run the function as the script does."""
    subprocess.run(
        ["bash", "-c", 'source "$1"; mount_indexes', "bash", _SCRIPT],
        env={**os.environ, "PLEXUS_STATE": str(state), "PLEXUS_INDEXES_SIZE": size},
        check=True,
        timeout=60,
    )


def fill(path: Path) -> None:
    """Write until nothing more goes."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 20))
        except OSError:
            pass


@pytest.mark.parametrize("indexes_gb", [1, 19, 20, 59, 60, 100, 1000])
def test_the_volume_has_room_for_both(tmp_path: Path, indexes_gb: int) -> None:
    """Also a big one, of which ext4 takes gigabytes for itself: half a GB is left for the queue."""
    with mounted(tmp_path, f"{state_gb(indexes_gb)}G") as state:
        mount_indexes(state, f"{indexes_gb}G")
        found = os.statvfs(state)
        assert 1 << 29 <= found.f_bavail * found.f_frsize


def test_full_indexes_leave_the_queue_its_room(volume: Path) -> None:
    """When not a block is left for indexes, the queue beside them can still be written."""
    mount_indexes(volume, "96M")
    fill(volume / "indexes/index")
    assert 1 << 20 > os.statvfs(volume / "indexes").f_bavail * 1024
    queue = volume / "queue"
    queue.mkdir()
    (queue / "mail").write_bytes(bytes(40 << 20))
    assert 40 << 20 == (queue / "mail").stat().st_size


def test_a_full_queue_leaves_the_indexes_theirs(volume: Path) -> None:
    """Their room is taken from the start, so that a queue that grows does not break their disk."""
    mount_indexes(volume, "64M")
    fill(volume / "queue")
    (volume / "indexes/index").write_bytes(bytes(32 << 20))
    subprocess.run(["sync", "--file-system", volume / "indexes"], check=True)
    assert bytes(32 << 20) == (volume / "indexes/index").read_bytes()


def test_they_are_made_once_and_grow(volume: Path) -> None:
    """A boot finds what is there; more room keeps it; less room than there is changes nothing."""
    for size, least in (("48M", 30), ("48M", 30), ("96M", 70), ("48M", 70)):
        mount_indexes(volume, size)
        kept = volume / "indexes/kept"
        kept.write_text((kept.read_text() if kept.exists() else "") + size)
        subprocess.run(["mountpoint", "-q", volume / "indexes"], check=True)
        free = subprocess.run(
            ["df", "--output=size", "--block-size=M", volume / "indexes"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert least <= int(free.stdout.split()[-1].rstrip("M"))
        subprocess.run(["umount", volume / "indexes"], check=True)
    mount_indexes(volume, "48M")
    assert "48M48M96M48M" == kept.read_text()


def test_without_the_mount_nothing_is_written(volume: Path) -> None:
    """The directory below the mount takes nothing, not even from root."""
    mount_indexes(volume, "48M")
    subprocess.run(["umount", volume / "indexes"], check=True)
    with pytest.raises(PermissionError):
        (volume / "indexes/index").write_text("")
