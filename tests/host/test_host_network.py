"""The mail host boots in a VPC: its address, its routes, and who a service of its sees.

`host_boot.sh` runs unmodified, as its systemd unit, with real networkd and net-utils. The tests
are stations of one machine's life, in this order.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from host.cloud import (
    ADDRESS,
    ADDRESS6,
    CLIENT,
    CLIENT6,
    FIRST,
    HOST_ROOT,
    INTERFACE,
    REGION,
    VOLUME,
    Cloud,
)
from host.guest import Guest, Volume
from host.guest_image import ROOT, guest_image

sys.path.insert(0, str(ROOT / "pulumi"))
from deployment.host_boot import HostBoot, user_data

pytestmark = pytest.mark.timeout(1800)

BOOT = HostBoot(REGION, "plexus-main-cluster", INTERFACE, VOLUME, ssm_access=False)

# A container that tells who calls, published as ECS does it. Its programs are the guest's.
_CONTAINER = """
mkdir -p /tmp/root/usr && cd /tmp/root && ln -sf usr/bin usr/lib usr/lib64 . &&
tar -c . | docker import - listener &&
docker run --detach --restart always --publish 993:993 --volume /usr:/usr:ro listener \
    /usr/bin/socat TCP6-LISTEN:993,ipv6only=0,fork,reuseaddr 'SYSTEM:echo $SOCAT_PEERADDR'
"""


@dataclass(frozen=True)
class Host:
    """The mail host, and the cloud that it is in."""

    cloud: Cloud
    guest: Guest
    ready_at: float

    def ways_out(self) -> list[str]:
        """Return the links by which packets leave, by IPv4 and IPv6; "" where none does."""
        found = []
        for family, anywhere in (("-4", "192.0.2.1"), ("-6", "2001:db8:1::1")):
            words = self.guest.run(f"ip {family} route get {anywhere}", check=False).split()
            found.append(words[words.index("dev") + 1] if "dev" in words else "")
        return found

    def seen(self) -> list[str]:
        """Return whom the container sees when the client calls, by IPv4 and IPv6."""
        return [self.cloud.seen_as(each) for each in (ADDRESS, ADDRESS6)]


SEEN = [CLIENT, CLIENT6]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Provide a fresh instance with a new volume, which says that it is ready."""
    directory: Path = tmp_path_factory.mktemp("cloud")
    with Cloud(directory) as cloud:
        cloud.volume = Volume.blank(directory / "vol0123", 2048)
        with Guest(guest_image(HOST_ROOT), directory / "guest", cloud.vpc, [FIRST]) as guest:
            cloud.boot(guest, user_data(BOOT))
            cloud.await_ready()
            yield Host(cloud, guest, time.monotonic())


def test_it_is_ready_when_all_goes_out_by_its_address(host: Host) -> None:
    """The ENI, not the instance's own card: by both families, and ECS hears from its address."""
    assert ["ens6", "ens6"] == host.ways_out()
    deadline = time.monotonic() + 120
    while not host.cloud.registered:
        assert time.monotonic() < deadline, host.guest.journal()[-3000:]
        time.sleep(1)
    assert {ADDRESS} == set(host.cloud.registered)
    assert ["attach-network-interface", "attach-volume"] == [
        change.split()[5] for change in host.cloud.changes
    ]


def test_a_container_sees_who_calls(host: Host) -> None:
    """A client outside reaches port 993 by IPv4 and IPv6, and is seen with its own address."""
    host.guest.run(_CONTAINER, timeout=600)
    assert SEEN == host.seen()


def test_docker_has_read_its_settings(host: Host) -> None:
    """IPv6 in the default network, and no proxy process for each port."""
    six = host.guest.run("docker network inspect bridge --format '{{.EnableIPv6}}'")
    assert "true\n" == six
    assert "" == host.guest.run("pgrep docker-proxy", check=False)


def test_there_is_swap_on_disk_and_in_compressed_memory(host: Host) -> None:
    """Memory first, disk after it, and the kernel uses both early."""
    swaps = dict(
        line.split() for line in host.guest.run("swapon --noheadings --show=NAME,PRIO").splitlines()
    )
    assert {"/swapfile": "1", "/dev/zram0": "100"} == swaps
    assert "80\n" == host.guest.run("cat /proc/sys/vm/swappiness")


def test_a_thousand_clients_can_be_told_of_mail(host: Host) -> None:
    """Each client in IDLE takes one of the kernel's inotify instances."""
    limit = host.guest.run("cat /proc/sys/fs/inotify/max_user_instances")
    assert 1000 < int(limit)


@pytest.mark.parametrize("seconds", [60, 300])
def test_the_routes_hold(host: Host, seconds: int) -> None:
    """After one minute and after five net-utils has refreshed its files once and more."""
    time.sleep(max(0.0, host.ready_at + seconds - time.monotonic()))
    assert ["ens6", "ens6"] == host.ways_out()
    assert SEEN == host.seen()


def test_the_routes_hold_when_the_network_is_set_up_anew(host: Host) -> None:
    """After what an update of net-utils or an administrator does."""
    host.guest.run("systemctl restart --no-block policy-routes@ens5 policy-routes@ens6")
    host.guest.run("networkctl reload; networkctl reconfigure ens5 ens6")
    deadline = time.monotonic() + 300
    while host.ways_out() != ["ens6", "ens6"]:
        assert time.monotonic() < deadline, host.guest.run("ip route; ip -6 route")
        time.sleep(1)
    assert SEEN == host.seen()


def test_after_a_reboot_all_is_as_before(host: Host) -> None:
    """The address is there from the start, nothing is attached or formatted a second time."""
    host.cloud.registered.clear()
    changes = list(host.cloud.changes)
    host.guest.run("echo mail > /var/lib/plexus/queue/mail")
    host.guest.reboot()
    journal = host.cloud.await_ready()
    assert "formatting" not in journal
    assert changes == host.cloud.changes
    assert ["ens6", "ens6"] == host.ways_out()
    assert "mail\n" == host.guest.run("cat /var/lib/plexus/queue/mail")
    host.guest.await_output("docker ps --format '{{.Status}}'", "Up")
    assert SEEN == host.seen()
