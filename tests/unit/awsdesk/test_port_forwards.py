"""Which port forwards are those of containers that are gone."""

from pathlib import Path

from awsdesk.ecs.port_forwards import monitored, removals

GONE, HERE = "a" * 64, "b" * 64


def rule(port: int, container: str) -> str:
    """Return a rule as `iptables --list-rules` prints it for netavark 1.4."""
    return (
        f"-A NETAVARK-HOSTPORT-DNAT -p tcp -m tcp --dport {port} -m comment "
        f'--comment "dnat name: net id: {container}" -j NETAVARK-DN-05CE8723D1E91'
    )


def test_only_rules_of_gone_containers_are_removed() -> None:
    """Netavark leaves the forwards of a killed container; those of others stay."""
    listing = f"-N NETAVARK-HOSTPORT-DNAT\n{rule(1, HERE)}\n{rule(2, GONE)}\n"
    (removal,) = removals(listing, [HERE])
    assert removal == [
        *("iptables", "--wait", "--table", "nat", "--delete", "NETAVARK-HOSTPORT-DNAT"),
        *("-p", "tcp", "-m", "tcp", "--dport", "2", "-m", "comment"),
        *("--comment", f"dnat name: net id: {GONE}", "-j", "NETAVARK-DN-05CE8723D1E91"),
    ]


def test_what_has_no_owner_stays() -> None:
    """Rules of other programs, and of other forms, are not removed."""
    other = '-A NETAVARK-HOSTPORT-DNAT -p tcp -m comment --comment "mine" -j X'
    assert removals(f"{other}\n", []) == []


def test_a_container_of_another_store_is_known_by_its_monitor(tmp_path: Path) -> None:
    """`podman ps` lists only its own store; a container of another store keeps its forwards."""
    commands = {
        "1": b"/sbin/init\0",
        "20": b"/usr/bin/conmon\0--api-version\x001\0-c\0" + GONE.encode() + b"\0-u\0x\0",
        "21": b"/usr/bin/conmon\0--version\0",
        "22": b"",
    }
    for process, command in commands.items():
        (tmp_path / process).mkdir()
        (tmp_path / process / "cmdline").write_bytes(command)
    assert {GONE} == monitored(tmp_path)
