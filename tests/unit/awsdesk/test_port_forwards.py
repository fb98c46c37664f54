"""Which port forwards are those of containers that are gone."""

from awsdesk.ecs.port_forwards import removals

GONE, HERE = "a" * 64, "b" * 64


def rule(port: int, container: str) -> str:
    """A rule as `iptables --list-rules` prints it for netavark 1.4."""
    return (
        f"-A NETAVARK-HOSTPORT-DNAT -p tcp -m tcp --dport {port} -m comment "
        f'--comment "dnat name: net id: {container}" -j NETAVARK-DN-05CE8723D1E91'
    )


def test_only_rules_of_gone_containers_are_removed() -> None:
    listing = f"-N NETAVARK-HOSTPORT-DNAT\n{rule(1, HERE)}\n{rule(2, GONE)}\n"
    (removal,) = removals(listing, [HERE])
    assert removal == [
        *("iptables", "--wait", "--table", "nat", "--delete", "NETAVARK-HOSTPORT-DNAT"),
        *("-p", "tcp", "-m", "tcp", "--dport", "2", "-m", "comment"),
        *("--comment", f"dnat name: net id: {GONE}", "-j", "NETAVARK-DN-05CE8723D1E91"),
    ]


def test_what_has_no_owner_stays() -> None:
    """Rules of other programs and other forms are nobody's leftovers."""
    other = '-A NETAVARK-HOSTPORT-DNAT -p tcp -m comment --comment "mine" -j X'
    assert removals(f"{other}\n", []) == []
