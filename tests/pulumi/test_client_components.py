"""The certificate task and its rights, and those of the clients' sites."""

import json

import botocore.session
import parliament
import pytest
from botocore.validate import ParamValidator
from client_components import (
    EXECUTION,
    allowed,
    certificates,
    policies,
    program_on_path,  # noqa: F401  used by every test
    strict,
)
from registrations import ACCOUNT, REGION

# --- the certificate task --------------------------------------------------------------------


def test_the_task_is_registered_alike_in_preview_and_update():
    """Nothing is made inside `apply`; parents and provider are right."""
    update, preview = certificates(), certificates(preview=True)

    strict(update, preview)
    assert [e.urn for e in update.registrations] == [e.urn for e in preview.registrations]


def test_the_task_runs_on_the_mail_host_without_privileges():
    """Its own user, no capabilities, read-only, the two directories, placed by 16 MiB."""
    task = certificates().one("aws:ecs/taskDefinition:TaskDefinition")
    (container,) = json.loads(task.inputs["containerDefinitions"])

    assert ("5004:5003", True, ["no-new-privileges"], (96, 16)) == (
        container["user"],
        container["readonlyRootFilesystem"],
        container["dockerSecurityOptions"],
        (container["memory"], container["memoryReservation"]),
    )
    assert {"drop": ["ALL"], "add": []} == container["linuxParameters"]["capabilities"]
    assert {"/etc/plexus/tls", "/var/lib/certbot"} == {
        mount["containerPath"] for mount in container["mountPoints"]
    }
    assert {"/var/lib/plexus/tls", "/var/lib/plexus/certbot"} == {
        volume["hostPath"] for volume in task.inputs["volumes"]
    }


def test_the_task_is_told_what_its_settings_read():
    """The environment is what the task accepts: names, zones with servers, the authority."""
    from postal_plexus.certificates.settings import read_settings

    task = certificates().one("aws:ecs/taskDefinition:TaskDefinition")
    (container,) = json.loads(task.inputs["containerDefinitions"])
    found = read_settings({each["name"]: each["value"] for each in container["environment"]})

    assert ("mail.example.org", "mail.example.net") == found.names
    assert {"example.org": ("ns-1.example", "ns-2.example"), "example.net": ()} == found.zones
    assert "https://acme-v02.api.letsencrypt.org/directory" == found.directory_url


def test_the_container_is_what_ecs_takes():
    """The JSON is checked against botocore's model of RegisterTaskDefinition."""
    task = certificates().one("aws:ecs/taskDefinition:TaskDefinition")
    model = botocore.session.get_session().get_service_model("ecs")
    shape = model.operation_model("RegisterTaskDefinition").input_shape
    report = ParamValidator().validate(
        {
            "family": task.inputs["family"],
            "containerDefinitions": json.loads(task.inputs["containerDefinitions"]),
        },
        shape,
    )

    assert not report.has_errors(), report.generate_report()


def test_the_schedule_runs_it_every_hour_in_the_cluster():
    """EventBridge Scheduler's target is the cluster, on EC2, once, without pile-ups."""
    schedule = certificates().one("aws:scheduler/schedule:Schedule").inputs
    target = schedule["target"]

    assert "rate(1 hour)" == schedule["scheduleExpression"]
    assert f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/plexus" == target["arn"]
    assert ("EC2", 1, 0) == (
        target["ecsParameters"]["launchType"],
        target["ecsParameters"]["taskCount"],
        target["retryPolicy"]["maximumRetryAttempts"],
    )
    queue = certificates().one("aws:sqs/queue:Queue", "-certbot-missed")
    assert target["deadLetterConfig"]["arn"].endswith(f":{queue.name}")


def test_the_alarm_watches_the_metric_that_the_log_line_makes():
    """Filter and alarm name the same metric; that the task prints it is in test_certificate_alarm."""
    from deployment.certificates import alarm
    from deployment.stack import Stack

    found = certificates().one("aws:cloudwatch/logMetricFilter:LogMetricFilter").inputs
    watching = alarm(Stack("main", ACCOUNT, REGION, provider=None))
    (metric,) = watching.metrics

    assert (metric.namespace, metric.name) == (
        found["metricTransformation"]["namespace"],
        found["metricTransformation"]["name"],
    )
    assert "$.days_left" == found["metricTransformation"]["value"]
    assert ("LessThanThreshold", 20, "breaching") == (
        watching.comparison,
        watching.threshold,
        watching.missing,
    )


# --- policies --------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # it looks into every module there is
def test_policies_pass_parliament():
    """No unknown action, resource or condition, and nothing looser than it looks."""
    found = {
        name: [finding.issue for finding in parliament.analyze_policy_string(text).findings]
        for name, text in policies().items()
        if name != "bucket"  # parliament reads identity policies
    }

    assert {} == {name: issues for name, issues in found.items() if issues}


CHALLENGE = "_acme-challenge.mail.example.org"


@pytest.mark.parametrize(
    ("zone", "names", "types", "actions", "expected"),
    [
        ("ZORG", [CHALLENGE], ["TXT"], ["UPSERT"], True),
        ("ZNET", ["_acme-challenge.mail.example.net"], ["TXT"], ["DELETE"], True),
        ("ZOTHER", [CHALLENGE], ["TXT"], ["UPSERT"], False),
        ("ZORG", ["_acme-challenge.example.org"], ["TXT"], ["UPSERT"], False),
        ("ZORG", ["mail.example.org"], ["TXT"], ["UPSERT"], False),
        ("ZORG", [CHALLENGE, "example.org"], ["TXT"], ["UPSERT"], False),
        ("ZORG", [CHALLENGE], ["CNAME"], ["UPSERT"], False),
        ("ZORG", [CHALLENGE], ["TXT"], ["CREATE"], False),
    ],
)
def test_the_role_can_answer_its_challenges_and_nothing_else(zone, names, types, actions, expected):
    """Exactly the host names' challenges, as TXT, in the stack's zones."""
    assert expected == allowed(
        policies()["plexus-main-certbot-task"],
        "route53:ChangeResourceRecordSets",
        f"arn:aws:route53:::hostedzone/{zone}",
        **{
            "route53:ChangeResourceRecordSetsNormalizedRecordNames": names,
            "route53:ChangeResourceRecordSetsRecordTypes": types,
            "route53:ChangeResourceRecordSetsActions": actions,
        },
    )


@pytest.mark.parametrize(
    ("action", "resource", "context", "expected"),
    [
        ("ecs:RunTask", "certbot:7", {"ecs:cluster": "plexus"}, True),
        ("ecs:RunTask", "certbot:7", {"ecs:cluster": "other"}, False),
        ("ecs:RunTask", "dovecot:7", {"ecs:cluster": "plexus"}, False),
        ("iam:PassRole", EXECUTION, {"iam:PassedToService": "ecs-tasks.amazonaws.com"}, True),
        ("iam:PassRole", EXECUTION, {"iam:PassedToService": "ec2.amazonaws.com"}, False),
        (
            "iam:PassRole",
            f"arn:aws:iam::{ACCOUNT}:role/admin",
            {"iam:PassedToService": "ecs-tasks.amazonaws.com"},
            False,
        ),
    ],
)
def test_the_schedule_can_run_this_task_and_no_other(action, resource, context, expected):
    """One task, any revision, one cluster, two roles."""
    if "cluster" in str(context):
        context = {
            "ecs:cluster": f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{context['ecs:cluster']}"
        }
        resource = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/plexus-main-{resource}"
    text = policies()["plexus-main-certbot-schedule"]

    assert expected == allowed(text, action, resource, **context)


def test_a_certificate_too_large_for_the_policy_names_the_remedy():
    """Never a policy that IAM would cut off or refuse in the middle of a deployment."""
    from deployment.client_documents import certificate_task

    def text(count):
        return certificate_task(
            [f"arn:aws:route53:::hostedzone/Z{n:020d}" for n in range(count)],
            [f"mail.a-rather-long-domain-{n:03d}.example" for n in range(count)],
        )

    assert len(text(70)) <= 10_240
    with pytest.raises(ValueError, match="client-hosts to shared"):
        text(100)
