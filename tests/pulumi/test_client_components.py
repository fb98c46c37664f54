"""The certificate task and the clients' sites: what is registered, and what policies allow."""

import asyncio
import json
import logging
import re
from collections.abc import Callable
from typing import Any

import botocore.session
import parliament
import pulumi_aws as aws
import pytest
from botocore.validate import ParamValidator
from google.protobuf import empty_pb2
from ministack.core.iam_evaluator import EvalContext, evaluate, parse_policy_document
from pulumi.runtime import mocks, rpc, settings
from pulumi.runtime.proto import provider_pb2, resource_pb2
from pulumi.runtime.stack import run_in_stack
from pulumi.runtime.sync_await import _ensure_event_loop, _sync_await
from registrations import ACCOUNT, PROGRAM, REGION, RecordingMonitor, Run

import pulumi
from postal_plexus.autoconfig import ClientSetup, MtaStsPolicy, certificate_names

ORG = ClientSetup("example.org", "mail.example.org")
NET = ClientSetup("example.net", "mail.example.net")
ZONES = {"example.org": "ZORG", "example.net": "ZNET"}
POLICY = MtaStsPolicy(("inbound-smtp.us-east-1.amazonaws.com",))
EXECUTION = f"arn:aws:iam::{ACCOUNT}:role/plexus-main-certbot-execution"


class Monitor(RecordingMonitor):
    """Answers with what these kinds add, and knows whose certificates ACM has issued."""

    def __init__(self, *, preview: bool, issued: frozenset[str], trouble: str = "") -> None:
        super().__init__(preview=preview, active_rule_set=None)
        self._issued = issued
        self._trouble = trouble

    def Invoke(self, request: Any) -> Any:  # noqa: N802
        if not request.tok.endswith("getCertificate"):
            return super().Invoke(request)
        _ensure_event_loop()
        assert request.provider, "certificates are looked up without the stack's provider"
        domain = rpc.deserialize_properties(request.args)["domain"]
        said = self._trouble or f"no ACM Certificate matching domain ({domain})"
        if self._trouble or domain not in self._issued:
            failure = provider_pb2.CheckFailure(property="", reason=said)
            return resource_pb2.ResourceInvokeResponse(failures=[failure])
        answer = {"arn": "arn:aws:acm:us-east-1:1:certificate/1", "domain": domain, "id": "1"}
        fields = {"return": _sync_await(rpc.serialize_properties(answer, {}))}
        return resource_pb2.ResourceInvokeResponse(**fields)

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802
        response = super().RegisterResource(request)
        inputs = rpc.deserialize_properties(request.object, keep_unknowns=True)
        kind = request.type.rpartition(":")[2]
        if self._preview or not request.custom:
            return response
        name = request.name
        if kind == "Certificate":
            names = [inputs["domainName"], *inputs["subjectAlternativeNames"]]
            # AWS gives them in no order that could be relied on.
            options = [
                {
                    "domainName": each,
                    "resourceRecordName": f"_1a2b.{each}.",
                    "resourceRecordType": "CNAME",
                    "resourceRecordValue": f"_3c4d.{each.split('.')[0]}.acm-validations.aws.",
                }
                for each in reversed(names)
            ]
            response.object.update({"domainValidationOptions": options})
        elif kind == "TaskDefinition":
            arn = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/{inputs['family']}"
            response.object.update({"arn": f"{arn}:7", "arnWithoutRevision": arn})
        elif kind == "Bucket":
            host = f"{name}-1a2b3c4.s3.{REGION}.amazonaws.com"
            response.object.update({"bucketRegionalDomainName": host})
        elif kind == "Distribution":
            response.object.update({"domainName": f"{name}.cloudfront.net"})
        return response


def run(program: Callable[[aws.Provider], None], monitor: Monitor) -> Run:
    """Runs a program that gets the stack's provider, as `registrations.record` runs the whole."""
    settings.configure(
        mocks.MockSettings(
            monitor=monitor,
            monitor_features=set(monitor.GetDeploymentInfo(empty_pb2.Empty()).supportedFeatures),
            engine=mocks.MockEngine(logging.getLogger("pulumi")),
            project="postal-plexus",
            stack="main",
            dry_run=monitor._preview,
            organization=None,
            callbacks=None,
        )
    )
    settings.set_root_resource(None)
    settings.SETTINGS.outputs.clear()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(run_in_stack(lambda: program(aws.Provider("aws", region=REGION))))
    finally:
        loop.close()
        asyncio.set_event_loop(None)
    recorded = sorted(monitor.recorded, key=lambda entry: entry.urn)
    return Run(tuple(recorded), monitor.stack_outputs, monitor.secret_outputs)


@pytest.fixture(scope="module", autouse=True)
def program_on_path():
    """The program's own package is imported as `deployment`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PROGRAM)
        yield


def certificates(*, preview: bool = False) -> Run:
    """The certificate task of a stack with two domains, one of them adopted."""
    from deployment.certificates import Certificates, CertificatesArgs
    from deployment.stack import Stack

    def program(provider: aws.Provider) -> None:
        Certificates(
            "certificates",
            CertificatesArgs(
                stack=Stack("main", ACCOUNT, REGION, provider),
                image="registry.example/certbot@sha256:0",
                repository_arn=f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/certbot",
                cluster_arn=f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/plexus",
                log_days=14,
                names=certificate_names((ORG, NET), mail_host=ORG.host),
                zone_ids={domain: pulumi.Output.from_input(z) for domain, z in ZONES.items()},
                name_servers={"example.org": ["ns-2.example", "ns-1.example"]},
            ),
            pulumi.ResourceOptions(providers={"aws": provider}),
        )

    return run(program, Monitor(preview=preview, issued=frozenset()))


def sites(
    *issued: str, preview: bool = False, shared_host: str | None = None, trouble: str = ""
) -> tuple[Run, list[str]]:
    """The sites of two domains, of which some have their certificate; and what is pending."""
    from deployment import client_setup
    from deployment.stack import Stack

    pending: list[str] = []

    def program(provider: aws.Provider) -> None:
        clients = (ORG, NET)
        made = client_setup.ClientSetupSites(
            "clients",
            client_setup.ClientSetupArgs(
                stack=Stack("main", ACCOUNT, REGION, provider),
                clients=clients,
                zone_ids=ZONES,
                policy=POLICY,
                issued=client_setup.domains_with_certificate(clients, provider),
                shared_host=shared_host,
            ),
            pulumi.ResourceOptions(providers={"aws": provider}),
        )
        pending.extend(made.pending)

    monitor = Monitor(
        preview=preview, issued=frozenset(f"autoconfig.{d}" for d in issued), trouble=trouble
    )
    return run(program, monitor), pending


def strict(*runs: Run) -> None:
    """Each resource has a parent and the stack's provider."""
    for found in runs:
        (provider,) = [e for e in found.registrations if e.type == "pulumi:providers:aws"]
        assert [] == [e.urn for e in found.registrations if not e.parent]
        assert [] == [e.urn for e in found.custom if not e.provider.startswith(provider.urn)]


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
    """Filter and alarm name the same metric, and the filter fits what the task prints."""
    from deployment.certificates import alarm

    found = certificates().one("aws:cloudwatch/logMetricFilter:LogMetricFilter").inputs
    (metric,) = alarm("main").metrics

    assert (metric.namespace, metric.name) == (
        found["metricTransformation"]["namespace"],
        found["metricTransformation"]["name"],
    )
    (event,) = re.findall(r'\$\.event = "([a-z.]+)"', found["pattern"])
    source = (PROGRAM.parent / "src/postal_plexus/certificates/task.py").read_text()
    assert f'log("{event}", days_left=' in source
    assert "$.days_left" == found["metricTransformation"]["value"]
    assert ("LessThanThreshold", 20, "breaching") == (
        alarm("main").comparison,
        alarm("main").threshold,
        alarm("main").missing,
    )


# --- policies --------------------------------------------------------------------------------


def policies() -> dict[str, str]:
    """Every document of the two components by what it is for."""
    found = certificates()
    documents = {e.name: e.inputs["policy"] for e in found.of("aws:iam/rolePolicy:RolePolicy")}
    site, _ = sites("example.org", "example.net")
    return documents | {"bucket": site.one("aws:s3/bucketPolicy:BucketPolicy").inputs["policy"]}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # it looks into every module there is
def test_policies_pass_parliament():
    """No unknown action, resource or condition, and nothing looser than it looks."""
    found = {
        name: [finding.issue for finding in parliament.analyze_policy_string(text).findings]
        for name, text in policies().items()
        if name != "bucket"  # parliament reads identity policies
    }

    assert {} == {name: issues for name, issues in found.items() if issues}


def allowed(text: str, action: str, resource: str, **context: Any) -> bool:
    """Whether the emulator's policy engine lets a request with this context through."""
    request = EvalContext(
        principal_arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/role/session",
        principal_type="AssumedRole",
        principal_account=ACCOUNT,
        action=action,
        resource_arn=resource,
        region=REGION,
        # The evaluator looks keys up in lower case.
        service_context={key.lower(): value for key, value in context.items()},
    )
    return evaluate(request, [parse_policy_document(text)]).decision == "Allow"


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


# --- the sites -------------------------------------------------------------------------------


def test_the_first_run_makes_certificates_and_waits_for_nothing():
    """Before delegation: certificates, their validation records, no distribution, no failure."""
    found, pending = sites()

    strict(found)
    assert ["example.org", "example.net"] == pending
    assert 2 == len(found.of("aws:acm/certificate:Certificate"))
    assert [] == found.of("aws:cloudfront/distribution:Distribution")
    assert [] == found.of("aws:acm/certificateValidation:CertificateValidation")
    records = {e.inputs["name"]: e.inputs for e in found.of("aws:route53/record:Record")}
    assert 6 == len(records)
    assert ["_3c4d.mta-sts.acm-validations.aws."] == records["_1a2b.mta-sts.example.net."][
        "records"
    ]
    assert "ZNET" == records["_1a2b.mta-sts.example.net."]["zoneId"]


def test_a_domain_is_completed_on_its_own_and_nothing_is_replaced():
    """With one certificate issued that domain gets its site; what was there stays as it was."""
    before, _ = sites()
    after, pending = sites("example.org")

    assert ["example.net"] == pending
    assert {e.urn for e in before.registrations} < {e.urn for e in after.registrations}
    kept = {e.urn: e.inputs for e in before.custom if "bucketPolicy" not in e.type}
    assert kept == {e.urn: e.inputs for e in after.custom if e.urn in kept}
    distribution = after.one("aws:cloudfront/distribution:Distribution").inputs
    assert list(ORG.site_names) == distribution["aliases"]


def test_sites_are_registered_alike_in_preview_and_update():
    """Nothing is made inside `apply`."""
    for issued in ((), ("example.org",), ("example.org", "example.net")):
        update, preview = sites(*issued)[0], sites(*issued, preview=True)[0]
        strict(update, preview)
        assert [e.urn for e in update.registrations] == [e.urn for e in preview.registrations]


def test_a_failed_look_at_acm_takes_no_site_down():
    """Only "there is none" counts as none; all else ends the run with AWS's words."""
    with pytest.raises(Exception, match="AccessDenied"):
        sites("example.org", trouble="reading ACM Certificates: AccessDenied")


def test_a_distribution_serves_https_with_the_domains_certificate():
    """TLS 1.2 at least, redirect from http, POST for Outlook, the function before the files."""
    distribution = sites("example.org")[0].one("aws:cloudfront/distribution:Distribution").inputs
    behaviour = distribution["defaultCacheBehavior"]

    assert "TLSv1.2_2021" == distribution["viewerCertificate"]["minimumProtocolVersion"]
    assert "redirect-to-https" == behaviour["viewerProtocolPolicy"]
    assert "POST" in behaviour["allowedMethods"]
    assert "viewer-request" == behaviour["functionAssociations"][0]["eventType"]
    assert ["/example.org"] == [origin["originPath"] for origin in distribution["origins"]]


def test_the_files_and_the_names_of_a_domain_are_all_there():
    """Every file at its key with its type; A and AAAA for each name; SRV, MTA-STS and CAA."""
    found = sites("example.org")[0]
    objects = {e.inputs["key"]: e.inputs for e in found.of("aws:s3/bucketObjectv2:BucketObjectv2")}
    records = {(e.inputs["name"], e.inputs["type"]) for e in found.of("aws:route53/record:Record")}

    assert POLICY.text.decode() == objects["example.org/.well-known/mta-sts.txt"]["content"]
    assert (
        "application/x-apple-aspen-config"
        == objects["example.org/apple.mobileconfig"]["contentType"]
    )
    assert 6 == len(objects)
    for name in ORG.site_names:
        assert {(name, "A"), (name, "AAAA"), (name, "CAA")} <= records
    assert {("_mta-sts.example.org", "TXT"), ("_autodiscover._tcp.example.org", "SRV")} <= records
    assert not [name for name, kind in records if kind == "TXT" and name.endswith("example.net")]


def test_shared_hosts_reach_the_edge_function():
    """With `client-hosts: shared` Outlook is told the stack's host."""
    found = sites("example.org", shared_host="mail.example.org")[0]
    code = found.one("aws:cloudfront/function:Function").inputs["code"]

    assert 'var SHARED_HOST = "mail.example.org";' in code


@pytest.mark.parametrize(
    ("action", "source", "expected"),
    [
        ("s3:GetObject", "plexus-main-clients-example.org", True),
        ("s3:GetObject", "a-strangers", False),
        ("s3:PutObject", "plexus-main-clients-example.org", False),
    ],
)
def test_the_bucket_is_read_by_our_distributions_only(action, source, expected):
    """By CloudFront's service principal, for the ARNs of these distributions."""
    statements = json.loads(policies()["bucket"])["Statement"]
    arn = f"arn:aws:cloudfront:{REGION}:{ACCOUNT}:Distribution/{source}"
    granted = [
        s
        for s in statements
        if s["Effect"] == "Allow"
        and s["Principal"] == {"Service": "cloudfront.amazonaws.com"}
        and s["Action"] == action
        and arn in s["Condition"]["StringEquals"]["aws:SourceArn"]
    ]

    assert expected == bool(granted)
    assert ["TlsOnly"] == [s["Sid"] for s in statements if s["Effect"] == "Deny"]
