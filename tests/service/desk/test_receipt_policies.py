"""Bucket, topic and queue policies decide whether a mail arrives; root and roles must sign."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from service.desk.test_receiving import send

if TYPE_CHECKING:
    from service.desk.account import MailAccount
    from service.desk.running import RunningDesk


@pytest.fixture(autouse=True)
def _rules(account: MailAccount) -> None:
    account.allow_bucket()
    account.allow_topic()
    account.allow_queue()
    account.clear_rules()
    account.rule("people", ["ann@example.org"])
    account.notifications(1, setup=True)


def wait_for_log(desk: RunningDesk, text: str) -> None:
    """Wait until the daemon has logged something."""
    deadline = time.monotonic() + 10
    while text not in desk.log():
        assert time.monotonic() < deadline, f"never logged: {text}"
        time.sleep(0.05)


def test_a_revoked_bucket_policy_delays_a_mail(account: MailAccount) -> None:
    """The put is denied and tried again; when the policy is back the mail arrives."""
    account.s3.delete_bucket_policy(Bucket=account.bucket)
    send(account.desk, "w@e.example", ["ann@example.org"], b"Subject: delayed\r\n\r\nx\r\n")
    wait_for_log(account.desk, f"the policy of bucket {account.bucket} does not let ses.amazonaws")
    assert account.is_quiet()
    account.allow_bucket()
    (notification,) = account.notifications(1)
    assert "delayed" == notification["mail"]["commonHeaders"]["subject"]


def test_a_revoked_topic_policy_delays_a_mail(account: MailAccount) -> None:
    """The same for the topic; the object is there once."""
    account.allow_topic("s3.amazonaws.com")
    send(account.desk, "w@e.example", ["ann@example.org"], b"Subject: quiet\r\n\r\nx\r\n")
    wait_for_log(account.desk, f"the policy of topic {account.topic} does not let ses.amazonaws")
    account.allow_topic()
    (notification,) = account.notifications(1)
    assert "quiet" == notification["mail"]["commonHeaders"]["subject"]


def test_a_queue_that_does_not_let_the_topic_gets_nothing(account: MailAccount) -> None:
    """SNS to SQS honours the queue's policy, as AWS does."""
    account.allow_queue(topic="arn:aws:sns:us-east-1:111122223333:another")
    send(account.desk, "w@e.example", ["ann@example.org"], b"Subject: lost\r\n\r\nx\r\n")
    time.sleep(0.5)
    assert account.is_quiet()


def test_a_denied_put_by_condition(account: MailAccount) -> None:
    """A policy for another account's rules does not let ours write."""
    account.allow_bucket(source_arn="arn:aws:ses:us-east-1:999988887777:receipt-rule-set/*")
    send(account.desk, "w@e.example", ["ann@example.org"], b"Subject: other\r\n\r\nx\r\n")
    time.sleep(0.5)
    assert account.is_quiet()
    account.allow_bucket()
    account.notifications(1)


def test_root_must_sign(desk: RunningDesk) -> None:
    """A wrong secret, another root-like key, no management pages."""
    for key, secret in (
        (desk.settings.root_key_id, "wrong"),
        ("test", "test"),
        ("111122223333", "test"),
    ):
        sqs = desk.client("sqs", aws_access_key_id=key, aws_secret_access_key=secret)
        with pytest.raises(ClientError) as refused:
            sqs.list_queues()
        assert 403 == refused.value.response["ResponseMetadata"]["HTTPStatusCode"]
    assert "Account" in desk.client("sts").get_caller_identity()


def test_management_pages_are_not_reachable(desk: RunningDesk) -> None:
    """The containers' network cannot reach the page that resets the desk."""
    for page in ("/_ministack/reset", "/_ministack/health", "/_localstack/health"):
        with pytest.raises(urllib.error.HTTPError) as answer:
            urllib.request.urlopen(desk.settings.endpoint_url + page, data=b"")
        assert 404 == answer.value.code


def test_a_users_policy_is_asked(account: MailAccount) -> None:
    """IAM denies what the user's policy does not allow, SendBounce included."""
    name = "policies-user"
    account.iam.create_user(UserName=name)
    key = account.iam.create_access_key(UserName=name)["AccessKey"]
    account.iam.put_user_policy(
        UserName=name,
        PolicyName="p",
        PolicyDocument=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": {
                    "Effect": "Allow",
                    "Action": "sqs:ReceiveMessage",
                    "Resource": account.queue_arn,
                },
            }
        ),
    )
    mine = {
        "aws_access_key_id": key["AccessKeyId"],
        "aws_secret_access_key": key["SecretAccessKey"],
    }
    sqs, ses = account.desk.client("sqs", **mine), account.desk.client("ses", **mine)
    assert 200 == sqs.receive_message(QueueUrl=account.queue)["ResponseMetadata"]["HTTPStatusCode"]
    with pytest.raises(ClientError) as refused:
        sqs.send_message(QueueUrl=account.queue, MessageBody="x")
    assert "AccessDenied" in refused.value.response["Error"]["Code"]
    with pytest.raises(ClientError) as refused:
        ses.send_bounce(
            OriginalMessageId="x",
            BounceSender="ann@example.org",
            BouncedRecipientInfoList=[{"Recipient": "a@e.example", "BounceType": "DoesNotExist"}],
        )
    assert "AccessDenied" == refused.value.response["Error"]["Code"]


def test_a_batch_needs_the_permission_of_the_single_call(account: MailAccount) -> None:
    """sqs:DeleteMessage allows DeleteMessageBatch, as AWS has it."""
    name = "policies-batch"
    account.iam.create_user(UserName=name)
    key = account.iam.create_access_key(UserName=name)["AccessKey"]
    allow = {"Effect": "Allow", "Action": "sqs:DeleteMessage", "Resource": account.queue_arn}
    account.iam.put_user_policy(
        UserName=name,
        PolicyName="p",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": allow}),
    )
    sqs = account.desk.client(
        "sqs",
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )
    answer = sqs.delete_message_batch(
        QueueUrl=account.queue, Entries=[{"Id": "1", "ReceiptHandle": "none"}]
    )
    assert ["1"] == [one["Id"] for one in answer["Failed"]]
    with pytest.raises(ClientError):
        sqs.send_message_batch(QueueUrl=account.queue, Entries=[{"Id": "1", "MessageBody": "x"}])
