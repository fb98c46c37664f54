"""What the program asks for, against the provider's schema and AWS's own service models.

That every resource is also accepted by the calls that make it is in tests/service/pulumi_engine:
there the whole program is deployed through botocore.
"""

import base64
import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest
from botocore.model import ListShape, MapShape, Shape, StructureShape
from botocore.validate import ParamValidator
from provider_schema import faults
from registrations import PROGRAM, Run, watched

from postal_plexus.cli import estimate
from postal_plexus.deliver import host_room, maillog, metrics

# --- the provider's schema ------------------------------------------------------------------------


def test_every_argument_is_one_that_the_provider_knows(run: Run) -> None:
    """Names, kinds and what is required, down into the nested ones."""
    assert 150 < len(run.custom)
    assert [] == [fault for entry in run.custom for fault in faults(entry)]


@pytest.mark.parametrize(
    ("kind", "change", "fault"),
    [
        ("aws:sqs/queue:Queue", {"visibility": 1}, "there is no visibility"),
        ("aws:sqs/queue:Queue", {"receiveWaitTimeSeconds": "20"}, "'20' is no int"),
        (
            "aws:ec2/launchTemplate:LaunchTemplate",
            {"metadataOptions": {"httpToken": "x"}},
            "httpToken",
        ),
        ("aws:efs/mountTarget:MountTarget", {"subnetId": ...}, "subnetId is missing"),
        (
            "aws:ses/receiptRule:ReceiptRule",
            {"s3Actions": [{"position": 1}]},
            "bucketName is missing",
        ),
    ],
)
def test_a_wrong_argument_is_found(run: Run, kind: str, change: dict[str, Any], fault: str) -> None:
    """The look above does look: one of ours, made wrong in one point."""
    good = run.of(kind)[0]
    changed = {**good.inputs, **change}
    inputs = {key: value for key, value in changed.items() if value is not ...}
    (found,) = faults(dataclasses.replace(good, inputs=inputs))
    assert fault in found


# --- AWS's service models -------------------------------------------------------------------------


def service_faults(service: str, operation: str, given: dict[str, Any]) -> list[str]:
    """Return what a service's model says against the arguments of a call, enums included."""
    model = botocore.session.get_session().get_service_model(service).operation_model(operation)
    report = ParamValidator().validate(given, model.input_shape)
    found = [report.generate_report()] if report.has_errors() else []
    return found + list(_wrong_words(model.input_shape, given, ""))


def _wrong_words(shape: Shape, given: Any, place: str) -> Iterator[str]:
    if isinstance(shape, StructureShape) and isinstance(given, dict):
        for name, value in given.items():
            if name in shape.members:
                yield from _wrong_words(shape.members[name], value, f"{place}.{name}")
    elif isinstance(shape, ListShape) and isinstance(given, list):
        for item in given:
            yield from _wrong_words(shape.member, item, place)
    elif isinstance(shape, MapShape) and isinstance(given, dict):
        for item in given.values():
            yield from _wrong_words(shape.value, item, place)
    elif getattr(shape, "enum", None) and given not in shape.enum:
        yield f"{place}: {given} is none of {shape.enum}"


# Tasks that run once.
ONCE = {"certbot", *(f"maintenance-{each}" for each in ("dovecot", "postfix", "restore"))}


def tasks(run: Run) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Return each task definition's arguments and its container, by the container's name."""
    found = {}
    for entry in run.of("aws:ecs/taskDefinition:TaskDefinition"):
        (container,) = json.loads(entry.inputs["containerDefinitions"])
        found[container["name"]] = (entry.inputs, container)
    assert {"dovecot", "postfix", "deliver", *ONCE} == set(found)
    return found


def test_ecs_takes_the_task_definitions(run: Run) -> None:
    """Definitions are JSON to the provider, so nothing else looks inside them."""
    for inputs, container in tasks(run).values():
        volumes = [
            {"name": volume["name"], "host": {"sourcePath": volume["hostPath"]}}
            if "hostPath" in volume
            else {
                "name": volume["name"],
                "efsVolumeConfiguration": volume["efsVolumeConfiguration"],
            }
            for volume in inputs["volumes"]
        ]
        given = {
            "family": inputs["family"],
            "networkMode": inputs["networkMode"],
            "taskRoleArn": inputs["taskRoleArn"],
            "executionRoleArn": inputs["executionRoleArn"],
            "requiresCompatibilities": inputs["requiresCompatibilities"],
            "containerDefinitions": [container],
            "volumes": volumes,
        }
        assert [] == service_faults("ecs", "RegisterTaskDefinition", given)
        mounted = {point["sourceVolume"] for point in container["mountPoints"]}
        assert mounted == {volume["name"] for volume in volumes}


def test_a_wrong_definition_is_found() -> None:
    """The look above does look."""
    given = {
        "family": "x",
        "networkMode": "bridges",
        "containerDefinitions": [{"name": "x", "memory": "96"}],
    }
    found = " ".join(service_faults("ecs", "RegisterTaskDefinition", given))
    assert "bridges is none of" in found
    assert "memory" in found


def test_health_checks_and_stops_are_within_what_ecs_takes(run: Run) -> None:
    """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html"""
    for name, (_, container) in tasks(run).items():
        if name in ONCE:
            assert "healthCheck" not in container
            continue
        check = container["healthCheck"]
        assert 5 <= check["interval"] <= 300
        assert 2 <= check["timeout"] <= 60
        assert 1 <= check["retries"] <= 10
        assert 0 <= check["startPeriod"] <= 300
        assert "CMD" == check["command"][0]
        assert container["stopTimeout"] <= 120


def test_a_container_gets_the_time_that_its_end_takes(run: Run) -> None:
    """`deliver` takes 25 s at most, and the agent's own limit (90 s) cuts nobody short."""
    stops = {
        name: container["stopTimeout"]
        for name, (_, container) in tasks(run).items()
        if name not in ONCE
    }
    assert 25 < stops["deliver"]
    script = (PROGRAM / "deployment" / "host_boot.sh").read_text()
    (agents,) = re.findall(r"ECS_CONTAINER_STOP_TIMEOUT=(\d+)s", script)
    assert max(stops.values()) <= int(agents)


def test_user_data_is_a_script_of_this_stack(run: Run) -> None:
    """Base64 of a script that names the stack's address, volume and cluster."""
    text = base64.b64decode(
        run.one("aws:ec2/launchTemplate:LaunchTemplate").inputs["userData"]
    ).decode()
    assert text.startswith("#!/bin/bash\n")
    for line in (
        "PLEXUS_CLUSTER=plexus-main-cluster",
        "PLEXUS_INTERFACE=networkinterface-plexus-main-network",
        "PLEXUS_VOLUME=volume-plexus-main-host",
    ):
        assert f"\n{line}\n" in text


def test_the_archives_of_images_have_a_policy_that_ecr_takes(run: Run) -> None:
    """https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html"""
    for entry in run.of("aws:ecr/lifecyclePolicy:LifecyclePolicy"):
        (rule,) = json.loads(entry.inputs["policy"])["rules"]
        assert {"rulePriority", "description", "selection", "action"} == set(rule)
        assert {"tagStatus", "countType", "countNumber"} == set(rule["selection"])
        assert ("any", "imageCountMoreThan", {"type": "expire"}) == (
            rule["selection"]["tagStatus"],
            rule["selection"]["countType"],
            rule["action"],
        )


def test_queues_give_up_to_the_dead_letters(run: Run) -> None:
    """The redrive policies are JSON: a target in this stack, and a count that SQS takes."""
    dead = run.one("aws:sqs/queue:Queue", "-dead-letters")
    for queue in run.of("aws:sqs/queue:Queue"):
        if queue is dead or queue.name.endswith("-missed"):  # nobody receives from those
            continue
        policy = json.loads(queue.inputs["redrivePolicy"])
        assert policy["deadLetterTargetArn"].endswith(f":{dead.name}")
        assert 200 <= policy["maxReceiveCount"] <= 1000


# --- what is watched --------------------------------------------------------------------------------

# Metrics of AWS's, with the dimensions that they have. Sources: docs.aws.amazon.com:
# AWSSimpleQueueService/.../sqs-available-cloudwatch-metrics.html, ses/.../receiving-email-metrics.html
# ("SES/Rule Metrics"), ses/.../reputationdashboard-cloudwatch-alarm.html,
# AWSEC2/.../viewing_metrics_with_cloudwatch.html, AmazonECS/.../available-metrics.html,
# efs/.../efs-metrics.html.
AWS_METRICS = {
    ("AWS/SQS", "ApproximateAgeOfOldestMessage"): {"QueueName"},
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): {"QueueName"},
    ("AWS/SES", "PublishFailure"): {"RuleName"},
    ("AWS/SES", "PublishExpired"): {"RuleName"},
    ("AWS/SES", "Reputation.BounceRate"): set(),
    ("AWS/SES", "Reputation.ComplaintRate"): set(),
    ("AWS/EC2", "StatusCheckFailed"): {"AutoScalingGroupName"},
    ("AWS/EC2", "CPUSurplusCreditsCharged"): {"AutoScalingGroupName"},
    ("AWS/ECS", "MemoryUtilization"): {"ClusterName", "ServiceName"},
    ("AWS/EFS", "BurstCreditBalance"): {"FileSystemId"},
    ("AWS/EFS", "StorageBytes"): {"FileSystemId", "StorageClass"},
}


def test_cloudwatch_takes_the_alarms(run: Run) -> None:
    """Words, kinds, and a window of a day at most (a week for hourly numbers)."""
    for entry in run.of("aws:cloudwatch/metricAlarm:MetricAlarm"):
        given = entry.inputs
        call = {
            "AlarmName": entry.name,
            "AlarmDescription": given["alarmDescription"],
            "ComparisonOperator": given["comparisonOperator"],
            "EvaluationPeriods": given["evaluationPeriods"],
            "Threshold": float(given["threshold"]),
            "TreatMissingData": given["treatMissingData"],
            "AlarmActions": given["alarmActions"],
        }
        if "metricName" in given:
            call |= {"Statistic": given["statistic"], "Period": given["period"]}
            window = given["period"] * given["evaluationPeriods"]
            assert window <= (7 if given["period"] >= 3600 else 1) * 86400
        assert [] == service_faults("cloudwatch", "PutMetricAlarm", call)
        assert given["treatMissingData"] in {"breaching", "notBreaching", "ignore", "missing"}
        assert given["alarmActions"]


def test_alarms_look_at_metrics_that_there_are(run: Run) -> None:
    """An alarm on a metric that nobody publishes would never tell anything."""
    own = set()
    for entry in run.of("aws:cloudwatch/logMetricFilter:LogMetricFilter"):
        made = entry.inputs["metricTransformation"]
        own.add((made["namespace"], made["name"]))
    containers = PROGRAM.parent / "containers"
    written = "".join(
        (containers / name).read_text() for name in ("dovecot/indexes", "postfix/refusal_alarm.py")
    )
    host = {
        variable["value"]
        for container in ("deliver", "dovecot", "postfix")
        for variable in tasks(run)[container][1]["environment"]
        if variable["name"] == "PLEXUS_HOSTNAME"
    }
    for namespace, name, dimensions in watched(run):
        if namespace == metrics.NAMESPACE:
            # The containers count under the name that their definitions give them.
            assert name in {*metrics.UNITS, host_room.METRIC} or f'"Name": "{name}"' in written
            assert {"Host": host} == {key: {value} for key, value in dimensions.items()}
        elif (namespace, name) in own:
            assert {} == dimensions
        else:
            assert AWS_METRICS[namespace, name] == set(dimensions), name


def test_what_is_watched_exists_in_this_stack(run: Run) -> None:
    """Dimensions name this stack's queues, rules, group, cluster and file system."""
    names = {entry.inputs.get("name", entry.name) for entry in run.custom}
    store = run.one("aws:efs/fileSystem:FileSystem")
    names |= {f"filesystem-{store.name}", "Total", "mail.example.org"}
    assert [] == [
        (name, value)
        for _, name, dimensions in watched(run)
        for value in dimensions.values()
        if value not in names
    ]


@pytest.mark.parametrize(
    "what",
    [
        ("AWS/SQS", "ApproximateAgeOfOldestMessage"),
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
        ("AWS/SES", "PublishFailure"),
        ("AWS/SES", "PublishExpired"),
        ("AWS/SES", "Reputation.BounceRate"),
        ("AWS/SES", "Reputation.ComplaintRate"),
        ("AWS/EC2", "StatusCheckFailed"),
        ("AWS/ECS", "MemoryUtilization"),
        ("AWS/EFS", "BurstCreditBalance"),
        ("AWS/EFS", "StorageBytes"),
        ("PostalPlexus", "Deferred"),
        ("PostalPlexus", "Failed"),
        ("PostalPlexus/main", "Faults"),
        ("PostalPlexus/main", "CertificateDaysLeft"),
    ],
    ids=lambda what: what[1],
)
def test_it_is_watched(run: Run, what: tuple[str, str]) -> None:
    """Nothing of this list loses its alarm unnoticed."""
    assert what in {(namespace, name) for namespace, name, _ in watched(run)}


def test_each_service_tells_when_it_is_gone(run: Run) -> None:
    """A service that does not run reports nothing, and that is what tells; page cache tells nothing."""
    alarms = {
        entry.inputs["dimensions"]["ServiceName"]: entry.inputs
        for entry in run.of("aws:cloudwatch/metricAlarm:MetricAlarm")
        if entry.inputs.get("metricName") == "MemoryUtilization"
    }
    assert {entry.name for entry in run.of("aws:ecs/service:Service")} == alarms.keys()
    assert {("breaching", "SampleCount", "LessThanThreshold", 1, 900)} == {
        (
            given["treatMissingData"],
            given["statistic"],
            given["comparisonOperator"],
            given["threshold"],
            given["period"] * given["evaluationPeriods"],
        )
        for given in alarms.values()
    }


def test_faults_are_the_log_lines_that_deliver_writes(
    run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    """The filter's words are the events' names."""
    maillog.crashed("worker", ValueError("x"))
    maillog.directory_refused("etag", "not JSON")
    written = {json.loads(line)["event"] for line in capfd.readouterr().out.splitlines()}
    entry = run.one("aws:cloudwatch/logMetricFilter:LogMetricFilter", "-faults")
    assert written == set(re.findall(r'\$\.event = "([^"]+)"', entry.inputs["pattern"]))
    assert "plexus-main-deliver" == entry.inputs["logGroupName"]


def test_the_dashboard_shows_every_alarm_and_the_days_mail(run: Run) -> None:
    """Each graph fits the grid of 24, and no two lie on each other."""
    body = json.loads(run.one("aws:cloudwatch/dashboard:Dashboard").inputs["dashboardBody"])
    alarms = run.of("aws:cloudwatch/metricAlarm:MetricAlarm")
    assert len(alarms) < len(body["widgets"])
    places = {(widget["x"], widget["y"]) for widget in body["widgets"]}
    assert len(body["widgets"]) == len(places)
    for widget in body["widgets"]:
        assert widget["x"] + widget["width"] <= 24
        for metric in widget["properties"]["metrics"]:
            # Namespace, name, then pairs of dimension and value.
            assert all(isinstance(part, str) and part for part in metric)
            assert 0 == len(metric) % 2


def test_the_estimate_counts_what_the_program_makes(run: Run, everything: Run) -> None:
    """`plexus cost` bills as many alarm metrics and metrics of our own as there are."""
    rules = len(run.of("aws:ses/receiptRule:ReceiptRule"))
    assert estimate.alarm_metrics(rules) == len(watched(run))
    assert estimate.alarm_metrics(rules, doctor=True, web=True) == len(watched(everything))
    filters = len(run.of("aws:cloudwatch/logMetricFilter:LogMetricFilter"))
    assert estimate.CUSTOM_METRICS == filters + len(metrics.UNITS)


def test_the_budget_tells_the_operator(run: Run) -> None:
    """Before the month is over, and when it is clear that it will be too much."""
    budget = run.one("aws:budgets/budget:Budget").inputs
    assert ("COST", "MONTHLY", "15.00", "USD") == (
        budget["budgetType"],
        budget["timeUnit"],
        budget["limitAmount"],
        budget["limitUnit"],
    )
    assert {("ACTUAL", 80), ("FORECASTED", 100)} == {
        (each["notificationType"], each["threshold"]) for each in budget["notifications"]
    }
    assert all(
        ["you@example.com"] == n["subscriberEmailAddresses"] for n in budget["notifications"]
    )
