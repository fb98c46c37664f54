"""What a mail stack needs in the emulated account, made by boto3: bucket, topic, queue, SES."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from awsdesk.ses.credentials import smtp_password

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.desk.running import RunningDesk

RULE_SET = "rules"


@dataclass
class MailAccount:
    """The account of a running desk, with names that no other test uses."""

    desk: RunningDesk
    name: str

    def __post_init__(self) -> None:
        self.bucket = f"{self.name}-archive"
        self.s3 = self.desk.client("s3")
        self.sqs = self.desk.client("sqs")
        self.sns = self.desk.client("sns")
        self.ses = self.desk.client("ses")
        self.sesv2 = self.desk.client("sesv2")
        self.iam = self.desk.client("iam")
        self.account_id = self.desk.settings.account_id

    @property
    def rule_arns(self) -> str:
        """The pattern of the rules' ARNs."""
        return (
            f"arn:aws:ses:{self.desk.settings.region}:{self.account_id}"
            f":receipt-rule-set/{RULE_SET}:receipt-rule/*"
        )

    def make(self) -> MailAccount:
        """Make bucket, topic and queue with the policies that AWS's documents give."""
        self.s3.create_bucket(Bucket=self.bucket)
        self.allow_bucket()
        self.topic = self.sns.create_topic(Name=f"{self.name}-received")["TopicArn"]
        self.allow_topic()
        self.queue = self.sqs.create_queue(QueueName=f"{self.name}-mail")["QueueUrl"]
        self.queue_arn = self.sqs.get_queue_attributes(
            QueueUrl=self.queue, AttributeNames=["QueueArn"]
        )["Attributes"]["QueueArn"]
        self.allow_queue()
        self.sns.subscribe(
            TopicArn=self.topic,
            Protocol="sqs",
            Endpoint=self.queue_arn,
            Attributes={"RawMessageDelivery": "true"},
        )
        return self

    def allow_bucket(self, source_arn: str | None = None) -> None:
        """Let SES write to the bucket, for our rules only."""
        self.s3.put_bucket_policy(
            Bucket=self.bucket,
            Policy=json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Principal": {"Service": "ses.amazonaws.com"},
                            "Action": "s3:PutObject",
                            "Resource": f"arn:aws:s3:::{self.bucket}/*",
                            "Condition": {
                                "StringEquals": {"aws:SourceAccount": self.account_id},
                                "ArnLike": {"aws:SourceArn": source_arn or self.rule_arns},
                            },
                        }
                    ],
                }
            ),
        )

    def allow_topic(self, principal: str = "ses.amazonaws.com") -> None:
        """Let SES publish to the topic."""
        self.sns.set_topic_attributes(
            TopicArn=self.topic,
            AttributeName="Policy",
            AttributeValue=json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Principal": {"Service": principal},
                            "Action": "sns:Publish",
                            "Resource": self.topic,
                            "Condition": {"StringEquals": {"aws:SourceAccount": self.account_id}},
                        }
                    ],
                }
            ),
        )

    def allow_queue(self, topic: str | None = None) -> None:
        """Let the topic send to the queue."""
        self.sqs.set_queue_attributes(
            QueueUrl=self.queue,
            Attributes={
                "Policy": json.dumps(
                    {
                        "Version": "2012-10-17",
                        "Statement": [
                            {
                                "Effect": "Allow",
                                "Principal": {"Service": "sns.amazonaws.com"},
                                "Action": "sqs:SendMessage",
                                "Resource": self.queue_arn,
                                "Condition": {"ArnEquals": {"aws:SourceArn": topic or self.topic}},
                            }
                        ],
                    }
                )
            },
        )

    def domain(self, name: str) -> None:
        """Verify a domain identity."""
        self.sesv2.create_email_identity(EmailIdentity=name)

    def rule(self, name: str, recipients: list[str], **more: Any) -> None:
        """Make a rule that stores to the bucket and tells the topic."""
        after = {"After": more.pop("after")} if "after" in more else {}
        prefix = more.pop("prefix", "inbound/")
        actions = more.pop("actions", None) or [
            {
                "S3Action": {
                    "BucketName": self.bucket,
                    "ObjectKeyPrefix": prefix,
                    "TopicArn": self.topic,
                }
            }
        ]
        self.ses.create_receipt_rule(
            RuleSetName=RULE_SET,
            Rule={
                "Name": name,
                "Enabled": True,
                "ScanEnabled": True,
                "Recipients": recipients,
                "Actions": actions,
                **more,
            },
            **after,
        )

    def clear_rules(self) -> None:
        """Start with an empty active rule set."""
        if any(s["Name"] == RULE_SET for s in self.ses.list_receipt_rule_sets()["RuleSets"]):
            for rule in self.ses.describe_receipt_rule_set(RuleSetName=RULE_SET)["Rules"]:
                self.ses.delete_receipt_rule(RuleSetName=RULE_SET, RuleName=rule["Name"])
        else:
            self.ses.create_receipt_rule_set(RuleSetName=RULE_SET)
        self.ses.set_active_receipt_rule_set(RuleSetName=RULE_SET)

    def notifications(self, count: int, *, setup: bool = False) -> list[dict[str, Any]]:
        """Take `count` notifications out of the queue; setup notifications only if asked."""

        def is_wanted(document: dict[str, Any]) -> bool:
            is_setup = document["mail"]["messageId"] == "AMAZON_SES_SETUP_NOTIFICATION"
            return is_setup == setup

        return self._taken(count, is_wanted)

    def events(self, count: int) -> list[dict[str, Any]]:
        """Take `count` events about sent mail out of the queue."""
        return self._taken(count, lambda document: "eventType" in document)

    def _taken(
        self, count: int, is_wanted: Callable[[dict[str, Any]], bool]
    ) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        deadline = time.monotonic() + 10
        while len(found) < count and time.monotonic() < deadline:
            answer = self.sqs.receive_message(
                QueueUrl=self.queue, MaxNumberOfMessages=10, WaitTimeSeconds=1
            )
            for one in answer.get("Messages", []):
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=one["ReceiptHandle"])
                if not one["Body"].startswith("{"):
                    continue  # SES's word to a new event destination
                document = json.loads(one["Body"])
                if is_wanted(document):
                    found.append(document)
        assert count == len(found), found
        return found

    def is_quiet(self) -> bool:
        """Tell whether nothing but setup notifications waits in the queue."""
        answer = self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10)
        return all(
            json.loads(one["Body"])["mail"]["messageId"] == "AMAZON_SES_SETUP_NOTIFICATION"
            for one in answer.get("Messages", [])
        )

    def stored(self, notification: dict[str, Any]) -> bytes:
        """Read the content that a notification names."""
        action = notification["receipt"]["action"]
        answer = self.s3.get_object(Bucket=action["bucketName"], Key=action["objectKey"])
        return answer["Body"].read()

    def smtp_user(self, policy: dict[str, Any] | None = None) -> tuple[str, str]:
        """Make an IAM user that may send; give its SMTP user name and password."""
        name = f"{self.name}-smtp-{time.monotonic_ns()}"
        self.iam.create_user(UserName=name)
        allow = policy or {"Effect": "Allow", "Action": "ses:SendRawEmail", "Resource": "*"}
        self.iam.put_user_policy(
            UserName=name,
            PolicyName="send",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allow]}),
        )
        key = self.iam.create_access_key(UserName=name)["AccessKey"]
        password = smtp_password(key["SecretAccessKey"], self.desk.settings.region)
        return key["AccessKeyId"], password
