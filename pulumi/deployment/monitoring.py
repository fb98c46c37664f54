"""Notifications and overview: alarms to an address outside this mail system, and a dashboard.

`alarms` has the list of alarms.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi_aws as aws

import pulumi
from deployment import mail_documents
from deployment.alarms import (
    FAULTS,
    FAULTS_PATTERN,
    Alarm,
    Metric,
    Watched,
    WatchedHost,
    alarms,
    counted,
    namespace,
    processor_credits,
)
from deployment.events import (
    Event,
    Events,
    EventsArgs,
    critical_findings,
    failed_deployment,
    failed_doctor,
    failed_patches,
    rule_arns,
)
from deployment.stack import Stack

_Graph = tuple[str, tuple[Metric, ...], list[dict[str, Any]]]


def _graphs(watched: Watched) -> list[_Graph]:
    """Return the graphs besides the alarms: the day's mail."""
    first = watched.hosts[0]
    names = ("Received", "Delivered", "Deferred", "Failed", "DeadLettered")
    return [
        ("mail", tuple(counted(first, each) for each in names), []),
        ("seconds from SES to the mailbox, p95", (counted(first, "AgeAtDelivery", "p95"),), []),
        ("octets delivered", (counted(first, "OctetsDelivered"),), []),
        (
            "processor credits",
            tuple(processor_credits(each, "CPUCreditBalance", "Minimum") for each in watched.hosts),
            [],
        ),
    ]


def _alarm_graphs(shown: Sequence[Alarm]) -> list[_Graph]:
    """Return a graph for each alarm, with its threshold; the same alarm of all hosts has one."""
    found: dict[str, list[Alarm]] = {}
    for alarm in shown:
        found.setdefault(alarm.graph or alarm.name, []).append(alarm)
    return [
        (
            title,
            tuple(metric for each in its for metric in each.metrics),
            [{"label": its[0].description, "value": its[0].threshold}],
        )
        for title, its in found.items()
    ]


def dashboard(name: str, region: str, watched: Watched, shown: Sequence[Alarm]) -> str:
    """Return a dashboard's body: the day's mail, and the alarms' metrics with their thresholds."""
    graphs = [*_graphs(watched), *_alarm_graphs(shown)]
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
class HostArgs:
    """One host's parts, as in `WatchedHost`, as their names become known.

    `deliver_log` is the name of the log group that `faults` watches.
    """

    name: str
    queue: pulumi.Input[str]
    dead_letters: pulumi.Input[str]
    group: pulumi.Input[str]
    cluster: pulumi.Input[str]
    services: Mapping[str, pulumi.Input[str]]
    missed: Mapping[str, pulumi.Input[str]]
    deliver_log: pulumi.Input[str]

    def known(self) -> pulumi.Output[WatchedHost]:
        """Return the host's names when all are known."""
        return pulumi.Output.all(
            queue=self.queue,
            dead_letters=self.dead_letters,
            group=self.group,
            cluster=self.cluster,
            services=dict(self.services),
            missed=dict(self.missed),
        ).apply(lambda known: WatchedHost(name=self.name, **known))

    def placeholder(self) -> WatchedHost:
        """Return the host without its names: which alarms it has does not depend on them."""
        services, missed = (dict.fromkeys(names, "") for names in (self.services, self.missed))
        return WatchedHost(self.name, "", "", "", "", services, missed)


@dataclass(frozen=True)
class MonitoringArgs:
    """`address`: who is notified, "" for nobody; `budget_usd`: per month, 0 for no budget.

    `hosts` are in the order of their numbers; `missed` are the queues of failed starts of the
    stack's own scheduled tasks.
    """

    stack: Stack
    address: str
    budget_usd: float
    mailboxes_gb: int
    hosts: Sequence[HostArgs]
    file_system: pulumi.Input[str]
    missed: Mapping[str, pulumi.Input[str]]
    rules: tuple[str, ...]
    # The projects of the weekly patches and of the weekly doctor, if there are any.
    patches: str = ""
    doctor: str = ""
    # Alarms of other parts, whose metrics have fixed names.
    more: tuple[Alarm, ...] = ()

    @property
    def name(self) -> str:
        """The name of the parts here, or its prefix."""
        return self.stack.named("watch")


class Monitoring(pulumi.ComponentResource):
    """The topic, alarms, dashboard and budget."""

    def __init__(
        self, name: str, args: MonitoringArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        # The name that it has in existing stacks.
        super().__init__("postal-plexus:index:Watch", name, None, opts)
        self._args = args
        self._child = pulumi.ResourceOptions(parent=self)
        watched = pulumi.Output.all(
            hosts=[host.known() for host in args.hosts],
            file_system=args.file_system,
            missed=dict(args.missed),
        ).apply(
            lambda known: Watched(
                tuple(known["hosts"]), args.rules, known["file_system"], known["missed"]
            )
        )
        for number, host in enumerate(args.hosts, 1):
            self._count_faults(number, host)
        actions = [self._topic()] if args.address else []
        for topic_arn in actions:
            self._events(topic_arn)
        # The number of alarms depends only on the rules, so that a preview knows it.
        planned = self._alarms(_placeholder(args))
        for index, alarm in enumerate(planned):
            self._alarm(
                alarm, watched.apply(lambda known, index=index: self._nth(known, index)), actions
            )
        aws.cloudwatch.Dashboard(
            args.name,
            dashboard_name=args.name,
            dashboard_body=watched.apply(
                lambda known: dashboard(args.name, args.stack.region, known, self._alarms(known))
            ),
            opts=self._child,
        )
        if args.budget_usd and args.address:
            self._budget()
        self.register_outputs({})

    def _count_faults(self, number: int, host: HostArgs) -> None:
        """Count the faults in the log of a host's `deliver`; those of all hosts are one metric."""
        name = self._args.stack.on_host(number).of_host("faults")
        aws.cloudwatch.LogMetricFilter(
            f"{self._args.name}-{name}",
            log_group_name=host.deliver_log,
            pattern=FAULTS_PATTERN,
            metric_transformation={
                "namespace": namespace(self._args.stack.name),
                "name": FAULTS,
                "value": "1",
                "unit": "Count",
            },
            opts=self._child,
        )

    def _nth(self, watched: Watched, index: int) -> Alarm:
        return self._alarms(watched)[index]

    def _alarms(self, watched: Watched) -> tuple[Alarm, ...]:
        args = self._args
        return (*alarms(watched, args.stack.name, args.mailboxes_gb), *args.more)

    def _topic(self) -> pulumi.Output[str]:
        args = self._args
        topic = aws.sns.Topic(f"{args.name}-alarms", opts=self._child)
        policy = aws.sns.TopicPolicy(
            f"{args.name}-alarms",
            arn=topic.arn,
            policy=pulumi.Output.all(topic.arn, args.stack.account).apply(
                lambda given: mail_documents.alarm_topic(
                    *given, rule_arns(given[1], args.stack.region, args.name)
                )
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

    def _events(self, topic_arn: pulumi.Output[str]) -> None:
        args = self._args
        clusters = [host.cluster for host in args.hosts]
        planned = pulumi.Output.all(args.stack.account, *clusters).apply(
            lambda known: self._planned_events(str(known[0]), list(map(str, known[1:])))
        )
        names = tuple(self._planned_events("", []))
        Events(args.name, EventsArgs(args.name, topic_arn, names, planned), self._child)

    def _planned_events(self, account: str, clusters: Sequence[str]) -> dict[str, Event]:
        args = self._args
        planned = [
            failed_deployment(account, args.stack.region, clusters),
            critical_findings(account, args.stack.region, args.stack.named("image")),
        ]
        if args.patches:
            planned.append(failed_patches(account, args.stack.region, args.patches))
        if args.doctor:
            planned.append(failed_doctor(account, args.stack.region, args.doctor))
        return {event.name: event for event in planned}

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


def _placeholder(args: MonitoringArgs) -> Watched:
    hosts = tuple(host.placeholder() for host in args.hosts)
    return Watched(hosts, args.rules, "", dict.fromkeys(args.missed, ""))
