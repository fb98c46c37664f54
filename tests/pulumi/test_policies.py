"""The policy pack, called as Pulumi calls it: our stack passes, and each rule catches its breach."""

import dataclasses
import json
import sys
from typing import Any

import pytest
from pulumi_policy import PolicyResourceOptions, ResourceValidationArgs
from registrations import PROGRAM, Registration, Run, record, stack_configuration

sys.path.insert(0, str(PROGRAM / "policies"))
from rules import POLICIES


@pytest.fixture(scope="module")
def run() -> Run:
    """The template, with its certificates issued."""
    return record(stack_configuration(PROGRAM / "Pulumi.prod.yaml"), certificates=True)


def violations(entry: Registration) -> list[str]:
    """The names of the rules that a resource breaks."""
    arguments = ResourceValidationArgs(
        resource_type=entry.type,
        props=entry.inputs,
        urn=entry.urn,
        name=entry.name,
        opts=PolicyResourceOptions(
            protect=entry.protect,
            ignore_changes=[],
            delete_before_replace=None,
            aliases=[],
            custom_timeouts=None,
            additional_secret_outputs=[],
        ),
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


def test_every_rule_looks_at_something(run: Run) -> None:
    """A rule about types that the stack does not have would hold nothing."""
    types = {entry.type for entry in run.custom}
    assert {policy.name for policy in POLICIES} == {rule for _, rule, _ in BREACHES}
    assert {kind for kind, _, _ in BREACHES} <= types


def container(**changes: Any) -> str:
    """A container definition that is confined but for `changes`."""
    confined = {
        "name": "c",
        "readonlyRootFilesystem": True,
        "memory": 64,
        "linuxParameters": {"capabilities": {"drop": ["ALL"]}},
    }
    return json.dumps([{**confined, **changes}])


RULE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
TASK = "aws:ecs/taskDefinition:TaskDefinition"
TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
WIDE = json.dumps({"Statement": [{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}]})
BREACHES: list[tuple[str, str, dict[str, Any]]] = [
    ("aws:efs/fileSystem:FileSystem", "mail-is-protected", {"protect": False}),
    ("aws:route53/zone:Zone", "mail-is-protected", {"protect": False}),
    ("aws:efs/fileSystem:FileSystem", "disks-are-encrypted", {"encrypted": False}),
    (RULE, "few-ports-are-open", {"fromPort": 22, "toPort": 22}),
    (RULE, "few-ports-are-open", {"fromPort": 0, "toPort": 65535}),
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
    ("aws:iam/rolePolicy:RolePolicy", "policies-are-narrow", {"policy": WIDE}),
]


@pytest.mark.parametrize(("kind", "rule", "change"), BREACHES, ids=lambda value: str(value)[-40:])
def test_each_rule_catches_its_breach(
    run: Run, kind: str, rule: str, change: dict[str, Any]
) -> None:
    """Our own resource, changed for the worse in one point, breaks that rule and no other."""
    good = run.of(kind)[0]
    protect = change.get("protect", good.protect)
    inputs = {**good.inputs, **{k: v for k, v in change.items() if k != "protect"}}
    assert [rule] == violations(dataclasses.replace(good, inputs=inputs, protect=protect))
