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


def _graphs(watched: Watched) -> list[tuple[str, tuple[Metric, ...]]]:
    """Return the graphs besides the alarms: the day's mail."""
    names = ("Received", "Delivered", "Deferred", "Failed", "DeadLettered")
    return [
        ("mail", tuple(counted(watched, each) for each in names)),
        ("seconds from SES to the mailbox, p95", (counted(watched, "AgeAtDelivery", "p95"),)),
        ("octets delivered", (counted(watched, "OctetsDelivered"),)),
        ("processor credits", (processor_credits(watched, "CPUCreditBalance", "Minimum"),)),
    ]


def dashboard(name: str, region: str, watched: Watched, shown: Sequence[Alarm]) -> str:
    """Return a dashboard's body: the day's mail, and one graph per alarm, with its threshold."""
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
class MonitoringArgs:
    """`address`: who is notified, "" for nobody; `budget_usd`: per month, 0 for no budget.

    `watched` has the same names as `Watched`, as they become known, except those of services and of
    failed starts, which are passed separately; `deliver_log` is the name of the log group that
    `faults` watches.
    """

    stack: Stack
    mail_host: str
    deliver_log: pulumi.Input[str]
    address: str
    budget_usd: float
    mailboxes_gb: int
    watched: Mapping[str, pulumi.Input[Any]]
    services: Mapping[str, pulumi.Input[str]]
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
            **args.watched, services=dict(args.services), missed=dict(args.missed)
        ).apply(lambda known: Watched(rules=args.rules, mail_host=args.mail_host, **known))
        aws.cloudwatch.LogMetricFilter(
            f"{args.name}-faults",
            log_group_name=args.deliver_log,
            pattern=FAULTS_PATTERN,
            metric_transformation={
                "namespace": namespace(args.stack.name),
                "name": FAULTS,
                "value": "1",
                "unit": "Count",
            },
            opts=self._child,
        )
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
        planned = pulumi.Output.all(args.stack.account, args.watched["cluster"]).apply(
            lambda known: self._planned_events(str(known[0]), str(known[1]))
        )
        names = tuple(self._planned_events("", ""))
        Events(args.name, EventsArgs(args.name, topic_arn, names, planned), self._child)

    def _planned_events(self, account: str, cluster: str) -> dict[str, Event]:
        args = self._args
        planned = [
            failed_deployment(account, args.stack.region, cluster),
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
    services, missed = (dict.fromkeys(names, "") for names in (args.services, args.missed))
    return Watched("", "", args.rules, "", "", "", services, args.mail_host, missed)
