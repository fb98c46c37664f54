"""What is watched, and who is told: alarms to an address outside this mail system, a dashboard.

Every alarm means that somebody should look. Ten alarm metrics are free of charge in an account;
`plexus cost` counts what there is beyond.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi_aws as aws

import pulumi
from deployment import documents

_GB = 1024**3

# SES pauses sending at 10 % bounces or 0.5 % complaints, and reviews an account at half of that.
# https://docs.aws.amazon.com/ses/latest/dg/reputationdashboard-bounce-rate.html
_BOUNCE_RATE = 0.05
_COMPLAINT_RATE = 0.001

# A mail waits this long only when something is down.
_OLDEST_SECONDS = 900

# EFS begins with 2.1 TiB of credits; below this, a day of heavy use is left.
# https://docs.aws.amazon.com/efs/latest/ug/performance.html#bursting
_BURST_CREDITS = 200 * _GB

# What `deliver` counts, in CloudWatch's embedded metric format (docs/delivery.md says what each
# number means, and which of them deserves an alarm).
DELIVER_NAMESPACE = "PostalPlexus"
_MANY_DEFERRED = 100
_MANY_FAILED = 50

# Log lines of `deliver` that a person should see: a fault of its own, a directory that is broken.
FAULTS = "Faults"
FAULTS_PATTERN = '{ ($.event = "fault") || ($.event = "directory refused") }'

# CloudWatch takes ten metrics in one expression.
_METRICS_AN_EXPRESSION = 10


@dataclass(frozen=True)
class Metric:
    """One metric of CloudWatch's as an alarm or a dashboard names it."""

    namespace: str
    name: str
    dimensions: Mapping[str, str]
    statistic: str
    period: int = 300


@dataclass(frozen=True)
class Alarm:
    """When to tell the operator what.

    `missing` says what no data means: "notBreaching" where no data is no trouble.
    """

    name: str
    description: str
    metrics: tuple[Metric, ...]
    comparison: str
    threshold: float
    periods: int = 1
    missing: str = "notBreaching"
    # Of several metrics: how they become one, in CloudWatch's metric math.
    expression: str = ""


@dataclass(frozen=True)
class Watched:
    """Names of what is watched, as AWS has them; `mail_host` is what `deliver` counts under.

    `services`: a container's name to its service's.
    """

    queue: str
    dead_letters: str
    rules: tuple[str, ...]
    group: str
    cluster: str
    file_system: str
    services: Mapping[str, str]
    mail_host: str


def namespace(stack: str) -> str:
    """Where metrics made of log lines are: they have no dimensions, so each stack has its own."""
    return f"PostalPlexus/{stack}"


def _counted(watched: Watched, name: str, statistic: str = "Sum", period: int = 300) -> Metric:
    """One of the numbers that `deliver` reports each minute."""
    return Metric(DELIVER_NAMESPACE, name, {"Host": watched.mail_host}, statistic, period)


def alarms(watched: Watched, stack: str, mailboxes_gb: int) -> tuple[Alarm, ...]:
    """Every alarm of a stack."""
    return (
        *_delivery_alarms(watched, stack),
        Alarm(
            "oldest-mail",
            "Received mail has been waiting for 15 minutes: is the mail host down?",
            (
                Metric(
                    "AWS/SQS",
                    "ApproximateAgeOfOldestMessage",
                    {"QueueName": watched.queue},
                    "Maximum",
                ),
            ),
            "GreaterThanThreshold",
            _OLDEST_SECONDS,
            periods=2,
        ),
        Alarm(
            "dead-letters",
            "Mail could not be delivered and was put aside: see the dead letters.",
            (
                Metric(
                    "AWS/SQS",
                    "ApproximateNumberOfMessagesVisible",
                    {"QueueName": watched.dead_letters},
                    "Maximum",
                ),
            ),
            "GreaterThanThreshold",
            0,
        ),
        *_receipt_alarms(watched.rules),
        Alarm(
            "bounces",
            "Of the mail sent from this account 5 % bounces; SES stops sending at 10 %.",
            (Metric("AWS/SES", "Reputation.BounceRate", {}, "Average", 3600),),
            "GreaterThanThreshold",
            _BOUNCE_RATE,
        ),
        Alarm(
            "complaints",
            "Of the mail sent from this account 0.1 % is called spam; SES stops at 0.5 %.",
            (Metric("AWS/SES", "Reputation.ComplaintRate", {}, "Average", 3600),),
            "GreaterThanThreshold",
            _COMPLAINT_RATE,
        ),
        Alarm(
            "instance",
            "The mail host fails its status checks; the group replaces it.",
            (
                Metric(
                    "AWS/EC2",
                    "StatusCheckFailed",
                    {"AutoScalingGroupName": watched.group},
                    "Maximum",
                    60,
                ),
            ),
            "GreaterThanThreshold",
            0,
            periods=5,
            # No instance at all reports nothing.
            missing="breaching",
        ),
        *_service_alarms(watched),
        Alarm(
            "store-credits",
            "The mail store has used up its burst credits: it will become slow.",
            (
                Metric(
                    "AWS/EFS",
                    "BurstCreditBalance",
                    {"FileSystemId": watched.file_system},
                    "Minimum",
                ),
            ),
            "LessThanThreshold",
            _BURST_CREDITS,
            periods=3,
        ),
        Alarm(
            "store-size",
            f"The mailboxes have grown past {mailboxes_gb} GB: is that meant to be?",
            (
                Metric(
                    "AWS/EFS",
                    "StorageBytes",
                    {"FileSystemId": watched.file_system, "StorageClass": "Total"},
                    "Maximum",
                    3600,
                ),
            ),
            "GreaterThanThreshold",
            mailboxes_gb * _GB,
        ),
        # Postfix writes this metric only when there is something to tell.
        Alarm(
            "submission-limit",
            "A user has reached the limit of what one may send: is the password stolen?",
            (_counted(watched, "SubmissionsOverLimit"),),
            "GreaterThanThreshold",
            0,
        ),
    )


def _service_alarms(watched: Watched) -> list[Alarm]:
    """Each container's memory, of its own hard limit; what does not run reports none.

    The cluster's figure would be of no use: it is a share of all that the host has registered,
    which the limits together do not reach.
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/available-metrics.html
    """
    return [
        Alarm(
            f"service-{container}",
            f"{container} uses 90 % of its memory, or does not run.",
            (
                Metric(
                    "AWS/ECS",
                    "MemoryUtilization",
                    {"ClusterName": watched.cluster, "ServiceName": service},
                    "Maximum",
                ),
            ),
            "GreaterThanThreshold",
            90,
            periods=3,
            missing="breaching",
        )
        for container, service in watched.services.items()
    ]


def _delivery_alarms(watched: Watched, stack: str) -> tuple[Alarm, ...]:
    """What `deliver` itself says is wrong; that it says nothing is the oldest mail's alarm."""
    return (
        Alarm(
            "deferred",
            f"deliver has put off {_MANY_DEFERRED} deliveries in 15 minutes: Dovecot or the mail "
            "store is in trouble.",
            (_counted(watched, "Deferred", period=900),),
            "GreaterThanThreshold",
            _MANY_DEFERRED,
        ),
        Alarm(
            "failed",
            f"{_MANY_FAILED} deliveries have failed for good within an hour: a mailbox is full, "
            "the directory is wrong, or somebody guesses addresses.",
            (_counted(watched, "Failed", period=3600),),
            "GreaterThanThreshold",
            _MANY_FAILED,
        ),
        Alarm(
            "faults",
            "deliver met a fault of its own, or refused a broken directory and goes on with the "
            "last good one: see its log for `fault` and `directory refused`.",
            (Metric(namespace(stack), FAULTS, {}, "Sum"),),
            "GreaterThanThreshold",
            0,
        ),
    )


def _receipt_alarms(rules: Sequence[str]) -> list[Alarm]:
    """SES tried in vain to store or announce a mail; after four hours it gives up: lost."""
    found: list[Alarm] = []
    for metric, name, description in (
        (
            "PublishFailure",
            "receipt-failures",
            "SES can't store or announce received mail: lost in four hours. See the policies.",
        ),
        ("PublishExpired", "receipt-losses", "SES has given up on received mail: it is lost."),
    ):
        for start in range(0, len(rules), _METRICS_AN_EXPRESSION):
            part = rules[start : start + _METRICS_AN_EXPRESSION]
            suffix = f"-{start // _METRICS_AN_EXPRESSION + 1}" if start else ""
            found.append(
                Alarm(
                    f"{name}{suffix}",
                    description,
                    tuple(Metric("AWS/SES", metric, {"RuleName": rule}, "Sum") for rule in part),
                    "GreaterThanThreshold",
                    0,
                    expression="SUM(METRICS())",
                )
            )
    return found


def _graphs(watched: Watched) -> list[tuple[str, tuple[Metric, ...]]]:
    """What there is to see besides the alarms: the day's mail."""
    names = ("Received", "Delivered", "Deferred", "Failed", "DeadLettered")
    return [
        ("mail", tuple(_counted(watched, each) for each in names)),
        ("seconds from SES to the mailbox, p95", (_counted(watched, "AgeAtDelivery", "p95"),)),
        ("octets delivered", (_counted(watched, "OctetsDelivered"),)),
    ]


def dashboard(name: str, region: str, watched: Watched, shown: Sequence[Alarm]) -> str:
    """The body of a dashboard: the day's mail, and one graph an alarm, with its threshold."""
    graphs: list[tuple[str, tuple[Metric, ...], list[dict[str, Any]]]] = [
        (title, metrics, []) for title, metrics in _graphs(watched)
    ]
    graphs += [
        (alarm.name, alarm.metrics, [{"label": alarm.description, "value": alarm.threshold}])
        for alarm in shown
    ]
    widgets: list[dict[str, Any]] = [
        {
            "type": "metric",
            "x": 8 * (index % 3),
            "y": 6 * (index // 3),
            "width": 8,
            "height": 6,
            "properties": {
                "title": f"{name}: {title}",
                "region": region,
                "view": "timeSeries",
                "period": metrics[0].period,
                "stat": metrics[0].statistic,
                "metrics": [_in_dashboard(metric) for metric in metrics],
                "annotations": {"horizontal": lines},
            },
        }
        for index, (title, metrics, lines) in enumerate(graphs)
    ]
    return json.dumps({"widgets": widgets}, sort_keys=True)


def _in_dashboard(metric: Metric) -> list[str]:
    flat = [text for pair in sorted(metric.dimensions.items()) for text in pair]
    return [metric.namespace, metric.name, *flat]


@dataclass(frozen=True)
class WatchArgs:
    """`address`: who is told, "" for nobody; `budget_usd`: a month, 0 for no budget.

    `watched` holds the same names as `Watched`, as they become known, but the services', which
    are given apart; `deliver_log` is the name of the log group that `faults` looks at.
    """

    name: str
    stack: str
    account: pulumi.Input[str]
    region: str
    mail_host: str
    deliver_log: pulumi.Input[str]
    address: str
    budget_usd: float
    mailboxes_gb: int
    watched: Mapping[str, pulumi.Input[Any]]
    services: Mapping[str, pulumi.Input[str]]
    rules: tuple[str, ...]
    # Alarms of other parts, whose metrics have fixed names.
    more: tuple[Alarm, ...] = ()


class Watch(pulumi.ComponentResource):
    """The topic, alarms, dashboard and budget."""

    def __init__(
        self, name: str, args: WatchArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("postal-plexus:index:Watch", name, None, opts)
        self._args = args
        self._child = pulumi.ResourceOptions(parent=self)
        watched = pulumi.Output.all(**args.watched, services=dict(args.services)).apply(
            lambda known: Watched(rules=args.rules, mail_host=args.mail_host, **known)
        )
        aws.cloudwatch.LogMetricFilter(
            f"{args.name}-faults",
            log_group_name=args.deliver_log,
            pattern=FAULTS_PATTERN,
            metric_transformation={
                "namespace": namespace(args.stack),
                "name": FAULTS,
                "value": "1",
                "unit": "Count",
            },
            opts=self._child,
        )
        actions = [self._topic()] if args.address else []
        # How many alarms there are depends on the rules alone, so that a preview knows it.
        planned = self._alarms(_placeholder(args))
        for index, alarm in enumerate(planned):
            self._alarm(
                alarm, watched.apply(lambda known, index=index: self._nth(known, index)), actions
            )
        aws.cloudwatch.Dashboard(
            args.name,
            dashboard_name=args.name,
            dashboard_body=watched.apply(
                lambda known: dashboard(args.name, args.region, known, self._alarms(known))
            ),
            opts=self._child,
        )
        if args.budget_usd and args.address:
            self._budget()
        self.register_outputs({})

    def _nth(self, watched: Watched, index: int) -> Alarm:
        return self._alarms(watched)[index]

    def _alarms(self, watched: Watched) -> tuple[Alarm, ...]:
        args = self._args
        return (*alarms(watched, args.stack, args.mailboxes_gb), *args.more)

    def _topic(self) -> pulumi.Output[str]:
        args = self._args
        topic = aws.sns.Topic(f"{args.name}-alarms", opts=self._child)
        policy = aws.sns.TopicPolicy(
            f"{args.name}-alarms",
            arn=topic.arn,
            policy=pulumi.Output.all(topic.arn, args.account).apply(
                lambda given: documents.alarm_topic(*given)
            ),
            opts=self._child,
        )
        aws.sns.TopicSubscription(
            f"{args.name}-alarms",
            topic=topic.arn,
            protocol="email",
            endpoint=args.address,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[policy]),
        )
        return topic.arn

    def _alarm(
        self, planned: Alarm, known: pulumi.Output[Alarm], actions: list[pulumi.Output[str]]
    ) -> None:
        common: dict[str, Any] = {
            "alarm_description": planned.description,
            "comparison_operator": planned.comparison,
            "threshold": planned.threshold,
            "evaluation_periods": planned.periods,
            "treat_missing_data": planned.missing,
            "alarm_actions": actions,
            "ok_actions": actions,
            "opts": self._child,
        }
        name = f"{self._args.name}-{planned.name}"
        if len(planned.metrics) == 1:
            metric = planned.metrics[0]
            aws.cloudwatch.MetricAlarm(
                name,
                namespace=metric.namespace,
                metric_name=metric.name,
                dimensions=known.apply(lambda alarm: dict(alarm.metrics[0].dimensions)),
                statistic=metric.statistic,
                period=metric.period,
                **common,
            )
            return
        queries: list[Any] = [
            {
                "id": "all",
                "expression": planned.expression,
                "return_data": True,
                "label": planned.name,
            }
        ]
        for index, metric in enumerate(planned.metrics):
            queries.append(
                {
                    "id": f"m{index}",
                    "return_data": False,
                    "metric": {
                        "namespace": metric.namespace,
                        "metric_name": metric.name,
                        "dimensions": known.apply(
                            lambda alarm, index=index: dict(alarm.metrics[index].dimensions)
                        ),
                        "stat": metric.statistic,
                        "period": metric.period,
                    },
                }
            )
        aws.cloudwatch.MetricAlarm(name, metric_queries=queries, **common)

    def _budget(self) -> None:
        args = self._args
        aws.budgets.Budget(
            args.name,
            budget_type="COST",
            time_unit="MONTHLY",
            limit_amount=f"{args.budget_usd:.2f}",
            limit_unit="USD",
            notifications=[
                {
                    "comparison_operator": "GREATER_THAN",
                    "notification_type": kind,
                    "threshold": threshold,
                    "threshold_type": "PERCENTAGE",
                    "subscriber_email_addresses": [args.address],
                }
                for kind, threshold in (("ACTUAL", 80), ("FORECASTED", 100))
            ],
            opts=self._child,
        )


def _placeholder(args: WatchArgs) -> Watched:
    return Watched("", "", args.rules, "", "", "", dict.fromkeys(args.services, ""), args.mail_host)
