"""The virtual machine itself: what the other tests in this directory rely on."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from host.guest import Card, Guest, Volume
from host.guest_image import RootFiles, guest_image
from host.namespace import Namespace
from host.write_log import replay

pytestmark = pytest.mark.timeout(1800)


def test_a_guest_keeps_what_it_has_synced_and_takes_devices_while_it_runs(tmp_path: Path) -> None:
    """Commands, a card by the name it has on AWS, a volume, a bad block, a power cut."""
    image = guest_image(RootFiles())
    whole = Volume.blank(tmp_path / "whole.img", 16)
    torn = Volume.blank(tmp_path / "torn.img", 16)
    with Namespace() as network:
        network.ip("link add br0 type bridge")
        network.ip("link set br0 up")
        network.ip("address add 10.9.0.1/24 dev br0")
        for tap in ("tap5", "tap6"):
            network.tap(tap, "br0")
        first, second = (
            Card("tap5", "02:00:00:00:00:05", 5),
            Card("tap6", "02:00:00:00:00:06", 6),
        )
        with Guest(image, tmp_path / "guest", network, [first], [whole]) as guest:
            assert "text\n" == guest.run("cat", text="text\n")
            assert ("", 7) == guest.run_status("exit 7")
            assert "02:00:00:00:00:05\n" == guest.run("cat /sys/class/net/ens5/address")

            guest.plug(second)
            guest.await_output("ip link", "ens6")
            guest.run("ip address add 10.9.0.6/24 dev ens6; ip link set ens6 up")
            with network.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
                listener.bind(("10.9.0.1", 0))
                listener.listen()
                listener.settimeout(60)
                guest.run(f": </dev/tcp/10.9.0.1/{listener.getsockname()[1]}")
                assert "10.9.0.6" == listener.accept()[1][0]
            guest.unplug(second)
            assert "ens6" not in guest.run("ip link")

            guest.plug(Volume(torn.file, "torn", bad=(8192, 4096)))
            guest.await_output("ls /dev/disk/by-id", "_torn")
            read = "dd if=$(echo /dev/disk/by-id/*_torn) bs=4096 count=1 status=none of=/dev/null"
            guest.run(f"{read} skip=1")
            assert "Input/output error" in guest.run(f"{read} skip=2", check=False)
            guest.run(f"{read} skip=3")

            guest.run("mke2fs -q /dev/disk/by-id/*_whole; mount /dev/disk/by-id/*_whole /mnt")
            guest.run("echo kept > /mnt/kept; sync /mnt /mnt/kept; echo lost > /mnt/lost")
            guest.power_cut()
            guest.power_on()
            guest.run("mount /dev/disk/by-id/*_whole /mnt")
            assert "kept\n" == guest.run("cd /mnt; grep -hs . kept lost; true")


def test_a_disk_forgets_what_it_was_not_told_to_flush(tmp_path: Path) -> None:
    """Direct writes reach the disk at once; a power cut keeps the one that a flush followed."""
    log = tmp_path / "forgetful.log"
    log.touch()
    forgetful = Volume(Volume.blank(tmp_path / "forgetful.img", 16).file, "forgetful", log=log)
    write = (
        "dd of=/dev/disk/by-id/virtio-forgetful bs=4096 count=1 iflag=fullblock oflag=direct"
        " status=none conv=notrunc"
    )
    with Guest(guest_image(RootFiles()), tmp_path / "guest", volumes=[forgetful]) as guest:
        guest.run(f"yes flushed | {write},fsync; yes forgotten | {write} seek=1")
        end = log.stat().st_size
        guest.run(f"yes later | {write},fsync seek=2")
        guest.finish_writes()
    left = Volume.blank(tmp_path / "left.img", 16).file
    assert replay(log, end, left) == 1
    content = left.read_bytes()
    assert content[:8] == b"flushed\n"
    assert not any(content[4096:])
