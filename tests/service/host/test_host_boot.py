"""The host's boot script: each boot, each trouble, run in a container against stand-ins."""

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.container_engine import ROOT, engine
from service.host.instance import Instance

sys.path.insert(0, str(ROOT / "pulumi"))
from deployment.host_boot import MAX_USER_DATA_BYTES, HostBoot, user_data
from deployment.host_directories import HOST_DIRECTORIES

SCRIPT = ROOT / "pulumi" / "deployment" / "host_boot.sh"
BOOT = HostBoot("us-east-1", "plexus-main-cluster", "eni-0123", "vol-0123", ssm_access=False)
# Debian's base image, which `make images` has made or fetched.
IMAGE = "docker.io/library/debian:trixie-slim"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    """Provide a fresh instance, not booted yet."""
    made = Instance(engine(), tmp_path, IMAGE)
    yield made
    made.stop()


def test_shellcheck_finds_nothing() -> None:
    """The script and the user data made of it are clean."""
    text = user_data(BOOT)
    found = subprocess.run(
        ["shellcheck", "--shell=bash", "-"], input=text, capture_output=True, text=True, check=False
    )
    assert "" == found.stdout


def test_the_user_data_fits() -> None:
    """EC2 takes 16 KB."""
    assert MAX_USER_DATA_BYTES >= len(user_data(BOOT).encode())


def test_values_are_quoted() -> None:
    """A value cannot become a command."""
    odd = HostBoot("r", "a'; reboot #", "e", "v", ssm_access=False)
    line = next(x for x in user_data(odd).splitlines() if x.startswith("PLEXUS_CLUSTER="))
    assert ["PLEXUS_CLUSTER=a'; reboot #"] == shlex.split(line)


def test_the_first_boot_installs_a_unit_for_every_boot(instance: Instance) -> None:
    """Cloud-init runs user data once, so the script makes itself a unit that ECS waits for."""
    instance.start(user_data(BOOT))
    assert 0 == instance.boot(unit=False)
    assert [
        "systemctl daemon-reload",
        "systemctl enable plexus-boot.service",
        "systemctl start --no-block plexus-boot.service",
    ] == instance.calls()
    unit = instance.shell("cat /etc/systemd/system/plexus-boot.service")
    assert "Restart=on-failure" in unit
    drop_in = instance.shell("cat /etc/systemd/system/ecs.service.d/plexus.conf")
    assert "Requires=plexus-boot.service" in drop_in
    assert "RequiresMountsFor=/var/lib/plexus" in drop_in
    assert "700" == instance.shell("stat -c %a /usr/local/sbin/plexus-boot")


def test_a_fresh_host_takes_address_and_volume_and_then_starts_ecs(instance: Instance) -> None:
    """The order: packages, networkd's file, address, the way out, volume, and ECS last of all."""
    instance.start(user_data(BOOT))
    assert 0 == instance.boot()
    calls = instance.calls(
        *("dnf", "aws", "curl", "mkfs.ext4", "mount", "fallocate", "networkctl", "systemctl")
    )
    done = [
        next(i for i, call in enumerate(calls) if fragment in call)
        for fragment in (
            "amazon-efs-utils awscli-2 ecs-init amazon-ec2-net-utils e2fsprogs iproute",
            "networkctl reload",
            "attach-network-interface --network-interface-id eni-0123 --instance-id i-new",
            "https://ecs.us-east-1.amazonaws.com/ping",
            "attach-volume --volume-id vol-0123 --instance-id i-new",
            "mkfs.ext4",
            "mount -o noatime,nodev,nosuid,noexec",
            "fallocate --length 1G",
            "mount -o loop,noatime,nodev,nosuid,noexec",
            "systemctl start --no-block ecs.service",
        )
    ]
    assert sorted(done) == done
    assert len(calls) - 1 == done[-1]


def test_the_shared_directories_have_their_owners(instance: Instance) -> None:
    """Numeric ids and modes as the containers expect them."""
    instance.start(user_data(BOOT))
    instance.boot()
    for directory in HOST_DIRECTORIES:
        found = instance.shell(f"stat -c '%u %g 0%a' {directory.path}")
        assert f"{directory.uid} {directory.gid} {directory.mode}" == found


def test_docker_and_the_agent_are_configured(instance: Instance) -> None:
    """Docker's file is JSON; the agent knows its cluster and what to leave to the host."""
    instance.start(user_data(BOOT))
    instance.boot()
    daemon = json.loads(instance.shell("cat /etc/docker/daemon.json"))
    assert (True, False) == (daemon["live-restore"], daemon["userland-proxy"])
    # Docker, which runs already on some images, reads it again.
    calls = [call for call in instance.calls("systemctl") if "docker.service" in call]
    assert ["stop", "enable"] == [call.split()[1] for call in calls]
    config = instance.shell("cat /etc/ecs/ecs.config").splitlines()
    assert {
        "ECS_CLUSTER=plexus-main-cluster",
        "ECS_RESERVED_MEMORY=128",
        "ECS_ENABLE_AWSLOGS_EXECUTIONROLE_OVERRIDE=true",
        "ECS_ENABLE_TASK_IAM_ROLE=true",
        "ECS_IMAGE_PULL_BEHAVIOR=once",
    } <= set(config)


@pytest.mark.parametrize("asked", [False, True])
def test_session_manager_is_there_only_when_asked_for(instance: Instance, *, asked: bool) -> None:
    """Without `ssm-access` there is no way in at all."""
    instance.start(user_data(HostBoot("r", "c", "eni-0123", "vol-0123", ssm_access=asked)))
    instance.boot()
    calls = [call for call in instance.calls("dnf", "systemctl") if "amazon-ssm-agent" in call]
    assert 2 * asked == len(calls)


def test_a_reboot_does_nothing_twice(instance: Instance) -> None:
    """What is attached, formatted and mounted stays so."""
    instance.start(user_data(BOOT))
    instance.boot()
    instance.calls()
    (instance.directory / "installed").write_text("")
    assert 0 == instance.boot()
    done = " ".join(instance.calls())
    for never in (
        "attach-network",
        "attach-volume",
        "mkfs",
        "mount -o",
        "fallocate",
        "dnf",
        "dd if",
    ):
        assert never not in done


@pytest.mark.parametrize("offset", [0, 1024, 2**20 - 5, 128 * 2**20 + 1080])
def test_a_disk_that_holds_something_is_never_formatted(instance: Instance, offset: int) -> None:
    """Wherever in the first MiB, where ext4 begins, or at its second superblock."""
    instance.start(user_data(BOOT), disk=str(offset))
    assert 0 == instance.boot()
    calls = [call for call in instance.calls("mkfs.ext4", "mount") if "indexes" not in call]
    assert 1 == len(calls)
    assert calls[0].startswith("mount")


def test_without_the_volume_nothing_starts(instance: Instance) -> None:
    """No container may write where the volume should be: ECS stays down, the unit tries again."""
    instance.start(user_data(BOOT), volume_lost="yes")
    assert 0 != instance.boot()
    assert [] == [call for call in instance.calls("systemctl") if "ecs.service" in call]


def test_when_the_mount_fails_nothing_starts(instance: Instance) -> None:
    """The mount point itself takes nothing either: it is made immutable before."""
    instance.start(user_data(BOOT), mount_fails="yes")
    assert 0 != instance.boot()
    calls = instance.calls()
    assert "chattr +i /var/lib/plexus" in calls
    assert [] == [call for call in calls if "ecs.service" in call]


def test_old_sockets_are_swept_away(instance: Instance) -> None:
    """A socket of the last life would make a container think that its neighbour is there."""
    instance.start(user_data(BOOT))
    instance.boot()
    instance.shell(
        "perl -e 'use IO::Socket::UNIX; IO::Socket::UNIX->new(Local =>"
        ' "/var/lib/plexus/run/dovecot/lmtp.sock", Listen => 1)\''
    )
    instance.boot()
    assert "" == instance.shell("ls /var/lib/plexus/run/dovecot")
