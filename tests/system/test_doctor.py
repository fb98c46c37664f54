"""`plexus doctor` on the desk: what is in order, and what somebody broke."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from postal_plexus.operations.system import AccessError
from system.desk import ROOT, Desk


def told(desk: Desk, *more: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return its exit code, and its findings by thing."""
    run = desk.operate("doctor", "--json", *more)
    assert run.stdout, run.stderr
    findings = json.loads(run.stdout)["findings"]
    return run.returncode, {each["thing"]: each for each in findings}


def test_a_healthy_desk_lacks_what_only_aws_has(desk: Desk) -> None:
    """No alarm address, budget and backup; everything that carries mail is in order."""
    host, port = desk.endpoint("dns")
    stack = ROOT / "src" / "postal_plexus" / "desk" / "stack.yaml"
    code, found = told(desk, "--stack-file", str(stack), "--resolver", f"{host}:{port}")
    assert 80 == code
    bad = {thing for thing, each in found.items() if each["level"] in {"warning", "critical"}}
    # Another test may have left a dead letter, or made a backup.
    assert {"alarm address", "budget"} == bad - {"dead letters", "backup"}, found
    for thing in ("records example.org", "identity example.org", "service deliver", "directory"):
        assert "ok" == found[thing]["level"], found[thing]
    assert "valid until" in found["certificate mail.example.org"]["what"]


def test_rules_that_are_switched_off_are_critical(desk: Desk) -> None:
    """Without an active rule set no mail arrives: the exit code is critical, and the finding has the remedy."""
    ses = desk.client("ses")
    name = ses.describe_active_receipt_rule_set()["Metadata"]["Name"]
    ses.set_active_receipt_rule_set()
    try:
        code, found = told(desk)
    finally:
        ses.set_active_receipt_rule_set(RuleSetName=name)
    assert 81 == code
    assert name in found["receipt rules"]["next_step"]


@contextmanager
def alarm_address(desk: Desk) -> Iterator[Callable[[], dict[str, str]]]:
    """Subscribe a queue to the alarms' topic; yield a function that returns the next message."""
    sns, sqs = desk.client("sns"), desk.client("sqs")
    topic = sns.create_topic(Name="plexus-desk-watch-alarms-1234567")["TopicArn"]
    url = sqs.create_queue(QueueName="alarm-address")["QueueUrl"]
    try:
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        arn = attributes["Attributes"]["QueueArn"]
        rights = {
            "Effect": "Allow",
            "Principal": "*",
            "Action": "sqs:SendMessage",
            "Resource": arn,
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [rights]})
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

        def mail() -> dict[str, str]:
            (message,) = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"]
            return json.loads(message["Body"])

        yield mail
    finally:
        sqs.delete_queue(QueueUrl=url)
        sns.delete_topic(TopicArn=topic)


def test_what_is_not_in_order_is_mailed(desk: Desk) -> None:
    """Findings go to the alarms' topic; without an alarm address an error says so."""
    run = desk.operate("doctor", "--mail")
    assert 69 == run.returncode
    assert "set alarm-address" in run.stderr
    with alarm_address(desk) as mail:
        assert 80 == desk.operate("doctor", "--mail").returncode
        mailed = mail()
    assert "plexus doctor, stack desk" in mailed["Subject"]
    assert "! alarm address: " in mailed["Message"]
    assert "\n     set alarm-address" in mailed["Message"]


def test_credentials_that_may_nothing_say_so(desk: Desk) -> None:
    """The message names what AWS refused."""
    iam = desk.client("iam")
    iam.create_user(UserName="nobody")
    key = iam.create_access_key(UserName="nobody")["AccessKey"]
    with pytest.raises(AccessError, match="SSM GetParameter"):
        _ = desk.system(key).parts
