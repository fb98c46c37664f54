"""Several hosts: each has its own parts, and those of the first are as in a stack of one host."""

import json
import re

import pytest
from registrations import TWO_HOSTS, Registration, Run, record


def _names(run: Run, kind: str) -> list[str]:
    return sorted(each.name for each in run.of(kind))


def _environment(run: Run, name: str) -> dict[str, str]:
    definition = run.one("aws:ecs/taskDefinition:TaskDefinition", name).inputs
    (container,) = json.loads(definition["containerDefinitions"])
    return {each["name"]: each["value"] for each in container["environment"]}


def test_nothing_of_the_first_host_goes_away(run: Run, two: Run) -> None:
    """A second host adds resources. None of the first is destroyed, and no mail with it."""
    patches = {
        each.urn for each in run.registrations if "Patches" in each.urn or "-patches" in each.name
    }
    assert set() == {each.urn for each in run.registrations} - patches - {
        each.urn for each in two.registrations
    }


def test_a_third_host_leaves_the_others_as_they_are(two: Run) -> None:
    """It takes nothing away, and what holds mail, addresses or disks of the others stays as it was."""
    three = record(TWO_HOSTS | {"postal-plexus:hosts": 3}, certificates=True)
    later = {each.urn: each.inputs for each in three.registrations}
    patches = {each.urn for each in two.registrations if "patches" in each.urn.lower()}
    assert set() == {each.urn for each in two.registrations} - patches - later.keys()
    changed = {
        each.type.rpartition(":")[2]
        for each in two.custom
        if each.urn in later and later[each.urn] != each.inputs and each.urn not in patches
    }
    assert not changed & {"Bucket", "Queue", "Volume", "FileSystem", "NetworkInterface", "Eip"}
    assert not changed & {"Group", "LaunchTemplate", "Cluster"}
    assert 3 == len(three.of("aws:ec2/networkInterface:NetworkInterface"))


def test_what_a_second_host_changes_of_the_first(run: Run, two: Run) -> None:
    """Its volume, instance, address, queues and cluster are not touched."""
    later = {each.urn: each.inputs for each in two.registrations}
    changed = {
        each.type.rpartition(":")[2] + " " + each.name
        for each in run.custom
        if each.urn in later and later[each.urn] != each.inputs
    }
    assert {
        "BucketObjectv2 plexus-main-directory",
        "Parameter main-system",
        "TaskDefinition plexus-main-deliver",
        "TaskDefinition plexus-main-dovecot",
        *(
            f"TaskDefinition plexus-main-maintenance-{name}"
            for name in ("dovecot", "postfix", "restore")
        ),
        "RolePolicy plexus-main-deliver-task",
        "Record mail.example.net-a",
        "Record mail.example.net-aaaa",
    } >= {each for each in changed if "patches" not in each and "watch" not in each}


def test_each_host_has_its_own_parts(two: Run) -> None:
    """Address, volume, group, cluster, services, queues and certificate."""
    for kind, name in (
        ("aws:ec2/networkInterface:NetworkInterface", "network"),
        ("aws:ec2/eip:Eip", "network"),
        ("aws:autoscaling/group:Group", "host"),
        ("aws:ecs/cluster:Cluster", "cluster"),
    ):
        assert [f"plexus-main-{name}", f"plexus-main-{name}-2"] == _names(two, kind)
    volumes = two.of("aws:ebs/volume:Volume")
    assert ["plexus-main-host", "plexus-main-host-2-zone-2"] == sorted(
        each.name for each in volumes
    )
    assert {(True, True)} == {(each.protect, each.retain_on_delete) for each in volumes}
    services = [f"plexus-main-{name}" for name in ("deliver", "dovecot", "postfix")]
    assert sorted([*services, *(f"{name}-2" for name in services)]) == _names(
        two, "aws:ecs/service:Service"
    )
    queues = _names(two, "aws:sqs/queue:Queue")
    for name in ("mail", "events", "dead-letters"):
        assert {f"plexus-main-{name}", f"plexus-main-{name}-2"} <= set(queues)
    assert ["plexus-main-certbot", "plexus-main-certbot-2"] == [
        name for name in _names(two, "aws:scheduler/schedule:Schedule") if "certbot" in name
    ]


def test_a_host_serves_only_its_own_cluster(two: Run) -> None:
    """So ECS places a host's tasks there and nowhere else, and it can take no other's tasks."""
    for number, other in (("", "-2"), ("-2", "")):
        service = two.one("aws:ecs/service:Service", f"main-dovecot{number}")
        assert service.inputs["cluster"].endswith(f"/plexus-main-cluster{number}")
        policy = two.one("aws:iam/rolePolicy:RolePolicy", f"main-host{number}").inputs["policy"]
        assert re.search(rf"cluster/plexus-main-cluster{number}\b(?!-)", policy)
        assert not re.search(rf"plexus-main-cluster{other}[\"/]", policy)
        interface = f'network-interface/networkinterface-plexus-main-network{other}"'
        assert interface not in policy


def test_every_notification_reaches_each_host(two: Run) -> None:
    """SNS puts a copy into each host's queue, unfiltered; what it cannot deliver is kept there."""
    found = {
        each.name: each.inputs
        for each in two.of("aws:sns/topicSubscription:TopicSubscription")
        if each.inputs["protocol"] == "sqs"
    }
    assert {
        f"plexus-main-{name}{number}" for name in ("mail", "events") for number in ("", "-2")
    } == found.keys()
    for name, inputs in found.items():
        number = "-2" if name.endswith("-2") else ""
        topic = "received" if "-mail" in name else "events"
        assert inputs["topic"].endswith(f":plexus-main-{topic}")
        assert inputs["endpoint"].endswith(f":{name}")
        assert "filterPolicy" not in inputs
        assert json.loads(inputs["redrivePolicy"])["deadLetterTargetArn"].endswith(
            f"plexus-main-dead-letters{number}"
        )


def test_deliver_uses_its_own_queues_and_the_versions_of_the_directory(two: Run) -> None:
    """A host's `deliver` may not even read the other's queue."""
    for number, other in (("", "-2"), ("-2", "")):
        environment = _environment(two, f"main-deliver{number}")
        assert number.removeprefix("-") or "1" == environment["PLEXUS_SHARD"]
        assert environment["PLEXUS_QUEUE_URL"].endswith(f"/plexus-main-mail{number}")
        assert environment["PLEXUS_DIRECTORY"].startswith("s3://plexus-main-directory-")
        assert f"mail{number}.example.org" == environment["PLEXUS_HOSTNAME"]
        policy = json.loads(
            two.one("aws:iam/rolePolicy:RolePolicy", f"main-deliver{number}-task").inputs["policy"]
        )
        resources = json.dumps([each["Resource"] for each in policy["Statement"]])
        assert f'plexus-main-mail{number}"' in resources
        assert f'plexus-main-mail{other}"' not in resources
    versioning = two.one("aws:s3/bucketVersioning:BucketVersioning")
    assert "Enabled" == versioning.inputs["versioningConfiguration"]["status"]


def test_the_directory_names_the_hosts_and_their_addresses(two: Run) -> None:
    """With their private addresses, which only AWS knows."""
    stored = two.one("aws:s3/bucketObjectv2:BucketObjectv2", "-directory")
    directory = json.loads(stored.inputs["content"])
    assert "content" in stored.secrets
    assert ["mail.example.org", "mail-2.example.org"] == [h["name"] for h in directory["hosts"]]
    assert {"ben@example.net": 2} == {
        each["address"]: each["home"] for each in directory["mailboxes"] if "home" in each
    }


def test_names_lead_to_the_domains_host(two: Run) -> None:
    """mail.<domain> is the address of the host on which the domain lives."""
    network = {each.name: each for each in two.of("aws:ec2/eip:Eip")}
    assert 2 == len(network)
    records = {
        each.inputs["name"]: each
        for each in two.of("aws:route53/record:Record")
        if each.inputs["type"] == "A"
    }

    def host_of(record: Registration) -> str:
        (address,) = [each for each in record.dependencies if "eip:Eip" in each]
        return address.rpartition("::")[2]

    expected = {
        "mail.example.org": "plexus-main-network",
        "mail-2.example.org": "plexus-main-network-2",
        "mail.example.net": "plexus-main-network-2",
    }
    assert expected == {name: host_of(records[name]) for name in expected}


def test_certificates_have_every_client_host(two: Run) -> None:
    """A client whose resolver still has a domain's former host is served there, too."""
    for number in ("", "-2"):
        names = _environment(two, f"main-certbot{number}")["PLEXUS_CERTIFICATE_NAMES"].split()
        assert {f"mail{number}.example.org", "mail.example.org", "mail.example.net"} == set(names)
        assert f"mail{number}.example.org" == names[0]


def test_dovecot_knows_the_other_hosts(two: Run) -> None:
    """It believes only them about a client's address, and has a port for their LMTP."""
    for number in ("", "-2"):
        environment = _environment(two, f"main-dovecot{number}")
        assert (number.removeprefix("-") or "1") == environment["PLEXUS_SHARD"]
        assert "10.0.0.10 10.0.0.20" == environment["PLEXUS_PEERS"]


@pytest.mark.parametrize("port", [24, 24245])
def test_only_hosts_reach_lmtp_and_doveadm(two: Run, port: int) -> None:
    """LMTP has no authentication: open to the group of the hosts and to nobody else."""
    rules = [
        each.inputs
        for each in two.of("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule")
        if each.inputs.get("fromPort", 0) <= port <= each.inputs.get("toPort", 0)
    ]
    (rule,) = [each for each in rules if each["ipProtocol"] == "tcp"]
    assert rule["referencedSecurityGroupId"] == rule["securityGroupId"]
    assert "cidrIpv4" not in rule
