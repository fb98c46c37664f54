"""From SES to `deliver`: topics, queues, and their dead-letter queue.

One pair announces received mail, the other what happened to sent mail (bounces and complaints). The
dead-letter queue receives what the queues give up, what the *subscriptions* give up (SNS has a
limit of its own) and what `deliver` moves there with a reason. Each host of a stack has three
queues of its own: SNS puts a copy of each notification into the queue of each host.
"""

import json
from dataclasses import dataclass

import pulumi_aws as aws

import pulumi
from deployment import mail_documents
from deployment.stack import Stack

# SQS's maximum. `deliver` gives up on failing messages days before; this is the last safety net.
_RETENTION_SECONDS = 14 * 24 * 3600

# How long a received notification stays hidden from other consumers, in case the first one dies;
# `deliver` extends it while it works.
_VISIBILITY_SECONDS = 120

# Each failed attempt is a receive, with growing waits between them, and `deliver` gives up on a
# failing message long before. This many receives mean that the message kills its consumer.
_MAX_RECEIVE_COUNT = 500


@dataclass(frozen=True)
class NotificationsArgs:
    """`rule_set_arn` may announce mail, `configuration_set_arn` what happened to sent mail."""

    stack: Stack
    rule_set_arn: pulumi.Input[str]
    configuration_set_arn: pulumi.Input[str]
    hosts: int = 1


@dataclass(frozen=True)
class HostQueues:
    """One host's queues: notifications of received mail, events of sent mail, dead letters."""

    queue: aws.sqs.Queue
    events: aws.sqs.Queue
    dead_letters: aws.sqs.Queue


class Notifications(pulumi.ComponentResource):
    """Topics, queues, dead letters, and their policies; depend on `ready` before SES publishes."""

    def __init__(
        self, name: str, args: NotificationsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("postal-plexus:index:Notifications", name, None, opts)
        self._child = pulumi.ResourceOptions(parent=self)
        self.topic = aws.sns.Topic(args.stack.named("received"), opts=self._child)
        self.events_topic = aws.sns.Topic(args.stack.named("events"), opts=self._child)
        topic_policies = [
            aws.sns.TopicPolicy(
                topic_name,
                arn=topic.arn,
                policy=pulumi.Output.all(topic.arn, args.stack.account, source).apply(
                    lambda given, document=document: document(*given)
                ),
                opts=self._child,
            )
            for topic_name, topic, document, source in (
                (
                    args.stack.named("received"),
                    self.topic,
                    mail_documents.receipt_topic,
                    args.rule_set_arn,
                ),
                (
                    args.stack.named("events"),
                    self.events_topic,
                    mail_documents.events_topic,
                    args.configuration_set_arn,
                ),
            )
        ]
        self.ready: list[pulumi.Resource] = [*topic_policies]
        # By the hosts' numbers.
        self.hosts = [
            self._host_queues(args.stack.on_host(number)) for number in range(1, args.hosts + 1)
        ]
        self.queue = self.hosts[0].queue
        self.register_outputs({"topic": self.topic.arn, "queue_url": self.queue.url})

    def _host_queues(self, stack: Stack) -> HostQueues:
        topic_policies = tuple(self.ready[:2])
        dead_letters = aws.sqs.Queue(
            stack.named("dead-letters"),
            message_retention_seconds=_RETENTION_SECONDS,
            sqs_managed_sse_enabled=True,
            opts=self._child,
        )
        queue = self._queue(stack.named("mail"), dead_letters)
        events = self._queue(stack.named("events"), dead_letters)
        aws.sqs.RedriveAllowPolicy(
            stack.named("dead-letters"),
            queue_url=dead_letters.url,
            redrive_allow_policy=pulumi.Output.all(queue.arn, events.arn).apply(
                lambda arns: json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": arns})
            ),
            opts=self._child,
        )
        queue_policies = [
            self._from_topics(stack.named("mail"), queue, [self.topic]),
            self._from_topics(stack.named("events"), events, [self.events_topic]),
            self._from_topics(
                stack.named("dead-letters"), dead_letters, [self.topic, self.events_topic]
            ),
        ]
        needed = [*topic_policies, *queue_policies]
        subscriptions = [
            aws.sns.TopicSubscription(
                queue_name,
                topic=topic.arn,
                protocol="sqs",
                endpoint=each.arn,
                redrive_policy=dead_letters.arn.apply(
                    lambda arn: json.dumps({"deadLetterTargetArn": arn})
                ),
                opts=pulumi.ResourceOptions(parent=self, depends_on=needed),
            )
            for queue_name, topic, each in (
                (stack.named("mail"), self.topic, queue),
                (stack.named("events"), self.events_topic, events),
            )
        ]
        self.ready += [*queue_policies, *subscriptions]
        return HostQueues(queue, events, dead_letters)

    def _queue(self, name: str, dead_letters: aws.sqs.Queue) -> aws.sqs.Queue:
        return aws.sqs.Queue(
            name,
            message_retention_seconds=_RETENTION_SECONDS,
            receive_wait_time_seconds=20,
            visibility_timeout_seconds=_VISIBILITY_SECONDS,
            sqs_managed_sse_enabled=True,
            redrive_policy=dead_letters.arn.apply(
                lambda arn: json.dumps(
                    {"deadLetterTargetArn": arn, "maxReceiveCount": _MAX_RECEIVE_COUNT}
                )
            ),
            opts=self._child,
        )

    def _from_topics(
        self, name: str, queue: aws.sqs.Queue, topics: list[aws.sns.Topic]
    ) -> aws.sqs.QueuePolicy:
        return aws.sqs.QueuePolicy(
            name,
            queue_url=queue.url,
            policy=pulumi.Output.all(queue.arn, [topic.arn for topic in topics]).apply(
                lambda given: mail_documents.queue_from_topics(*given)
            ),
            opts=self._child,
        )
