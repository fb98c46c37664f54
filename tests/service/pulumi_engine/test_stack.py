"""The whole stack on a desk's AWS: made, left alone, and changed in every way an operator does.

One stack lives through this module; each test changes its configuration, says exactly what that
may touch, and leaves the stack for the next one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from awsdesk.pulumi import DeployError, Deployment, unprotect
from service.desk.running import RunningDesk
from service.pulumi_engine.deployer import Deployer

PROGRAM = Path(__file__).parents[3] / "pulumi"
IMAGES = {name: f"localhost/postal-plexus/{name}:1" for name in ("dovecot", "postfix", "deliver")}
IMAGES["certbot"] = "none"
MAIL = b"From: x@example.com\r\n\r\nkept\r\n"


@dataclass
class LivingStack:
    """The stack as it is now; `change` deploys another configuration."""

    deployer: Deployer
    config: dict[str, Any]
    last: Deployment = field(default_factory=lambda: Deployment({}))

    def change(self, **keys: Any) -> Deployment:
        """Deploy with these keys changed; `_` for `-`."""
        config = {
            **self.config,
            **{f"postal-plexus:{key.replace('_', '-')}": value for key, value in keys.items()},
        }
        self.last = self.deployer.deploy_stack(PROGRAM, "test", config)
        self.config = config
        return self.last

    def protected(self) -> dict[str, str]:
        """Return the ids of the resources that hold mail, by URN."""
        return {entry["urn"]: entry["id"] for entry in self.deployer.state() if entry["protect"]}

    def archived(self) -> bytes:
        """Return the mail that was put into the archive at the beginning."""
        archive = self.deployer.desk.client("s3")
        return archive.get_object(Bucket=self.last.outputs["bucket"], Key="inbound/1")[
            "Body"
        ].read()


@pytest.fixture(scope="module")
def stack(desk: RunningDesk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivingStack]:
    """Provide the template, deployed, with a mail in its archive."""
    template: Mapping[str, Any] = yaml.safe_load((PROGRAM / "Pulumi.prod.yaml").read_text())
    config = {**template["config"], "postal-plexus:images": IMAGES}
    living = LivingStack(Deployer(desk, tmp_path_factory.mktemp("stack")), config)
    living.change()
    # ACM has issued the sites' certificates by now, so a second run completes them.
    living.change()
    desk.client("s3").put_object(Bucket=living.last.outputs["bucket"], Key="inbound/1", Body=MAIL)
    return living


@pytest.fixture(autouse=True)
def mail_is_not_touched(stack: LivingStack) -> Iterator[None]:
    """Whatever a test changes: what is protected stays the same resource, and mail stays in it."""
    before = stack.protected()
    yield
    after = stack.protected()
    let_go = {urn for urn in before if urn.endswith(("::example.edu", "Volume::plexus-test-host"))}
    assert {urn: before[urn] for urn in before.keys() - let_go}.items() <= after.items()
    assert MAIL == stack.archived()


def names(urns: tuple[str, ...]) -> set[str]:
    """Return the type and name of each URN."""
    return {f"{urn.split('::')[2].rpartition(':')[2]} {urn.split('::')[3]}" for urn in urns}


def touched(deployment: Deployment) -> dict[str, set[str]]:
    """Return all changes of a deployment."""
    kinds = {
        kind: names(getattr(deployment, kind))
        for kind in ("created", "updated", "replaced", "deleted")
    }
    return {kind: found for kind, found in kinds.items() if found}


def mailbox(address: str, config: Mapping[str, Any]) -> dict[str, str]:
    """Return a mailbox with somebody else's hash."""
    given = config["postal-plexus:mailboxes"][0]["password-hash"]
    return {"address": address, "password-hash": given}


def test_the_same_configuration_changes_nothing(stack: LivingStack) -> None:
    """A second deployment of the whole stack finds nothing to do."""
    assert stack.change().is_unchanged


def test_a_new_mailbox_touches_the_directory_and_one_rule(stack: LivingStack) -> None:
    """Adding a user changes the object that the containers follow and SES's rule, nothing else."""
    more = [
        *stack.config["postal-plexus:mailboxes"],
        mailbox("eve@example.org", stack.config),
    ]
    assert {
        "updated": {
            "BucketObjectv2 plexus-test-directory",
            "ReceiptRule plexus-test-rules-recipients",
        }
    } == touched(stack.change(mailboxes=more))


def test_a_removed_alias_touches_the_same(stack: LivingStack) -> None:
    """Taking an address away is as small a change."""
    changed = touched(stack.change(aliases=[]))
    assert {
        "updated": {
            "BucketObjectv2 plexus-test-directory",
            "ReceiptRule plexus-test-rules-recipients",
        }
    } == changed


def test_a_renamed_mailbox_touches_the_same(stack: LivingStack) -> None:
    """A new address for a user restarts no container."""
    boxes = [
        {**box, "address": box["address"].replace("eve@", "eva@")}
        for box in stack.config["postal-plexus:mailboxes"]
    ]
    assert {"updated"} == set(touched(stack.change(mailboxes=boxes)))


def test_a_new_image_changes_one_service(stack: LivingStack) -> None:
    """A new digest of one image registers one task definition and updates one service."""
    images = {**IMAGES, "deliver": "localhost/postal-plexus/deliver:2"}
    assert {
        "replaced": {"TaskDefinition plexus-test-deliver"},
        "updated": {"Service plexus-test-deliver"},
        "deleted": {"TaskDefinition plexus-test-deliver"},
    } == touched(stack.change(images=images))


def test_another_instance_size_changes_the_template_and_what_has_its_memory(
    stack: LivingStack,
) -> None:
    """A bigger host is a new version of the launch template; its services get more memory."""
    services = {f"plexus-test-{name}" for name in ("deliver", "dovecot", "postfix")}
    assert {
        "replaced": {f"TaskDefinition {name}" for name in services},
        "updated": {
            *("LaunchTemplate plexus-test-host", "Group plexus-test-host"),
            *(f"Service {name}" for name in services),
        },
        "deleted": {f"TaskDefinition {name}" for name in services},
    } == touched(stack.change(instance_type="t4g.micro"))


def test_a_new_domain_adds_and_touches_only_what_lists_domains(stack: LivingStack) -> None:
    """A domain brings its zone, identity and records; containers restart only where they must."""
    domains = [*stack.config["postal-plexus:domains"], "example.edu"]
    boxes = [
        *stack.config["postal-plexus:mailboxes"],
        mailbox("ann@example.edu", stack.config),
    ]
    changed = touched(stack.change(domains=domains, mailboxes=boxes))
    assert {"Zone example.edu", "EmailIdentity example.edu", "Record example.edu-mx"} <= changed[
        "created"
    ]
    assert {
        "BucketObjectv2 plexus-test-directory",
        "ReceiptRule plexus-test-rules-recipients",
        "RolePolicy plexus-test-deliver-task",
        "UserPolicy plexus-test-smtp",
    } == changed["updated"]
    assert {"created", "updated"} == set(changed)


def test_a_domain_goes_once_its_zone_is_freed(stack: LivingStack) -> None:
    """The zone is held until the operator lets go of it on purpose; even then Route 53 keeps it."""
    domains = [each for each in stack.config["postal-plexus:domains"] if each != "example.edu"]
    boxes = [
        box
        for box in stack.config["postal-plexus:mailboxes"]
        if not box["address"].endswith("@example.edu")
    ]
    zone = next(e for e in stack.deployer.state() if e["name"] == "example.edu" and e["protect"])
    with pytest.raises(DeployError, match="Zone 'example.edu' is protected"):
        stack.change(domains=domains, mailboxes=boxes)
    unprotect(stack.deployer.state_file, zone["urn"])
    stack.change(domains=domains, mailboxes=boxes)
    assert zone["urn"] not in {entry["urn"] for entry in stack.deployer.state()}
    kept = stack.deployer.desk.client("route53").get_hosted_zone(Id=zone["id"])
    assert "example.edu." == kept["HostedZone"]["Name"]


def test_settings_that_touch_no_container(stack: LivingStack) -> None:
    """Archive and log days, alarms and DMARC are changed in place."""
    changed = touched(
        stack.change(
            archive_days=60,
            log_days=30,
            dmarc_policy="quarantine",
            budget_usd=20,
        )
    )
    assert {"updated"} == set(changed)
    restarted = {name for name in changed["updated"] if name.startswith(("Service", "Group"))}
    assert set() == restarted


def test_the_host_moves_when_its_zone_is_out(stack: LivingStack) -> None:
    """Address and state volume are made in the other zone; mailboxes stay, the old volume too."""
    volume = next(e for e in stack.deployer.state() if e["protect"] and "Volume" in e["urn"])
    address = stack.last.outputs["address"]
    unprotect(stack.deployer.state_file, volume["urn"])
    changed = touched(stack.change(host_zone=2))
    assert {"Volume plexus-test-host-2"} == changed["created"]
    assert {"NetworkInterface plexus-test-network"} == changed["replaced"]
    assert {"Volume plexus-test-host", "NetworkInterface plexus-test-network"} == changed["deleted"]
    # The IPv6 address is of the other zone's subnet, too.
    assert {
        "Eip plexus-test-network",
        "Group plexus-test-host",
        "LaunchTemplate plexus-test-host",
        "RolePolicy plexus-test-host",
    } == {each for each in changed["updated"] if not each.endswith("-aaaa")}
    assert address == stack.last.outputs["address"]
    ec2 = stack.deployer.desk.client("ec2")
    (kept,) = ec2.describe_volumes(VolumeIds=[volume["id"]])["Volumes"]
    (moved,) = (e for e in stack.deployer.state() if e["name"] == "plexus-test-host-2")
    (made,) = ec2.describe_volumes(VolumeIds=[moved["id"]])["Volumes"]
    assert kept["AvailabilityZone"] != made["AvailabilityZone"]
    assert moved["protect"]


def test_a_second_stack_lives_beside_it(
    stack: LivingStack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Two stacks in one account and region: nothing of one is the other's, or takes its mail away.

    SES has one active rule set: the second stack leaves it to the first, and takes over when told.
    """
    desk = stack.deployer.desk
    config = {
        **stack.config,
        "postal-plexus:domains": ["example.info"],
        "postal-plexus:mail-host": "mail.example.info",
        "postal-plexus:mailboxes": [mailbox("ann@example.info", stack.config)],
        "postal-plexus:aliases": [],
    }
    second = LivingStack(Deployer(desk, tmp_path_factory.mktemp("second")), config)

    def deploy(**keys: str) -> Deployment:
        return second.deployer.deploy_stack(
            PROGRAM, "second", {**config, **{f"postal-plexus:{k}": v for k, v in keys.items()}}
        )

    def active() -> str:
        return desk.client("ses").describe_active_receipt_rule_set()["Metadata"]["Name"]

    before = stack.deployer.state()
    deploy()
    ours = {(entry["type"], entry["id"]) for entry in before if entry["id"]}
    theirs = {
        (entry["type"], entry["id"])
        for entry in second.deployer.state()
        if entry["id"] and not entry["type"].startswith("pulumi:")
    }
    assert 100 < len(theirs)
    assert set() == ours & theirs
    assert "plexus-test-rules" == active()
    assert stack.change().is_unchanged
    deploy(**{"activate-rule-set": "yes"})
    assert "plexus-second-rules" == active()
    stack.change(activate_rule_set="yes")
