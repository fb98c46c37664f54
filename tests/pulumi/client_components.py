"""The certificate task and the clients' sites, registered alone, and what a policy allows."""

from collections.abc import Callable
from typing import Any

import pulumi_aws as aws
import pytest
import registrations
from ministack.core.iam_evaluator import EvalContext, evaluate, parse_policy_document
from pulumi.runtime import rpc
from pulumi.runtime.proto import provider_pb2, resource_pb2
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
        if self.preview or not request.custom:
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
    """Run a program that gets the stack's provider."""
    return registrations.run(lambda: program(aws.Provider("aws", region=REGION)), monitor)


@pytest.fixture(scope="module", autouse=True)
def program_on_path():
    """Let the program's own package be imported as `deployment`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PROGRAM)
        yield


def certificates(*, preview: bool = False) -> Run:
    """Return the certificate task of a stack with two domains, one of them adopted."""
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
    """Return the sites of two domains, some with a certificate, and what is pending."""
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
    """Check that each resource has a parent and the stack's provider."""
    for found in runs:
        (provider,) = [e for e in found.registrations if e.type == "pulumi:providers:aws"]
        assert [] == [e.urn for e in found.registrations if not e.parent]
        assert [] == [e.urn for e in found.custom if not e.provider.startswith(provider.urn)]


def allowed(text: str, action: str, resource: str, **context: Any) -> bool:
    """Return whether the emulator's policy engine lets a request with this context through."""
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


def policies() -> dict[str, str]:
    """Return every document of the two components by what it is for."""
    found = certificates()
    documents = {e.name: e.inputs["policy"] for e in found.of("aws:iam/rolePolicy:RolePolicy")}
    site, _ = sites("example.org", "example.net")
    return documents | {"bucket": site.one("aws:s3/bucketPolicy:BucketPolicy").inputs["policy"]}
