"""The policy pack, called as Pulumi calls it: our stack passes, and each rule catches its breach."""

import dataclasses
import json
import re
import sys
from typing import Any

import pytest
import yaml
from pulumi_policy import (
    PolicyResource,
    PolicyResourceOptions,
    ResourceValidationArgs,
    StackValidationArgs,
)
from registrations import PROGRAM, Registration, Run

sys.path.insert(0, str(PROGRAM / "policies"))
from rules import POLICIES, STACK_POLICIES


@pytest.fixture(scope="module")
def run(everything: Run) -> Run:
    """Provide the template, with all that it may have."""
    return everything


def as_sent(value: Any) -> Any:
    """Return a value as Pulumi sends it to a policy pack: every number is a float."""
    if isinstance(value, dict):
        return {key: as_sent(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_sent(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def options(entry: Registration) -> PolicyResourceOptions:
    """Return what a policy sees of a resource's options."""
    return PolicyResourceOptions(
        protect=entry.protect,
        ignore_changes=[],
        delete_before_replace=None,
        aliases=[],
        custom_timeouts=None,
        additional_secret_outputs=[],
    )


def violations(entry: Registration) -> list[str]:
    """Return the names of the rules that a resource breaks."""
    arguments = ResourceValidationArgs(
        resource_type=entry.type,
        props=as_sent(entry.inputs),
        urn=entry.urn,
        name=entry.name,
        opts=options(entry),
        provider=None,
    )
    broken: list[str] = []
    for policy in POLICIES:
        found: list[str] = []
        policy.validate(arguments, lambda text, _urn, found=found: found.append(text))
        broken += [policy.name] * bool(found)
    return broken


def test_the_stack_breaks_no_rule(run: Run) -> None:
    """What the program registers passes the pack."""
    assert [] == [(entry.urn, broken) for entry in run.custom if (broken := violations(entry))]


def stack_violations(entries: list[Registration]) -> list[str]:
    """Return what the rules about all resources together report."""
    resources = [
        PolicyResource(
            resource_type=entry.type,
            props=as_sent(entry.inputs),
            urn=entry.urn,
            name=entry.name,
            opts=options(entry),
            provider=None,
            parent=None,
            dependencies=[],
            property_dependencies={},
        )
        for entry in entries
    ]
    found: list[str] = []
    for policy in STACK_POLICIES:
        policy.validate(StackValidationArgs(resources), lambda text, _urn: found.append(text))
    return found


def test_every_bucket_is_closed(run: Run) -> None:
    """The whole stack passes; without one bucket's public access block it does not."""
    assert [] == stack_violations(run.custom)
    block = run.of("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock")[0]
    (told,) = stack_violations([entry for entry in run.custom if entry is not block])
    assert "2 buckets, but 1 of bucketPublicAccessBlock" in told


def test_browsers_reach_a_host_only_with_a_web_container(run: Run) -> None:
    """443 with nothing behind it breaks a rule, and with webmail none."""
    assert {443} < {entry.inputs.get("fromPort") for entry in run.of(RULE)}
    without = [e for e in run.custom if (e.type, e.name) != (TASK, "plexus-main-web")]
    told = stack_violations(without)
    assert 2 == len(told)
    assert all("port 443" in each for each in told)


def test_the_pack_is_one_that_pulumi_reads() -> None:
    """Its project file, and requirements that are locked."""
    pack = PROGRAM / "policies"
    project = yaml.safe_load((pack / "PulumiPolicy.yaml").read_text())
    assert "python" == project["runtime"]["name"]
    # One environment for the program and its rules: docs/deploy.md installs into it.
    assert "../venv" == project["runtime"]["options"]["virtualenv"]
    locked = (pack / "requirements.txt").read_text()
    assert {"pulumi", "pulumi-policy"} <= set(re.findall(r"^([a-z-]+)==", locked, re.MULTILINE))
    assert "--hash=sha256:" in locked


def test_every_rule_looks_at_something(run: Run) -> None:
    """A rule about types that the stack does not have would hold nothing."""
    types = {entry.type for entry in run.custom}
    assert {policy.name for policy in POLICIES} == {rule for _, rule, _ in BREACHES}
    assert {kind for kind, _, _ in BREACHES} <= types


def container(**changes: Any) -> str:
    """Return a container definition that is confined but for `changes`."""
    confined = {
        "name": "c",
        "readonlyRootFilesystem": True,
        "memory": 64,
        "image": f"123456789012.dkr.ecr.us-east-1.amazonaws.com/c@sha256:{64 * '0'}",
        "linuxParameters": {"capabilities": {"drop": ["ALL"]}},
    }
    return json.dumps([{**confined, **changes}])


RULE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
TASK = "aws:ecs/taskDefinition:TaskDefinition"
TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
EVERYTHING = json.dumps(
    {"Statement": [{"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}]}
)
TAGGED = "123456789012.dkr.ecr.us-east-1.amazonaws.com/c:latest"
BUCKET = "aws:s3/bucket:Bucket"


def door(**statement: Any) -> str:
    """Return a resource's policy with one statement that lets somebody in."""
    return json.dumps({"Statement": {"Effect": "Allow", "Action": "sqs:SendMessage", **statement}})


WIDE = json.dumps({"Statement": [{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}]})
BREACHES: list[tuple[str, str, dict[str, Any]]] = [
    ("aws:efs/fileSystem:FileSystem", "mail-is-protected", {"protect": False}),
    ("aws:route53/zone:Zone", "mail-is-protected", {"protect": False}),
    ("aws:efs/fileSystem:FileSystem", "disks-are-encrypted", {"encrypted": False}),
    (RULE, "few-ports-are-open", {"fromPort": 22, "toPort": 22}),
    (RULE, "few-ports-are-open", {"fromPort": 0, "toPort": 65535}),
    # More of ICMP than "too big": a pair that tcp may have, all codes, all types.
    (RULE, "few-ports-are-open", {"ipProtocol": "icmp", "fromPort": 993, "toPort": 993}),
    (RULE, "few-ports-are-open", {"ipProtocol": "icmp", "fromPort": 3, "toPort": -1}),
    (RULE, "few-ports-are-open", {"ipProtocol": "icmpv6", "fromPort": -1, "toPort": -1}),
    (RULE, "few-ports-are-open", {"ipProtocol": "tcp", "fromPort": 3, "toPort": 4}),
    ("aws:ec2/securityGroup:SecurityGroup", "groups-have-no-rules-inside", {"ingress": [{}]}),
    (
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        "buckets-are-private",
        {"blockPublicPolicy": False},
    ),
    ("aws:ses/receiptRule:ReceiptRule", "rules-let-others-run", {"stopActions": [{}]}),
    ("aws:ses/receiptRule:ReceiptRule", "rules-let-others-run", {"recipients": []}),
    ("aws:ssm/parameter:Parameter", "parameters-are-secure", {"type": "String"}),
    (TEMPLATE, "hosts-keep-their-credentials", {"metadataOptions": {"httpTokens": "optional"}}),
    (TEMPLATE, "hosts-keep-their-credentials", {"keyName": "mine"}),
    (TASK, "containers-are-confined", {"containerDefinitions": container(privileged=True)}),
    (TASK, "containers-are-confined", {"containerDefinitions": container(memory=None)}),
    (
        TASK,
        "containers-are-confined",
        {"containerDefinitions": container(readonlyRootFilesystem=False)},
    ),
    (TASK, "containers-are-confined", {"containerDefinitions": container(linuxParameters={})}),
    (
        TASK,
        "containers-are-confined",
        {"containerDefinitions": container(environment=[{"name": "SMTP_PASSWORD", "value": "x"}])},
    ),
    (TASK, "containers-are-confined", {"containerDefinitions": container(image=TAGGED)}),
    ("aws:iam/rolePolicy:RolePolicy", "policies-are-narrow", {"policy": WIDE}),
    ("aws:iam/userPolicy:UserPolicy", "policies-are-narrow", {"policy": EVERYTHING}),
    (BUCKET, "archives-are-protected", {"protect": False}),
    (BUCKET, "archives-are-protected", {"forceDestroy": True}),
    ("aws:sqs/queue:Queue", "queues-are-encrypted", {"sqsManagedSseEnabled": False}),
    ("aws:cloudwatch/logGroup:LogGroup", "logs-end", {"retentionInDays": 0}),
    (
        "aws:ecr/repository:Repository",
        "images-stay-what-they-are",
        {"imageTagMutability": "MUTABLE"},
    ),
    (
        "aws:ecr/repository:Repository",
        "images-stay-what-they-are",
        {"imageScanningConfiguration": {"scanOnPush": False}},
    ),
    ("aws:sqs/queuePolicy:QueuePolicy", "doors-are-for-somebody", {"policy": door(Principal="*")}),
    (
        "aws:s3/bucketPolicy:BucketPolicy",
        "doors-are-for-somebody",
        {"policy": door(Principal={"AWS": "*"})},
    ),
    (
        "aws:sns/topicPolicy:TopicPolicy",
        "doors-are-for-somebody",
        {"policy": door(Principal={"Service": "ses.amazonaws.com"})},
    ),
]


@pytest.mark.parametrize(("kind", "rule", "change"), BREACHES, ids=lambda value: str(value)[-40:])
def test_each_rule_catches_its_breach(
    run: Run, kind: str, rule: str, change: dict[str, Any]
) -> None:
    """Our own resource, changed for the worse in one point, breaks that rule and no other."""
    good = next(e for e in run.of(kind) if kind != BUCKET or e.name.endswith("-archive"))
    protect = change.get("protect", good.protect)
    inputs = {**good.inputs, **{k: v for k, v in change.items() if k != "protect"}}
    assert [rule] == violations(dataclasses.replace(good, inputs=inputs, protect=protect))
