"""From SES to `deliver`: the topic, the queue, and the dead letters behind both.

The dead letters take what the queue gives up, what the *subscription* gives up (SNS has a limit
of its own) and what `deliver` puts aside with a reason.
"""

import json
from dataclasses import dataclass

import pulumi_aws as aws

import pulumi
from deployment import documents

# SQS's longest. `deliver` puts aside what fails for days well before; this is the last line.
_RETENTION_SECONDS = 14 * 24 * 3600

# How long a received notification stays hidden before another consumer may have it, should the
# first die; `deliver` extends it while it works.
_VISIBILITY_SECONDS = 120

# Each failed try is a receive, with growing waits between them; a mail that cannot be delivered for
# days is put aside by `deliver` long before. This many receives mean that it kills its consumer.
_MAX_RECEIVE_COUNT = 500


@dataclass(frozen=True)
class NotificationsArgs:
    """`rule_set_arn`: the receipt rules that may announce mail."""

    topic_name: str
    queue_name: str
    dead_letters_name: str
    account: pulumi.Input[str]
    rule_set_arn: pulumi.Input[str]


class Notifications(pulumi.ComponentResource):
    """Topic, queue, dead letters and what lets them talk to each other; `ready` before SES may."""

    def __init__(
        self, name: str, args: NotificationsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("postal-plexus:index:Notifications", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.topic = aws.sns.Topic(args.topic_name, opts=child)
        topic_policy = aws.sns.TopicPolicy(
            args.topic_name,
            arn=self.topic.arn,
            policy=pulumi.Output.all(self.topic.arn, args.account, args.rule_set_arn).apply(
                lambda given: documents.receipt_topic(*given)
            ),
            opts=child,
        )
        self.dead_letters = aws.sqs.Queue(
            args.dead_letters_name,
            message_retention_seconds=_RETENTION_SECONDS,
            sqs_managed_sse_enabled=True,
            opts=child,
        )
        self.queue = aws.sqs.Queue(
            args.queue_name,
            message_retention_seconds=_RETENTION_SECONDS,
            receive_wait_time_seconds=20,
            visibility_timeout_seconds=_VISIBILITY_SECONDS,
            sqs_managed_sse_enabled=True,
            redrive_policy=self.dead_letters.arn.apply(
                lambda arn: json.dumps(
                    {"deadLetterTargetArn": arn, "maxReceiveCount": _MAX_RECEIVE_COUNT}
                )
            ),
            opts=child,
        )
        aws.sqs.RedriveAllowPolicy(
            args.dead_letters_name,
            queue_url=self.dead_letters.url,
            redrive_allow_policy=self.queue.arn.apply(
                lambda arn: json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": [arn]})
            ),
            opts=child,
        )
        policies: list[pulumi.Resource] = [topic_policy]
        for queue_name, queue in (
            (args.queue_name, self.queue),
            (args.dead_letters_name, self.dead_letters),
        ):
            policies.append(
                aws.sqs.QueuePolicy(
                    queue_name,
                    queue_url=queue.url,
                    policy=pulumi.Output.all(queue.arn, self.topic.arn).apply(
                        lambda given: documents.queue_from_topic(*given)
                    ),
                    opts=child,
                )
            )
        subscription = aws.sns.TopicSubscription(
            args.queue_name,
            topic=self.topic.arn,
            protocol="sqs",
            endpoint=self.queue.arn,
            redrive_policy=self.dead_letters.arn.apply(
                lambda arn: json.dumps({"deadLetterTargetArn": arn})
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=policies),
        )
        self.ready: list[pulumi.Resource] = [*policies, subscription]
        self.register_outputs({"topic": self.topic.arn, "queue_url": self.queue.url})
