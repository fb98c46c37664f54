"""The SES v1 calls that the emulator lacked: checks on rules, UpdateReceiptRule, positions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from service.desk.account import MailAccount

RULE_SET = "rules"


@pytest.fixture(autouse=True)
def _rules(account: MailAccount) -> None:
    account.allow_bucket()
    account.allow_topic()
    account.clear_rules()


def code_of(refused: pytest.ExceptionInfo[ClientError]) -> str:
    """Give AWS's error code."""
    return refused.value.response["Error"]["Code"]


def test_a_rule_for_a_missing_bucket_is_refused(account: MailAccount) -> None:
    """InvalidS3Configuration."""
    with pytest.raises(ClientError) as refused:
        account.rule("r", ["ann@example.org"], actions=[{"S3Action": {"BucketName": "not-there"}}])
    assert "InvalidS3Configuration" == code_of(refused)


def test_a_rule_for_a_missing_topic_is_refused(account: MailAccount) -> None:
    """InvalidSnsTopic."""
    topic = account.topic.replace(":rules-api-", ":no-such-")
    with pytest.raises(ClientError) as refused:
        account.rule("r", ["ann@example.org"], actions=[{"SNSAction": {"TopicArn": topic}}])
    assert "InvalidSnsTopic" == code_of(refused)


def test_a_rule_needs_a_bucket_policy_that_lets_it_write(account: MailAccount) -> None:
    """A policy for another rule's ARN does not do."""
    account.allow_bucket(source_arn="arn:aws:ses:us-east-1:111122223333:receipt-rule-set/x:*")
    with pytest.raises(ClientError) as refused:
        account.rule("r", ["ann@example.org"])
    assert "InvalidS3Configuration" == code_of(refused)


def test_a_rule_needs_a_topic_policy_that_lets_it_publish(account: MailAccount) -> None:
    """A topic that another service may publish to does not do."""
    account.allow_topic("s3.amazonaws.com")
    with pytest.raises(ClientError) as refused:
        account.rule("r", ["ann@example.org"])
    assert "InvalidSnsTopic" == code_of(refused)
    assert [] == account.ses.describe_receipt_rule_set(RuleSetName=RULE_SET)["Rules"]


def test_a_new_rule_announces_itself(account: MailAccount) -> None:
    """A setup notification in the queue, and the object that it names in the bucket."""
    account.rule("r", ["ann@example.org"], prefix="setup/")
    (setup,) = account.notifications(1, setup=True)
    assert "setup/AMAZON_SES_SETUP_NOTIFICATION" == setup["receipt"]["action"]["objectKey"]
    assert b"Amazon SES Setup Notification" in account.stored(setup)


def test_a_changed_rule_is_stored_and_announces_itself(account: MailAccount) -> None:
    """UpdateReceiptRule keeps the rule's place."""
    account.rule("first", ["ann@example.org"])
    account.rule("second", ["ben@example.org"], after="first")
    account.notifications(2, setup=True)
    rule = account.ses.describe_receipt_rule(RuleSetName=RULE_SET, RuleName="first")["Rule"]
    rule["Recipients"] = ["ann@example.org", "zoe@example.org"]
    account.ses.update_receipt_rule(RuleSetName=RULE_SET, Rule=rule)
    rules = account.ses.describe_receipt_rule_set(RuleSetName=RULE_SET)["Rules"]
    assert ["first", "second"] == [one["Name"] for one in rules]
    assert ["ann@example.org", "zoe@example.org"] == rules[0]["Recipients"]
    account.notifications(1, setup=True)


def test_an_unknown_rule_cannot_be_changed(account: MailAccount) -> None:
    """RuleDoesNotExist."""
    with pytest.raises(ClientError) as refused:
        account.ses.update_receipt_rule(RuleSetName=RULE_SET, Rule={"Name": "none", "Actions": []})
    assert "RuleDoesNotExist" == code_of(refused)


def test_rules_can_be_moved(account: MailAccount) -> None:
    """SetReceiptRulePosition: after another rule, or to the front."""
    for name in ("c", "b", "a"):
        account.rule(name, [f"{name}@example.org"])
    account.ses.set_receipt_rule_position(RuleSetName=RULE_SET, RuleName="a", After="b")
    account.ses.set_receipt_rule_position(RuleSetName=RULE_SET, RuleName="c")
    rules = account.ses.describe_receipt_rule_set(RuleSetName=RULE_SET)["Rules"]
    assert ["c", "b", "a"] == [one["Name"] for one in rules]


def test_more_than_500_recipients_are_refused(account: MailAccount) -> None:
    """LimitExceeded, as SES says it; 500 are taken."""
    account.rule("full", [f"user{number}@example.org" for number in range(500)])
    with pytest.raises(ClientError) as refused:
        account.rule("over", [f"user{number}@example.org" for number in range(501)])
    assert "LimitExceeded" == code_of(refused)


def test_an_action_that_the_desk_cannot_run_is_refused(account: MailAccount) -> None:
    """A Lambda action would never run here: better said at once."""
    arn = "arn:aws:lambda:us-east-1:111122223333:function:f"
    with pytest.raises(ClientError) as refused:
        account.rule("r", ["a@example.org"], actions=[{"LambdaAction": {"FunctionArn": arn}}])
    assert "InvalidParameterValue" == code_of(refused)
