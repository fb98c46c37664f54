"""The running containers, according to the kernel, have only what their task definitions specify.

Processes are read in /proc; what the engine was told does not matter here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from system.desk import Desk

# capability(7), by bit.
CAPABILITIES = {
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "FOWNER": 3,
    "KILL": 5,
    "SETGID": 6,
    "SETUID": 7,
    "NET_BIND_SERVICE": 10,
    "SYS_CHROOT": 18,
}
# The only other parts of the tree that may be written: the runtime's own, per container.
ENGINES_OWN = ("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/proc", "/sys/fs/cgroup")

READ = r"""
for process in /proc/[0-9]*; do
    [ -r "$process/status" ] || continue
    echo "process ${process#/proc/}"
    sed -n 's/^\(Name\|Uid\|Gid\|Groups\|Cap...\|NoNewPrivs\|Seccomp\):[\t ]*/\1 /p' "$process/status"
done
true  # a process may end while it is looked at
"""


@dataclass(frozen=True)
class Process:
    """What /proc says of one process."""

    name: str
    # Real, effective, saved and for files.
    users: frozenset[int]
    permitted: int
    bounding: int
    no_new_privileges: bool
    seccomp: int


def processes(desk: Desk, container: str) -> list[Process]:
    """Return all processes of a container, its first one first, without this test's own."""
    told = desk.engine("exec", desk.container(container), "sh", "-c", READ)
    found: dict[int, Process] = {}
    for block in told.split("process ")[1:]:
        number, *lines = block.splitlines()
        fields = dict(line.partition(" ")[::2] for line in lines)
        if "Uid" in fields and fields["Name"] not in {"sh", "sed"}:
            found[int(number)] = Process(
                fields["Name"],
                frozenset(map(int, fields["Uid"].split())),
                int(fields["CapPrm"], 16),
                int(fields["CapBnd"], 16),
                fields["NoNewPrivs"] == "1",
                int(fields["Seccomp"]),
            )
    return [found[number] for number in sorted(found)]


def mounts(desk: Desk, container: str) -> dict[str, set[str]]:
    """Return mount point -> options; the last mount at a place counts."""
    told = desk.engine("exec", desk.container(container), "cat", "/proc/self/mounts")
    fields = (line.split(" ") for line in told.splitlines())
    return {point: set(options.split(",")) for _, point, _, options, *_ in fields}


def asked_for(desk: Desk, container: str) -> Mapping[str, object]:
    """Return the container's part of its registered task definition."""
    (definition,) = desk.task_definition(container)["containerDefinitions"]
    return definition


def bits(names: list[str]) -> int:
    return sum(1 << CAPABILITIES[name] for name in names)


CONTAINERS = ("dovecot", "postfix", "deliver", "web")


@pytest.mark.parametrize("container", CONTAINERS)
def test_no_process_has_more_than_the_definition_asks_for(desk: Desk, container: str) -> None:
    """Only the listed capabilities exist and none can be regained; users other than root have none."""
    asked = asked_for(desk, container)
    assert ["no-new-privileges"] == asked["dockerSecurityOptions"]
    assert ["ALL"] == asked["linuxParameters"]["capabilities"]["drop"]
    allowed = bits(asked["linuxParameters"]["capabilities"]["add"])
    running = processes(desk, container)
    assert running
    for process in running:
        assert process.bounding == allowed, process
        assert process.permitted & ~allowed == 0, process
        assert process.permitted == 0 or 0 in process.users, process
        assert process.no_new_privileges, process


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_engines_seccomp_filter_holds(desk: Desk, container: str) -> None:
    """Each process is in filter mode (2), so that rare system calls are unavailable."""
    assert {2} == {process.seccomp for process in processes(desk, container)}


def test_who_does_the_work_is_not_root(desk: Desk) -> None:
    """This holds for all of `deliver`, and for processes of Dovecot and Postfix that read mail or face the internet."""
    assert not any(0 in process.users for process in processes(desk, "deliver"))
    with desk.mailbox(desk.ann), desk.submission(desk.ben):
        running = processes(desk, "dovecot") + processes(desk, "postfix")
    of_root = {process.name for process in running if 0 in process.users}
    others = {process.name for process in running if 0 not in process.users}
    assert {"imap-login", "imap", "lmtp", "auth", "smtpd", "qmgr", "submission-guar"} <= others
    # The masters, which start the others, what they log through, and scripts of ours that wait.
    known = {"tini", "dovecot", "anvil", "log", "config", "entrypoint", "follow-certific", "sleep"}
    # A spare imap process becomes the mail user when a client that has logged in is handed to it.
    spare = [each for each in running if each.name == "imap" and 0 in each.users]
    assert 1 >= len(spare)
    assert of_root <= known | {"master", "imap"}


def test_nginx_and_php_answer_as_users_without_rights(desk: Desk) -> None:
    """Only nginx's first process, which reads the key, and our scripts run as root; PHP does not."""
    running = processes(desk, "web")
    users = {process.name: process.users for process in running if 0 not in process.users}
    assert {5005} == users["nginx"]
    assert {5006} == users["php-fpm8.4"]
    of_root = [process.name for process in running if 0 in process.users]
    assert 1 == of_root.count("nginx")
    assert {*of_root} <= {"tini", "nginx", "entrypoint", "follow-certific", "sleep"}


@pytest.mark.parametrize("container", CONTAINERS)
def test_nothing_can_be_written_but_what_is_mounted_for_it(desk: Desk, container: str) -> None:
    """The root and read-only mounts cannot be written, and tmpfs is noexec."""
    asked = asked_for(desk, container)
    there = mounts(desk, container)
    assert "ro" in there["/"]
    expected = {m["containerPath"]: m.get("readOnly", False) for m in asked["mountPoints"]}
    for point, read_only in expected.items():
        assert ("ro" if read_only else "rw") in there[point], point
    memory = {tmpfs["containerPath"] for tmpfs in asked["linuxParameters"]["tmpfs"]}
    for point in memory:
        assert {"rw", "nosuid", "nodev", "noexec"} <= there[point], point
    others = {point for point, options in there.items() if "rw" in options}
    unexpected = others - expected.keys() - memory - set(ENGINES_OWN)
    # The engine's own files, one each: names and hosts.
    assert {
        p
        for p in unexpected
        if not re.match(
            r"/(etc/(hosts|hostname|resolv.conf)|run/\.containerenv|proc/.*|sys/.*)$", p
        )
    } == set()
