"""Several hosts, for their operator: each is watched and patched, and commands find it."""

import json
import re
import sys
from collections.abc import Mapping
from typing import Any

from registrations import ACCOUNT, PROGRAM, REGION, Run, watched

from postal_plexus.cli import estimate
from postal_plexus.config import operator_policy
from postal_plexus.deliver import metrics


def alarms(run: Run) -> dict[str, Mapping[str, Any]]:
    """Return the alarms by their names."""
    return {each.name: each.inputs for each in run.of("aws:cloudwatch/metricAlarm:MetricAlarm")}


def test_every_host_has_alarms_of_its_own(run: Run, two: Run) -> None:
    """The first keeps its names; the second has each that is about a host, with a number."""
    before, after = alarms(run), alarms(two)
    assert before.keys() <= after.keys()
    names = {
        *("oldest-mail", "dead-letters", "instance", "host-short", "surplus-credits", "indexes"),
        *("service-deliver", "service-dovecot", "service-postfix", "submission-limit"),
        *("missed-certbot", "certificate"),
    }
    assert {f"plexus-main-watch-{name}-2" for name in names} == after.keys() - before.keys()


def test_what_the_first_host_watches_stays_the_same(run: Run, two: Run) -> None:
    """But the text says which host, since there are two."""
    before, after = alarms(run), alarms(two)
    for name, given in before.items():
        text = after[name]["alarmDescription"]
        assert text in (given["alarmDescription"], f"mail.example.org: {given['alarmDescription']}")
        assert {**given, "alarmDescription": text} == after[name]


def test_an_alarm_of_the_second_host_is_about_that_host(run: Run, two: Run) -> None:
    """The same metric, of another queue, group, cluster, service or host; it says which."""
    one_host = {value for _, _, pairs in watched(run) for value in pairs.values()}
    found = alarms(two)
    for name, given in found.items():
        if not name.endswith("-2"):
            continue
        first = found[name.removesuffix("-2")]
        assert given["alarmDescription"].startswith("mail-2.example.org: ")
        assert one_host.isdisjoint((given.get("dimensions") or {}).values())
        for key in ("namespace", "statistic", "threshold", "comparisonOperator", "period"):
            assert first[key] == given[key]
        what = (first["metricName"], sorted(first.get("dimensions") or {}))
        own = "-2" if first["metricName"] == "CertificateDaysLeft" else ""
        assert (what[0] + own, what[1]) == (
            given["metricName"],
            sorted(given.get("dimensions") or {}),
        )


def test_each_metric_of_our_own_is_made(two: Run) -> None:
    """A host's certificate is watched by itself; faults of either `deliver` are one metric."""
    filters = {
        each.name: each.inputs for each in two.of("aws:cloudwatch/logMetricFilter:LogMetricFilter")
    }
    made = {
        (name.removeprefix("plexus-main-"), given["metricTransformation"]["name"])
        for name, given in filters.items()
    }
    assert {
        ("certbot", "CertificateDaysLeft"),
        ("certbot-2", "CertificateDaysLeft-2"),
        ("watch-faults", "Faults"),
        ("watch-faults-2", "Faults"),
    } == made
    assert "plexus-main-deliver-2" == filters["plexus-main-watch-faults-2"]["logGroupName"]
    looked_at = {name for namespace, name, _ in watched(two) if namespace == "PostalPlexus/main"}
    assert {"CertificateDaysLeft", "CertificateDaysLeft-2", "Faults"} == looked_at


def test_the_dashboard_has_one_graph_for_the_same_of_both_hosts(run: Run, two: Run) -> None:
    """A line for each host, and as many graphs as with one."""
    one, both = (
        json.loads(each.one("aws:cloudwatch/dashboard:Dashboard").inputs["dashboardBody"])
        for each in (run, two)
    )
    titles = [[each["properties"]["title"] for each in body["widgets"]] for body in (one, both)]
    assert titles[0] == titles[1]
    shown = {each["properties"]["title"]: each["properties"]["metrics"] for each in both["widgets"]}
    assert [
        ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", f"plexus-main-mail{number}"]
        for number in ("", "-2")
    ] == shown["plexus-main-watch: oldest-mail"]
    assert 2 == len(shown["plexus-main-watch: processor credits"])


def test_the_estimate_counts_what_the_second_host_adds(two: Run) -> None:
    """`plexus cost` bills as many alarm metrics and metrics of our own as there are."""
    rules = len(two.of("aws:ses/receiptRule:ReceiptRule"))
    assert estimate.alarm_metrics(rules, hosts=2) == len(watched(two))
    names = {
        each.inputs["metricTransformation"]["name"]
        for each in two.of("aws:cloudwatch/logMetricFilter:LogMetricFilter")
    }
    made = estimate.CUSTOM_METRICS + estimate.CUSTOM_METRICS_A_HOST
    assert made == len(names) + len(metrics.UNITS)


def test_a_failed_deployment_of_either_host_is_told(two: Run) -> None:
    """The event's pattern names both clusters."""
    (rule,) = [
        each
        for each in two.of("aws:cloudwatch/eventRule:EventRule")
        if "ECS" in each.inputs["eventPattern"]
    ]
    clusters = [
        each["prefix"].split("/")[1]
        for each in json.loads(rule.inputs["eventPattern"])["resources"]
    ]
    assert ["plexus-main-cluster", "plexus-main-cluster-2"] == clusters


def test_the_weekly_patches_reach_every_host(two: Run) -> None:
    """The build knows the second host's services and may change them, and no other's."""
    project = two.one("aws:codebuild/project:Project", "-patches").inputs
    (told,) = [
        json.loads(each["value"])
        for each in project["environment"]["environmentVariables"]
        if each["name"] == "PLEXUS_PATCH"
    ]
    names = ("cluster", "certbot", "deliver", "dovecot", "postfix")
    assert [[f"plexus-main-{name}-2" for name in names]] == told["other_hosts"]
    assert told | {"region": "us-east-1"} == two.outputs["patch"]
    policy = json.loads(two.one("aws:iam/rolePolicy:RolePolicy", "-patches").inputs["policy"])
    by_sid = {each["Sid"]: each for each in policy["Statement"]}
    for sid in ("UpdateServices", "FindTasks", "LookAtTasks"):
        clusters = by_sid[sid]["Condition"]["ArnEquals"]["ecs:cluster"]
        assert ["plexus-main-cluster", "plexus-main-cluster-*"] == [
            each.rpartition("/")[2] for each in clusters
        ]
    for name in ("deliver", "dovecot", "postfix"):
        assert any(each.endswith(f"-{name}-*") for each in by_sid["UpdateServices"]["Resource"])
        assert any(f"-{name}-*:" in each for each in by_sid["MakeRevisions"]["Resource"])
    assert any("-certbot-*:" in each for each in by_sid["MakeRevisions"]["Resource"])


def test_commands_find_every_host(run: Run, two: Run) -> None:
    """A parameter for each host, of less than 4 KB, which cost nothing; with one host as before."""
    stored = {
        each.inputs["name"]: each.inputs
        for each in two.of("aws:ssm/parameter:Parameter")
        if "/system" in each.inputs["name"]
    }
    assert ["/postal-plexus/main/system", "/postal-plexus/main/system-2"] == sorted(stored)
    assert {None} == {given.get("tier") for given in stored.values()}
    assert all(len(given["value"]) < 4096 for given in stored.values())
    first, second = (json.loads(stored[name]["value"]) for name in sorted(stored))
    (alone,) = [
        json.loads(each.inputs["value"])
        for each in run.of("aws:ssm/parameter:Parameter")
        if each.inputs["name"].endswith("/system")
    ]
    directory = {"directory_object": first["directory_object"]}
    assert {**alone, **directory, "hosts": 2} == first
    assert "hosts" not in alone
    assert "plexus-main-cluster-2" == second["cluster"]
    assert (
        {"deliver", "dovecot", "postfix"}
        == second["services"].keys()
        == second["log_groups"].keys()
    )
    assert [second] == two.outputs["other_hosts"]


def test_tasks_know_that_there_are_several_hosts(run: Run, two: Run) -> None:
    """Their fence is in force even for a command that tells them nothing: they are host 1's."""
    for name in ("dovecot", "restore", "postfix"):
        kind = "aws:ecs/taskDefinition:TaskDefinition"
        found = [
            {each["name"]: each["value"] for each in json.loads(given)[0]["environment"]}
            for given in (
                each.one(kind, f"maintenance-{name}").inputs["containerDefinitions"]
                for each in (run, two)
            )
        ]
        assert [None, "1"] == [each.get("PLEXUS_SHARD") for each in found]


def test_policies_fit_for_sixteen_hosts() -> None:
    """IAM takes 6,144 characters in a managed policy, and 10,240 in a role's, without white space.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
    """
    sys.path.insert(0, str(PROGRAM))
    from deployment import patch_documents

    ends = ["-1a2b3c4", *(f"-{number}-1a2b3c4" for number in range(2, 17))]
    here = f"{REGION}:{ACCOUNT}"

    def arns(kind: str, *names: str) -> list[str]:
        return [f"arn:aws:{kind}plexus-main-{name}{end}" for name in names for end in ends]

    services = ("deliver", "dovecot", "postfix")
    build = patch_documents.build(
        stack="main",
        account=ACCOUNT,
        region=REGION,
        log_group_arn=f"arn:aws:logs:{here}:log-group:plexus-main-patches",
        source_arn="arn:aws:s3:::plexus-main-archive-1a2b3c4/source/images.zip",
        repository_arns=[f"arn:aws:ecr:{here}:repository/plexus-main-image-{n}" for n in range(5)],
        cluster_arns=arns(f"ecs:{here}:cluster/", "cluster"),
        service_arns=[
            f"arn:aws:ecs:{here}:service/plexus-main-cluster{end}/plexus-main-{name}{end}"
            for name in services
            for end in ends
        ],
        family_arns=arns(f"ecs:{here}:task-definition/", *services, "certbot"),
        role_arns=[
            arn.replace("-1a2b3c4", f"-{use}-1a2b3c4")
            for use in ("task", "execution")
            for arn in arns(f"iam::{ACCOUNT}:role/", *services, "certbot")
        ],
    )
    assert len(re.sub(r"\s", "", build)) < 10_240

    def host(end: str) -> dict[str, Any]:
        url = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/plexus-main"
        return {
            "cluster": f"plexus-main-cluster{end}",
            "host_group": f"plexus-main-host{end}",
            "queue_url": f"{url}-mail{end}",
            "events_queue_url": f"{url}-events{end}",
            "dead_letter_queue_url": f"{url}-dead-letters{end}",
            "services": {name: f"plexus-main-{name}{end}" for name in services},
            "log_groups": {name: f"plexus-main-{name}{end}" for name in services},
        }

    first = host(ends[0])
    first["log_groups"]["maintenance"] = "plexus-main-maintenance-1a2b3c4"
    whole = {
        **first,
        "region": REGION,
        "bucket": "plexus-main-archive-1a2b3c4",
        "file_system": "fs-0123456789abcdef0",
        "directory_object": "s3://plexus-main-directory-1a2b3c4/directory.json",
        "backup_vault": "plexus-main-vault-1a2b3c4",
        "backup_role": f"arn:aws:iam::{ACCOUNT}:role/plexus-main-backup-1a2b3c4",
        "maintenance": {name: f"plexus-main-maintenance-{name}" for name in ("dovecot", "postfix")},
        "other_hosts": [host(end) for end in ends[1:]],
    }
    policy = operator_policy.document("main", ACCOUNT, whole, mail=True, workmail=True)
    assert len(re.sub(r"\s", "", policy)) < 6_144
