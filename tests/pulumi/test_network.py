"""Who reaches what over the network, exactly: one rule more or less fails."""

import json

from registrations import Run

HOST = "securitygroup-plexus-main-network-host"
STORE = "securitygroup-plexus-main-network-store"
WORLD = ("0.0.0.0/0", "::/0")
_INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
_EGRESS = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"


def rules(run: Run, kind: str) -> list[tuple[str, str, int, str]]:
    """Return each rule's group, protocol, port (no ranges) and other end, except for ICMP."""
    found = []
    for entry in run.of(kind):
        given = entry.inputs
        if given["ipProtocol"].startswith("icmp"):
            continue
        assert given["fromPort"] == given["toPort"], entry.urn
        ends = [
            given[key]
            for key in ("cidrIpv4", "cidrIpv6", "prefixListId", "referencedSecurityGroupId")
            if key in given
        ]
        assert 1 == len(ends), entry.urn
        found.append((given["securityGroupId"], given["ipProtocol"], given["fromPort"], ends[0]))
    return sorted(found)


def published(run: Run) -> set[int]:
    """Return the host's ports that lead to containers."""
    return {
        mapping["hostPort"]
        for entry in run.of("aws:ecs/taskDefinition:TaskDefinition")
        for container in json.loads(entry.inputs["containerDefinitions"])
        for mapping in container.get("portMappings", [])
    }


def opened(run: Run) -> set[int]:
    """Return the host's ports that the world reaches."""
    return {port for group, _, port, _ in rules(run, _INGRESS) if group == HOST}


def test_the_world_reaches_imap_submission_and_sieve_and_the_host_the_store(run: Run) -> None:
    """993, 465, 587 and 4190 by IPv4 and IPv6; NFS from the host's group alone."""
    mail = [(HOST, "tcp", port, source) for port in (465, 587, 993, 4190) for source in WORLD]
    assert sorted([*mail, (STORE, "tcp", 2049, HOST)]) == rules(run, _INGRESS)


def test_browsers_are_let_in_with_webmail_alone(run: Run, everything: Run) -> None:
    """443 by IPv4 and IPv6, and nothing else more; a container answers on each open port."""
    more = [(HOST, "tcp", 443, source) for source in WORLD]
    assert sorted([*rules(run, _INGRESS), *more]) == rules(everything, _INGRESS)
    assert published(everything) == opened(everything)


def test_the_host_hears_that_its_packets_are_too_big(run: Run) -> None:
    """Type 3 code 4 of ICMP and type 2 of ICMPv6, from everywhere, and no other ICMP either way."""
    icmp = [
        (entry.inputs["securityGroupId"], entry.inputs["ipProtocol"], entry.inputs["fromPort"])
        + (entry.inputs["toPort"], entry.inputs.get("cidrIpv4") or entry.inputs["cidrIpv6"])
        for kind in (_INGRESS, _EGRESS)
        for entry in run.of(kind)
        if entry.inputs["ipProtocol"].startswith("icmp")
    ]
    assert [(HOST, "icmp", 3, 4, "0.0.0.0/0"), (HOST, "icmpv6", 2, 0, "::/0")] == sorted(icmp)


def test_the_address_waits_for_its_gateway(run: Run) -> None:
    """EC2 may refuse to associate an address in a network that has none."""
    gateway = run.one("aws:ec2/internetGateway:InternetGateway")
    assert gateway.urn in run.one("aws:ec2/eip:Eip").dependencies


def test_the_host_reaches_aws_and_its_store_and_nothing_else(run: Run) -> None:
    """HTTPS, SES's submission, NFS to the store's group; the store begins no connection."""
    out = [(HOST, "tcp", port, target) for port in (443, 587) for target in WORLD]
    assert sorted([*out, (HOST, "tcp", 2049, STORE)]) == rules(run, _EGRESS)


def test_no_group_has_rules_of_another_kind(run: Run) -> None:
    """Two groups without rules inside, and nobody adds rules by the older resource."""
    groups = run.of("aws:ec2/securityGroup:SecurityGroup")
    assert 2 == len(groups)
    assert [[], []] == [each.inputs.get("ingress", []) for each in groups]
    assert [[], []] == [each.inputs["egress"] for each in groups]
    assert [] == run.of("aws:ec2/securityGroupRule:SecurityGroupRule")


def test_the_open_ports_are_those_on_which_a_container_listens(run: Run) -> None:
    """Every open port has a container behind it, and every published port is open."""
    assert published(run) == opened(run)


def test_host_and_store_are_in_their_groups(run: Run) -> None:
    """The fixed address and the host's first interface in the one, the mount targets in the other."""
    (first,) = run.one("aws:ec2/launchTemplate:LaunchTemplate").inputs["networkInterfaces"]
    address = run.one("aws:ec2/networkInterface:NetworkInterface").inputs
    assert [[HOST], [HOST]] == [address["securityGroups"], first["securityGroups"]]
    targets = run.of("aws:efs/mountTarget:MountTarget")
    assert 2 == len({each.inputs["subnetId"] for each in targets})
    assert {(STORE,)} == {tuple(each.inputs["securityGroups"]) for each in targets}
