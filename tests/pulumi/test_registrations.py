"""What the program asks for, seen whole: names, parents, providers, secrets, protection."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from registrations import (
    ACCOUNT,
    PROGRAM,
    Registration,
    Run,
    record,
    stack_configuration,
    walk,
)
from submission_limits import Limits

import pulumi
from postal_plexus.config import regions
from postal_plexus.config.host_memory import memory_of
from postal_plexus.config.model import ALL_KEYS, SubmissionLimits
from stack_mistakes import MISTAKES, Mistake

TEMPLATE = PROGRAM / "Pulumi.prod.yaml"
_IMAGES_KEY = "postal-plexus:images"
_RECORD = "aws:route53/record:Record"

# What cannot be made again when it is gone.
HOLDS_MAIL = {
    "aws:s3/bucket:Bucket": "archive",
    "aws:efs/fileSystem:FileSystem": "mailboxes",
    "aws:route53/zone:Zone": "",
}


@pytest.fixture(scope="module")
def template(run: Run) -> Run:
    """The template as it is, deployed as `main`."""
    return run


def test_the_template_runs_as_it_is(template: Run) -> None:
    """A copy of the template deploys without an edit: one service for each container."""
    services = sorted(entry.name for entry in template.of("aws:ecs/service:Service"))
    assert ["plexus-main-deliver", "plexus-main-dovecot", "plexus-main-postfix"] == services


def test_the_project_file_names_the_program_and_its_state() -> None:
    """`Pulumi.yaml` names the project, which the keys begin with, and an S3 backend."""
    project = yaml.safe_load((PROGRAM / "Pulumi.yaml").read_text())
    assert ("postal-plexus", True) == (
        project["name"],
        project["backend"]["url"].startswith("s3://"),
    )


def test_every_resource_has_a_parent(template: Run) -> None:
    """Nothing hangs loose: each resource is the child of a component or of the stack."""
    assert [] == [entry.urn for entry in template.registrations if not entry.parent]


def test_every_resource_goes_through_the_stacks_provider(template: Run) -> None:
    """No resource falls back to a default provider with another region or other credentials."""
    (provider,) = [
        entry for entry in template.registrations if entry.type == "pulumi:providers:aws"
    ]
    strays = [
        entry.urn
        for entry in template.custom
        if entry.type.startswith("aws:") and not entry.provider.startswith(provider.urn)
    ]
    assert [] == strays


@pytest.mark.parametrize("kind", HOLDS_MAIL)
def test_what_holds_mail_is_protected_and_retained(template: Run, kind: str) -> None:
    """`pulumi destroy` does not take mail with it."""
    entries = [entry for entry in template.of(kind) if entry.name.endswith(HOLDS_MAIL[kind])]
    assert entries
    assert {(True, True)} == {(entry.protect, entry.retain_on_delete) for entry in entries}


def test_secrets_are_wrapped(template: Run) -> None:
    """What Pulumi must encrypt in its state is marked: hashes, the SMTP user's credentials."""
    directory = template.one("aws:s3/bucketObjectv2:BucketObjectv2", "-directory")
    parameters = [
        entry
        for entry in template.of("aws:ssm/parameter:Parameter")
        if "ses-smtp" in entry.inputs["name"]
    ]
    assert 2 == len(parameters)
    assert {"content"} <= directory.secrets
    assert all("value" in entry.secrets for entry in parameters)


def test_no_password_hash_and_no_password_is_outside_a_secret(template: Run) -> None:
    """Neither hashes nor credentials stand in any property that is not marked, nor in an output."""
    for entry in template.registrations:
        plain = {key: value for key, value in entry.inputs.items() if key not in entry.secrets}
        for text in walk(plain):
            assert "ARGON2" not in text, entry.urn
            assert "the-smtp-password" not in text, entry.urn
            assert "the-secret-key" not in text, entry.urn
    shown = {k: v for k, v in template.outputs.items() if k not in template.secret_outputs}
    assert not [text for text in walk(shown) if "ARGON2" in text or "the-smtp" in text]


def test_secure_strings_only(template: Run) -> None:
    """Every SSM parameter that holds a secret is a SecureString."""
    kinds = {
        entry.inputs["type"]
        for entry in template.of("aws:ssm/parameter:Parameter")
        if "value" in entry.secrets
    }
    assert {"SecureString"} == kinds


def test_two_stacks_share_no_name() -> None:
    """Each explicit name and each base of an automatic one differs between two stacks."""
    config = stack_configuration(TEMPLATE)
    named = []
    for stack in ("one", "two"):
        run = record(config, stack, certificates=True)
        names = set()
        for entry in run.custom:
            if entry.type in _NAMED_BY_THE_WORLD:
                continue
            explicit = next((entry.inputs[key] for key in _NAMES if key in entry.inputs), None)
            names.add((entry.type, explicit or entry.name))
        named.append(names)
    assert set() == named[0] & named[1]


# Their names are the domains' or belong to a parent that has the stack's name.
_NAMED_BY_THE_WORLD = {
    "aws:ec2/route:Route",
    "aws:efs/accessPoint:AccessPoint",
    "aws:route53/record:Record",
    "aws:s3/bucketObjectv2:BucketObjectv2",
    "aws:route53/zone:Zone",
    "aws:sesv2/emailIdentity:EmailIdentity",
    "aws:sesv2/emailIdentityFeedbackAttributes:EmailIdentityFeedbackAttributes",
    "aws:sesv2/emailIdentityMailFromAttributes:EmailIdentityMailFromAttributes",
}
_NAMES = ("name", "bucket", "ruleSetName", "configurationSetName", "family", "dashboardName")


def test_a_preview_registers_what_an_update_does(template: Run) -> None:
    """Nothing is made inside `apply`, where a preview would not see it."""
    preview = record(stack_configuration(TEMPLATE), preview=True, certificates=True)
    assert list(map(_identity, template.registrations)) == list(
        map(_identity, preview.registrations)
    )


def _identity(entry: Registration) -> tuple[str, str, str, bool, bool]:
    """What of a registration must be the same in preview and update; its inputs may be unknown."""
    return entry.urn, entry.parent, entry.provider, entry.protect, entry.retain_on_delete


# Images of no content, for tests that compare two runs: ours may be under work meanwhile.
IMAGES = {
    name: f"registry.example/{name}:1" for name in ("certbot", "deliver", "dovecot", "postfix")
}


def test_registration_is_the_same_every_time() -> None:
    """A second run gives the same inputs: a deployment without changes shows none."""
    config = {**stack_configuration(TEMPLATE), "postal-plexus:images": IMAGES}
    first, again = record(config, certificates=True), record(config, certificates=True)
    assert first.registrations == again.registrations


def test_only_plain_files_name_the_account(template: Run) -> None:
    """The program fixes no account: the only one it knows is the one it looked up."""
    foreign = {
        number
        for entry in template.registrations
        for text in walk(entry.inputs)
        for number in re.findall(r"(?:^|:)(\d{12})(?=:|\.|/|$)", text)
    }
    assert {ACCOUNT} == foreign


def test_memory_of_the_containers_leaves_room_on_the_host(template: Run) -> None:
    """What ECS reserves at a time stays within 280 MB of 512: services, certbot, an operator's task.

    AL2023 on a t4g.nano has 419 MB for all, of which 128 are the host's own (ECS_RESERVED_MEMORY).
    """
    reserved: dict[str, int] = {}
    for entry in template.of("aws:ecs/taskDefinition:TaskDefinition"):
        (container,) = json.loads(entry.inputs["containerDefinitions"])
        reserved[container["name"]] = container.get("memoryReservation", container["memory"])
    operators = [reserved.pop(f"maintenance-{of}") for of in ("dovecot", "postfix", "restore")]
    assert {"certbot", "deliver", "dovecot", "postfix"} == reserved.keys()
    assert 256 >= sum(reserved.values())
    assert 280 >= sum(reserved.values()) + max(operators)


def test_a_larger_host_gives_its_services_more_memory() -> None:
    """And its tasks what they have on a small one."""
    configuration = stack_configuration(PROGRAM / "Pulumi.prod.yaml")
    large = record(configuration | {"postal-plexus:instance-type": "t4g.small"}, certificates=True)
    limits = {
        container["name"]: container["memory"]
        for entry in large.of("aws:ecs/taskDefinition:TaskDefinition")
        for container in json.loads(entry.inputs["containerDefinitions"])
    }
    given = memory_of("t4g.small")
    assert (given.dovecot, given.postfix, given.deliver) == (
        *(limits["dovecot"], limits["postfix"], limits["deliver"]),
    )
    assert 256 >= limits["maintenance-dovecot"] >= 64


def test_a_web_container_has_its_place_and_changes_only_what_it_must(
    template: Run, everything: Run
) -> None:
    """It fits beside the others and a task, and mounts neither messages nor others' sockets.

    291 MB is what the host has for containers. Dovecot and Postfix get one directory, `deliver` nothing.
    """

    def containers(run: Run) -> dict[str, dict[str, Any]]:
        entries = run.of("aws:ecs/taskDefinition:TaskDefinition")
        found = [json.loads(entry.inputs["containerDefinitions"])[0] for entry in entries]
        return {container["name"]: container for container in found}

    with_it, without = containers(everything), containers(template)
    task = with_it.pop("maintenance-calendars")
    assert {"web"} == with_it.keys() - without.keys()
    assert 291 >= sum(
        each.get("memoryReservation", each["memory"])
        for name, each in with_it.items()
        if name not in {"maintenance-postfix", "maintenance-restore"}
    )
    # An operator's task has the calendars and the server's cache, as the server's user.
    assert {"/srv/calendars", "/var/lib/webmail"} == {
        mount["containerPath"] for mount in task["mountPoints"]
    }
    assert ("5007:5005", [], []) == (
        task["user"],
        task["linuxParameters"]["capabilities"]["add"],
        task["portMappings"],
    )
    web = with_it.pop("web")
    assert {"/run/plexus/web", "/etc/plexus/tls", "/var/lib/webmail", "/srv/calendars"} == {
        mount["containerPath"] for mount in web["mountPoints"]
    }
    assert [] == web["secrets"]
    names = {each["name"]: each["value"] for each in web["environment"]}["PLEXUS_WEB_NAMES"].split()
    records = {
        (entry.inputs["name"], entry.inputs["type"])
        for entry in everything.of(_RECORD)
        if entry.inputs["name"].startswith("webmail.")
    }
    webmail = [name for name in names if name.startswith("webmail.")]
    assert {(name, kind) for name in webmail for kind in ("A", "AAAA", "CAA")} == records
    for name in ("dovecot", "postfix"):
        more = [m for m in with_it[name]["mountPoints"] if m not in without[name]["mountPoints"]]
        assert ["/run/plexus/web"] == [mount["containerPath"] for mount in more]
        with_it[name]["mountPoints"] = without[name]["mountPoints"]
    for run in (with_it, without):
        run["certbot"]["environment"] = [
            each
            for each in run["certbot"]["environment"]
            if "CERTIFICATE_NAMES" not in each["name"]
        ]
    assert without == with_it


def test_no_rule_stops_the_others(template: Run) -> None:
    """A Stop action would keep mail from the mailboxes of later rules."""
    rules = template.of("aws:ses/receiptRule:ReceiptRule")
    assert rules
    assert [] == [entry.urn for entry in rules if "stopActions" in entry.inputs]


def test_no_rule_takes_everything(template: Run) -> None:
    """SES reads an empty list of recipients as every address of every domain."""
    assert all(
        entry.inputs["recipients"] for entry in template.of("aws:ses/receiptRule:ReceiptRule")
    )


@pytest.mark.parametrize(
    ("choice", "active", "expected"),
    [
        ("auto", None, 1),
        ("auto", "plexus-main-rules", 1),
        ("auto", "somebody-elses", 0),
        ("yes", "somebody-elses", 1),
        ("no", None, 0),
    ],
)
def test_another_rule_set_is_displaced_only_when_asked(
    choice: str, active: str | None, expected: int
) -> None:
    """There is one active rule set: ours takes the place when free or told to."""
    config = {**stack_configuration(TEMPLATE), "postal-plexus:activate-rule-set": choice}
    run = record(config, active_rule_set=active)
    assert expected == len(run.of("aws:ses/activeReceiptRuleSet:ActiveReceiptRuleSet"))


def test_whom_ses_accepts_mail_for_is_in_the_directory_before(template: Run) -> None:
    """Every receipt rule is made after the directory object, so `deliver` can know its addresses."""
    written = template.one("aws:s3/bucketObjectv2:BucketObjectv2", "-directory")
    rules = template.of("aws:ses/receiptRule:ReceiptRule")
    assert rules
    assert all(written.urn in rule.dependencies for rule in rules)


def test_nothing_waits_for_delegation(template: Run) -> None:
    """The first deployment must not hang on DNS that the registrar does not know yet."""
    waiting = {
        "aws:ses/domainIdentityVerification:DomainIdentityVerification",
        "aws:acm/certificateValidation:CertificateValidation",
    }
    assert [] == [entry.urn for entry in template.registrations if entry.type in waiting]
    assert {"example.org", "example.net"} == set(template.outputs["name_servers"])


def test_the_program_says_all_that_is_wrong_at_once() -> None:
    """A wrong stack file gives one line a mistake, each with its key."""
    config = {
        **stack_configuration(TEMPLATE),
        "postal-plexus:archive-days": 3,
        "postal-plexus:dmarc-policy": "strict",
        "postal-plexus:mail-host": "mail.example.com",
    }
    with pytest.raises(Exception, match="archive-days") as raised:
        record(config)
    text = str(raised.value)
    assert 3 == len(text.splitlines())
    for key in ("archive-days", "dmarc-policy", "mail-host"):
        assert f"postal-plexus:{key}: " in text


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_the_program_tells_each_mistake_as_plexus_check_does(mistake: Mistake) -> None:
    """Nothing is registered, no traceback: the same line."""
    with pytest.raises(pulumi.RunError) as raised:
        record(mistake.config())
    (line,) = str(raised.value).splitlines()
    assert mistake.is_told_by(line), line


def test_the_template_is_explained() -> None:
    """Every key of the template has a comment above it."""
    lines = Path(TEMPLATE).read_text().splitlines()
    for number, line in enumerate(lines):
        if line.startswith("  postal-plexus:"):
            above = next(text for text in reversed(lines[:number]) if text.strip())
            assert above.lstrip().startswith("#"), line


def test_the_submission_limits_are_those_of_the_container() -> None:
    """Program, template and container agree about names and defaults."""
    limits = SubmissionLimits().by_key()
    text = " ".join(f"{name}={most}" for name, most in limits.items())
    assert 8 == len(limits)
    assert Limits.parse("") == Limits.parse(text)


def test_the_template_shows_every_key_with_its_default() -> None:
    """Each key that the program reads is in the template, as it is without being written."""
    text = TEMPLATE.read_text()
    assert set() == {key for key in ALL_KEYS if f"postal-plexus:{key}:" not in text}
    written = {**stack_configuration(TEMPLATE), "postal-plexus:images": IMAGES}
    needed = {f"postal-plexus:{key}" for key in ("domains", "mailboxes", "aliases", "images")}
    bare = {
        key: value
        for key, value in written.items()
        if key in needed | {"aws:region", "postal-plexus:alarm-address"}
    }
    whole, short = record(written, certificates=True), record(bare, certificates=True)
    assert whole.registrations == short.registrations


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1", "ap-northeast-3", "il-central-1"])
def test_a_fresh_host_has_a_way_to_ec2(region: str) -> None:
    """It asks EC2 for its address: by IPv6, or by an address of its own where EC2 has no IPv6."""
    run = record({**stack_configuration(TEMPLATE), "aws:region": region})
    template = run.one("aws:ec2/launchTemplate:LaunchTemplate").inputs
    script = base64.b64decode(template["userData"]).decode()
    (interface,) = template["networkInterfaces"]
    by_ipv6 = region not in ("ap-northeast-3", "il-central-1")
    assert (1, str(not by_ipv6).lower()) == (
        interface["ipv6AddressCount"],
        interface["associatePublicIpAddress"],
    )
    assert f"\nPLEXUS_IPV6={str(by_ipv6).lower()}\n" in script


@pytest.mark.parametrize("region", ["eu-west-1", "sa-east-1", "ap-northeast-3", "il-central-1"])
def test_regions_of_each_kind_deploy(region: str) -> None:
    """SES's hosts have the region's name; newer regions have a DKIM domain of their own."""
    run = record({**stack_configuration(TEMPLATE), "aws:region": region, _IMAGES_KEY: IMAGES})
    records = {
        entry.name: entry.inputs["records"]
        for entry in run.of(_RECORD)
        if "records" in entry.inputs
    }
    assert [f"10 inbound-smtp.{region}.amazonaws.com"] == records["example.org-mx"]
    assert [f"10 feedback-smtp.{region}.amazonses.com"] == records["bounce.example.org-mx"]
    own = (
        f"dkim.{region}.amazonses.com"
        if region in ("ap-northeast-3", "il-central-1")
        else "dkim.amazonses.com"
    )
    assert records["example.org-dkim-1"][0].partition(".")[2] == own


def test_every_region_is_known_or_refused_with_the_reason() -> None:
    """22 regions receive mail; three of them have no SMTP endpoint to send through."""
    assert (22, 19) == (len(regions.RECEIVING), len(regions.usable()))
    assert regions.WITHOUT_SMTP < regions.RECEIVING
    assert {None} == {regions.fault_of(region) for region in regions.usable()}
    assert "does not receive" in str(regions.fault_of("us-gov-west-1"))
    assert "SMTP endpoint" in str(regions.fault_of("eu-south-1"))


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (0, []),
        (1, ["AFTER_1_DAY", "AFTER_1_ACCESS"]),
        (30, ["AFTER_30_DAYS", "AFTER_1_ACCESS"]),
    ],
)
def test_unopened_mail_goes_to_cheaper_storage_and_back(days: int, expected: list[str]) -> None:
    """After the days of the configuration, and back at the first look; or never."""
    key = "postal-plexus:mailboxes-infrequent-days"
    run = record({**stack_configuration(TEMPLATE), key: days})
    policies = run.one("aws:efs/fileSystem:FileSystem").inputs["lifecyclePolicies"]
    assert expected == [word for policy in policies for word in policy.values()]


def test_a_subdomains_zone_is_delegated_by_its_parents() -> None:
    """Of a zone that we make; an adopted one is delegated already."""
    config = {
        **stack_configuration(TEMPLATE),
        "postal-plexus:domains": ["example.org", "example.net", "a.example.org", "b.example.org"],
        "postal-plexus:existing-zones": {"b.example.org": "Z0123456789"},
    }
    run = record(config)
    found = [entry for entry in run.of(_RECORD) if "NS" == entry.inputs["type"]]
    made = run.outputs["name_servers"]["a.example.org"]
    assert [("a.example.org", "ZEXAMPLE.ORG", made)] == [
        (entry.inputs["name"], entry.inputs["zoneId"], entry.inputs["records"]) for entry in found
    ]


def test_a_shared_host_has_records_in_the_zone_of_its_own_domain_alone() -> None:
    """A pilot's subdomain with the mail host, and later the domain above it: each record once."""
    config = {
        **stack_configuration(TEMPLATE),
        "postal-plexus:domains": ["example.net", "a.example.org", "example.org"],
        "postal-plexus:mail-host": "mail.a.example.org",
        "postal-plexus:client-hosts": "shared",
        "postal-plexus:webmail": True,
        "postal-plexus:webmail-names": True,
    }
    found = [
        (entry.inputs["name"], entry.inputs["type"], entry.inputs["zoneId"])
        for entry in record(config).of(_RECORD)
        if entry.inputs["name"] in ("mail.a.example.org", "webmail.a.example.org")
    ]
    assert [
        (name, kind, "ZA.EXAMPLE.ORG")
        for name in ("mail.a.example.org", "webmail.a.example.org")
        for kind in ("A", "AAAA", "CAA")
    ] == sorted(found)


def test_rules_wait_until_policies_are_seen(template: Run) -> None:
    """SES tries bucket and topic as a rule is made: not in the first seconds of their policies."""
    settled = template.one("command:local:Command", "-rules-settled")
    policies = {
        entry.urn
        for kind in ("aws:s3/bucketPolicy:BucketPolicy", "aws:sns/topicPolicy:TopicPolicy")
        for entry in template.of(kind)
        if entry.name.endswith(("-archive", "-received"))
    }
    assert 2 == len(policies)
    assert policies <= set(settled.dependencies)
    assert settled.inputs["create"].endswith("/tools/receiving-settled")
    (rule_set,) = template.of("aws:ses/receiptRuleSet:ReceiptRuleSet")
    assert rule_set.urn in settled.dependencies
    told = settled.inputs["environment"]
    assert {"us-east-1", "plexus-main-rules"} <= set(told.values())
    rules = template.of("aws:ses/receiptRule:ReceiptRule")
    assert rules
    assert all(settled.urn in rule.dependencies for rule in rules)
