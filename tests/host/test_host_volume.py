"""The mail host takes its volume and address from a predecessor, and never formats what may hold mail.

`host_boot.sh` runs unmodified, as its systemd unit. The tests are stations of one machine's life,
in this order.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from host.cloud import (
    FIRST,
    HOST_ROOT,
    INSTANCE,
    INTERFACE,
    OLD_INSTANCE,
    REGION,
    VOLUME,
    Cloud,
)
from host.guest import Guest, Volume
from host.guest_image import ROOT, disk_from_directory, guest_image

sys.path.insert(0, str(ROOT / "pulumi"))
from deployment.host_boot import HostBoot, user_data

pytestmark = pytest.mark.timeout(1800)

BOOT = HostBoot(REGION, "plexus-main-cluster", INTERFACE, VOLUME, ssm_access=False)
_UNIT_JOURNAL = "journalctl --boot --unit plexus-boot --output cat --no-pager"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Provide a new instance with a live predecessor and a volume with a bad first block."""
    directory: Path = tmp_path_factory.mktemp("cloud")
    (directory / "state" / "queue").mkdir(parents=True)
    (directory / "state" / "queue" / "mail").write_text("mail\n")
    disk = disk_from_directory(directory / "state", directory / "torn.img", 2048, "plexus-state")
    with Cloud(directory) as made:
        made.volume = Volume(disk, "vol0123", bad=(0, 4096))
        made.interface_holder = made.volume_holder = OLD_INSTANCE
        with Guest(guest_image(HOST_ROOT), directory / "guest", made.vpc, [FIRST]) as guest:
            made.boot(guest, user_data(BOOT))
            yield made


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def test_a_predecessor_that_does_not_let_go_loses_both_at_once(cloud: Cloud) -> None:
    """After two minutes, volume and address in one go: it never writes while nobody reaches it."""
    deadline = time.monotonic() + 900
    while INSTANCE != cloud.volume_holder:
        assert cloud.guest is not None
        assert time.monotonic() < deadline, cloud.guest.journal()[-3000:]
        time.sleep(1)
    assert [
        "detach-volume",
        "detach-network-interface",
        "attach-network-interface",
        "attach-volume",
    ] == [change.split()[5] for change in cloud.changes]
    assert 120 > cloud.change_times[1] - cloud.change_times[0]
    assert all("--force" in change for change in cloud.changes[:2])


def test_a_volume_that_cannot_be_read_is_never_formatted(cloud: Cloud) -> None:
    """However often the unit tries; it says why, and nothing starts."""
    assert cloud.guest is not None
    assert cloud.volume is not None
    before = _digest(cloud.volume.file)
    said = "may hold mail"
    deadline = time.monotonic() + 600
    while cloud.guest.run(_UNIT_JOURNAL).count(said) < 2:
        assert time.monotonic() < deadline, cloud.guest.run(_UNIT_JOURNAL)
        time.sleep(2)
    assert before == _digest(cloud.volume.file)
    assert "formatting" not in cloud.guest.run(_UNIT_JOURNAL)
    assert [] == cloud.registered
    # Nothing can be written where the volume should be, not even by root.
    assert 0 != cloud.guest.run_status("touch /var/lib/plexus/mail")[1]


def test_a_new_volume_is_formatted(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> None:
    """In its place, it is taken at the unit's next try without anybody's help."""
    assert cloud.guest is not None
    assert cloud.volume is not None
    cloud.guest.unplug(cloud.volume)
    cloud.guest.volumes = []
    cloud.volume = Volume.blank(tmp_path_factory.mktemp("new") / "vol0123", 2048)
    cloud.volume_holder = None
    assert 1 == cloud.await_ready().count("formatting")
    options = cloud.guest.run("findmnt --noheadings --output OPTIONS /var/lib/plexus").strip()
    assert {"noatime", "nodev", "noexec", "nosuid", "rw"} <= set(options.split(","))
    cloud.guest.run("echo mail > /var/lib/plexus/mail; sync /var/lib/plexus/mail")


def test_after_a_power_cut_it_is_found_again(cloud: Cloud) -> None:
    """Formatted once in its life."""
    assert cloud.guest is not None
    cloud.guest.power_cut()
    cloud.guest.power_on()
    assert "formatting" not in cloud.await_ready()
    assert "mail\n" == cloud.guest.run("cat /var/lib/plexus/mail")
