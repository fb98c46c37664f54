"""The alarms of a stack, as plain data: no Pulumi here, so that tests can evaluate them.

Every alarm means that somebody should look. Ten alarm metrics per account are free of charge;
`plexus cost` counts the rest. In a stack of several hosts each host has alarms of its own about
what can fail on it alone; the alarms' names for host 1 are those of a stack of one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

_GB = 1024**3

# SES pauses sending at 10 % bounces or 0.5 % complaints, and reviews an account at half of that.
# https://docs.aws.amazon.com/ses/latest/dg/reputationdashboard-bounce-rate.html
_BOUNCE_RATE = 0.05
_COMPLAINT_RATE = 0.001

# A message waits this long only if something is down.
_OLDEST_SECONDS = 900

# EFS starts with 2.1 TiB of credits; below this, a day of heavy use is left.
# https://docs.aws.amazon.com/efs/latest/ug/performance.html#bursting
_BURST_CREDITS = 200 * _GB

# What `deliver` counts, in CloudWatch's embedded metric format (docs/delivery.md explains each
# number, and which of them needs an alarm).
DELIVER_NAMESPACE = "PostalPlexus"
_MANY_DEFERRED = 100
_MANY_FAILED = 50

# A surplus credit costs a sixtieth of $0.04: this is four cents within a day.
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/burstable-performance-instances-unlimited-mode-concepts.html
_SURPLUS_CREDITS = 60

# Log lines of `deliver` that somebody should see: a bug in it, or a broken directory.
FAULTS = "Faults"
FAULTS_PATTERN = '{ ($.event = "fault") || ($.event = "directory refused") }'

# CloudWatch accepts ten metrics in one expression.
_METRICS_AN_EXPRESSION = 10


@dataclass(frozen=True)
class Metric:
    """One CloudWatch metric, as an alarm or a dashboard refers to it."""

    namespace: str
    name: str
    dimensions: Mapping[str, str]
    statistic: str
    period: int = 300


@dataclass(frozen=True)
class Alarm:
    """When to notify the operator, and of what.

    `missing` is the meaning of no data: "notBreaching" if no data is not a problem. `graph`: the
    title of its graph in the dashboard, which the hosts share; its name if empty.
    """

    name: str
    description: str
    metrics: tuple[Metric, ...]
    comparison: str
    threshold: float
    periods: int = 1
    missing: str = "notBreaching"
    # For several metrics: the metric math expression that combines them.
    expression: str = ""
    graph: str = ""


@dataclass(frozen=True)
class WatchedHost:
    """The AWS names of one host's parts; `name`, of the mail host, is its metrics' dimension.

    `services`: service name by container name; `missed`: for each of the host's scheduled tasks,
    the queue of failed starts.
    """

    name: str
    queue: str
    dead_letters: str
    group: str
    cluster: str
    services: Mapping[str, str]
    missed: Mapping[str, str]


@dataclass(frozen=True)
class Watched:
    """The hosts by their numbers, and the AWS names of what is the whole stack's."""

    hosts: tuple[WatchedHost, ...]
    rules: tuple[str, ...]
    file_system: str
    missed: Mapping[str, str]


def namespace(stack: str) -> str:
    """Return the namespace of metrics from log lines.

    They have no dimensions, so each stack has its own.
    """
    return f"PostalPlexus/{stack}"


def counted(host: WatchedHost, name: str, statistic: str = "Sum", period: int = 300) -> Metric:
    """Return one of the numbers that a host's containers report, or `deliver` for all hosts.

    Each minute `deliver` reports under the name of host 1, whichever host it runs on: CloudWatch
    adds that up, and bills each of these metrics once.
    """
    return Metric(DELIVER_NAMESPACE, name, {"Host": host.name}, statistic, period)


def alarms(watched: Watched, stack: str, mailboxes_gb: int) -> tuple[Alarm, ...]:
    """Return every alarm of a stack."""
    first, *others = watched.hosts
    own = _told_apart if others else _as_they_are
    return (
        *_delivery_alarms(first, stack),
        *own(1, first.name, _queue_alarms(first)),
        *_receipt_alarms(watched.rules),
        *_reputation_alarms(),
        *own(1, first.name, _host_alarms(first)),
        *_missed_alarms(watched.missed),
        *_store_alarms(watched.file_system, mailboxes_gb),
        *own(1, first.name, _limit_alarms(first)),
        *(
            alarm
            for number, host in enumerate(others, 2)
            for alarm in _told_apart(
                number,
                host.name,
                [*_queue_alarms(host), *_host_alarms(host), *_limit_alarms(host)],
            )
        ),
    )


def _as_they_are(_number: int, _host: str, found: Iterable[Alarm]) -> list[Alarm]:
    return list(found)


def _told_apart(number: int, host: str, found: Iterable[Alarm]) -> list[Alarm]:
    return [of_host(each, number, host) for each in found]


def of_host(alarm: Alarm, number: int, host: str) -> Alarm:
    """Return a host's alarm in a stack of several: it says which, and has a name of its own."""
    return replace(
        alarm,
        name=alarm.name if number == 1 else f"{alarm.name}-{number}",
        description=f"{host}: {alarm.description}",
        graph=alarm.name,
    )


def _queue_alarms(host: WatchedHost) -> list[Alarm]:
    """Return the alarms on a host's queue and its dead letters."""
    return [
        Alarm(
            "oldest-mail",
            "Received mail has been waiting for 15 minutes: is the mail host down?",
            (
                Metric(
                    "AWS/SQS",
                    "ApproximateAgeOfOldestMessage",
                    {"QueueName": host.queue},
                    "Maximum",
                ),
            ),
            "GreaterThanThreshold",
            _OLDEST_SECONDS,
            periods=2,
        ),
        Alarm(
            "dead-letters",
            "Messages could not be delivered: see plexus dead-letters list.",
            (
                Metric(
                    "AWS/SQS",
                    "ApproximateNumberOfMessagesVisible",
                    {"QueueName": host.dead_letters},
                    "Maximum",
                ),
            ),
            "GreaterThanThreshold",
            0,
        ),
    ]


def _reputation_alarms() -> list[Alarm]:
    """Return the alarms on the account's standing with SES."""
    return [
        Alarm(
            "bounces",
            "5 % of the mail from this account bounces; SES pauses sending at 10 %.",
            (Metric("AWS/SES", "Reputation.BounceRate", {}, "Average", 3600),),
            "GreaterThanThreshold",
            _BOUNCE_RATE,
        ),
        Alarm(
            "complaints",
            "0.1 % of the mail from this account is reported as spam; SES pauses sending at 0.5 %.",
            (Metric("AWS/SES", "Reputation.ComplaintRate", {}, "Average", 3600),),
            "GreaterThanThreshold",
            _COMPLAINT_RATE,
        ),
    ]


def _store_alarms(file_system: str, mailboxes_gb: int) -> list[Alarm]:
    """Return the alarms on the mail store."""
    return [
        Alarm(
            "store-credits",
            "The mail store has used up its burst credits and will become slow.",
            (Metric("AWS/EFS", "BurstCreditBalance", {"FileSystemId": file_system}, "Minimum"),),
            "LessThanThreshold",
            _BURST_CREDITS,
            periods=3,
        ),
        Alarm(
            "store-size",
            f"The mailboxes have grown past {mailboxes_gb} GB: is that intended?",
            (
                Metric(
                    "AWS/EFS",
                    "StorageBytes",
                    {"FileSystemId": file_system, "StorageClass": "Total"},
                    "Maximum",
                    3600,
                ),
            ),
            "GreaterThanThreshold",
            mailboxes_gb * _GB,
        ),
    ]


def _limit_alarms(host: WatchedHost) -> list[Alarm]:
    """Return the alarms whose metrics Dovecot and Postfix write only when there is something."""
    return [
        Alarm(
            "indexes",
            "The mailboxes' indexes use 80 % of their space: increase indexes-gb. At 90 % search "
            "indexes are removed; without free space mail waits.",
            (counted(host, "IndexVolumeUsed", "Maximum", 900),),
            "GreaterThanOrEqualToThreshold",
            80,
        ),
        Alarm(
            "submission-limit",
            "A user has reached the sending limit: has the password been stolen?",
            (counted(host, "SubmissionsOverLimit"),),
            "GreaterThanThreshold",
            0,
        ),
    ]


def processor_credits(host: WatchedHost, name: str, statistic: str, period: int = 300) -> Metric:
    """Return an EC2 metric of a burstable instance; other instances have none.

    It is also available for a whole group, with basic monitoring: the dimension
    AutoScalingGroupName,
    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/viewing_metrics_with_cloudwatch.html
    """
    return Metric("AWS/EC2", name, {"AutoScalingGroupName": host.group}, statistic, period)


def _host_alarms(host: WatchedHost) -> list[Alarm]:
    """Return the alarms on an instance, on what its containers share, and on the services on it."""
    return [
        Alarm(
            "instance",
            "The mail host fails its status checks; the Auto Scaling group replaces it.",
            (
                Metric(
                    "AWS/EC2",
                    "StatusCheckFailed",
                    {"AutoScalingGroupName": host.group},
                    "Maximum",
                    60,
                ),
            ),
            "GreaterThanThreshold",
            0,
            periods=5,
            # Without an instance there is no data.
            missing="breaching",
        ),
        # Written only while something is short, with its name: by `deliver`, and by containers
        # about their own memory. ECS's MemoryUtilization is not suitable, because it includes page
        # cache.
        Alarm(
            "host-short",
            "The mail host is short of memory, swap or disk, its state volume is nearly full, or a "
            "container is near its memory limit. The log line with HostShort says which, under "
            "`used`.",
            (counted(host, "HostShort", "Maximum"),),
            "GreaterThanThreshold",
            0,
            periods=3,
        ),
        Alarm(
            "surplus-credits",
            "The mail host uses more processor time than its instance type includes, and AWS bills "
            "the rest: find out what is busy, or use a larger instance-type.",
            (processor_credits(host, "CPUSurplusCreditsCharged", "Sum", 86400),),
            "GreaterThanThreshold",
            _SURPLUS_CREDITS,
        ),
        *_service_alarms(host),
        *_missed_alarms(host.missed),
    ]


def _service_alarms(host: WatchedHost) -> list[Alarm]:
    """Return an alarm per service.

    A running task reports its memory each minute, others report nothing.

    The amount of memory is not checked, because it includes page cache (`_host_alarms`).
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/available-metrics.html
    """
    return [
        Alarm(
            f"service-{container}",
            f"{container} is not running.",
            (
                Metric(
                    "AWS/ECS",
                    "MemoryUtilization",
                    {"ClusterName": host.cluster, "ServiceName": service},
                    "SampleCount",
                ),
            ),
            "LessThanThreshold",
            1,
            periods=3,
            missing="breaching",
        )
        for container, service in host.services.items()
    ]


def _missed_alarms(missed: Mapping[str, str]) -> list[Alarm]:
    """Return the alarms on tasks that a schedule could not start, which nothing else reports."""
    return [
        Alarm(
            f"missed-{what}",
            f"The schedule could not start {what}; each message in its queue (…-missed) has the "
            "reason in its attributes ERROR_CODE and ERROR_MESSAGE. Purge it afterwards.",
            (
                Metric(
                    "AWS/SQS",
                    "ApproximateNumberOfMessagesVisible",
                    {"QueueName": queue},
                    "Maximum",
                ),
            ),
            "GreaterThanThreshold",
            0,
        )
        for what, queue in missed.items()
    ]


def _delivery_alarms(first: WatchedHost, stack: str) -> tuple[Alarm, ...]:
    """Return the alarms on what `deliver` reports, of all hosts together.

    The alarm on the oldest message covers its silence.
    """
    return (
        Alarm(
            "deferred",
            f"deliver has deferred {_MANY_DEFERRED} deliveries in 15 minutes: check Dovecot and "
            "the mail store.",
            (counted(first, "Deferred", period=900),),
            "GreaterThanThreshold",
            _MANY_DEFERRED,
        ),
        Alarm(
            "failed",
            f"{_MANY_FAILED} deliveries have failed permanently within an hour: a mailbox is full, "
            "the directory is wrong, or somebody is guessing addresses.",
            (counted(first, "Failed", period=3600),),
            "GreaterThanThreshold",
            _MANY_FAILED,
        ),
        Alarm(
            "faults",
            "deliver has met a bug, or has refused a broken directory and continues with the last "
            "good one: see `fault` and `directory refused` in its log.",
            (Metric(namespace(stack), FAULTS, {}, "Sum"),),
            "GreaterThanThreshold",
            0,
        ),
    )


def _receipt_alarms(rules: Sequence[str]) -> list[Alarm]:
    """Return the alarms on mail that SES cannot store or announce (it retries for 4 h)."""
    found: list[Alarm] = []
    for metric, name, description in (
        (
            "PublishFailure",
            "receipt-failures",
            "SES cannot store or announce received mail. It retries for 4 hours: check policies.",
        ),
        (
            "PublishExpired",
            "receipt-losses",
            "SES has given up on storing or announcing received mail: it is lost.",
        ),
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
