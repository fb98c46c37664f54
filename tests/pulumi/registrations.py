"""Runs the Pulumi program under a strict recording monitor: nothing is made, everything is seen.

`record` runs it once, as `pulumi up` (with plausible outputs) or as `pulumi preview` (outputs
unknown, so that `apply` does not run), and returns what was registered. Two resources
with one URN are an error here, as they are to Pulumi.
"""

import asyncio
import gc
import json
import logging
import runpy
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import empty_pb2
from pulumi.runtime import mocks, rpc, settings
from pulumi.runtime.config import set_all_config
from pulumi.runtime.proto import provider_pb2, resource_pb2
from pulumi.runtime.stack import run_in_stack
from pulumi.runtime.sync_await import _ensure_event_loop, _sync_await

REPOSITORY = Path(__file__).parents[2]
PROGRAM = REPOSITORY / "pulumi"
ACCOUNT = "123456789012"
REGION = "us-east-1"

_STACK = "pulumi:pulumi:Stack"


@dataclass(frozen=True)
class Registration:
    """One resource as the program asked for it."""

    urn: str
    type: str
    name: str
    custom: bool
    parent: str
    provider: str
    protect: bool
    retain_on_delete: bool
    inputs: dict[str, Any]
    secrets: frozenset[str]
    dependencies: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """All registrations by URN, and the stack's outputs with the names of the secret ones."""

    registrations: tuple[Registration, ...]
    outputs: dict[str, Any]
    secret_outputs: frozenset[str]

    def of(self, type_: str) -> list[Registration]:
        """Return the registrations of one Pulumi type."""
        return [entry for entry in self.registrations if entry.type == type_]

    def one(self, type_: str, name: str = "") -> Registration:
        """Return the only registration of a type (whose name ends in `name`)."""
        (found,) = [entry for entry in self.of(type_) if entry.name.endswith(name)]
        return found

    @property
    def custom(self) -> list[Registration]:
        """Those that are resources in AWS: no components, no providers."""
        return [
            entry
            for entry in self.registrations
            if entry.custom and not entry.type.startswith("pulumi:providers:")
        ]


class RecordingMonitor(mocks.MockMonitor):
    """Refuses duplicate URNs; answers with outputs made up from type and name."""

    def __init__(
        self,
        *,
        preview: bool,
        active_rule_set: str | None,
        certificates: bool = False,
        spot_quota: float | None = 5,
    ) -> None:
        super().__init__(None)  # type: ignore[arg-type]
        self.recorded: list[Registration] = []
        self.stack_outputs: dict[str, Any] = {}
        self.secret_outputs: frozenset[str] = frozenset()
        self.preview = preview
        self._active_rule_set = active_rule_set
        self._certificates = certificates
        self._spot_quota = spot_quota

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        if parent:
            ancestry = parent.split("::")[2]
            if ancestry != _STACK:
                type_ = f"{ancestry}${type_}"
        return "urn:pulumi:" + "::".join(
            [settings.get_stack(), settings.get_project(), type_, name]
        )

    def Invoke(self, request: Any) -> Any:  # noqa: N802
        _ensure_event_loop()
        assert request.provider, f"{request.tok} is looked up without the stack's provider"
        answer = self._lookup(request.tok)
        if isinstance(answer, str):
            failure = provider_pb2.CheckFailure(property=request.tok, reason=answer)
            return resource_pb2.ResourceInvokeResponse(failures=[failure])
        fields = {"return": _sync_await(rpc.serialize_properties(answer, {}))}
        return resource_pb2.ResourceInvokeResponse(**fields)

    def _lookup(self, token: str) -> dict[str, Any] | str:
        match token.rpartition(":")[2]:
            case "getCallerIdentity":
                return {"accountId": ACCOUNT, "arn": f"arn:aws:iam::{ACCOUNT}:root", "id": ACCOUNT}
            case "getActiveReceiptRuleSet":
                if self._active_rule_set is None:
                    return "reading SES Active Receipt Rule Set: empty result"
                return {"ruleSetName": self._active_rule_set, "id": self._active_rule_set}
            case "getCertificate":
                if not self._certificates:
                    return "no ACM Certificate matching domain"
                return {"arn": f"arn:aws:acm:us-east-1:{ACCOUNT}:certificate/1", "id": "1"}
            case "getServiceQuota":
                if self._spot_quota is None:
                    return "reading Service Quotas Service Quota: AccessDeniedException"
                return {"value": self._spot_quota, "id": "quota"}
            case "getInstanceTypeOfferings":
                return {"locations": [f"{REGION}{letter}" for letter in "cab"], "id": REGION}
        raise AssertionError(f"no answer for {token}")

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802
        _ensure_event_loop()
        urn = self.make_urn(request.parent, request.type, request.name)
        if request.type == _STACK:
            return resource_pb2.RegisterResourceResponse(urn=urn)
        if any(entry.urn == urn for entry in self.recorded):
            raise AssertionError(f"two resources are called {urn}")
        given = rpc.deserialize_properties(request.object, keep_unknowns=True)
        secrets = frozenset(key for key, value in given.items() if rpc.is_rpc_secret(value))
        inputs = {key: _plain(value) for key, value in given.items()}
        self.recorded.append(
            Registration(
                urn=urn,
                type=request.type,
                name=request.name,
                custom=request.custom,
                parent=request.parent,
                provider=request.provider,
                protect=request.protect,
                retain_on_delete=request.retainOnDelete,
                inputs=inputs,
                secrets=secrets,
                dependencies=tuple(sorted(request.dependencies)),
            )
        )
        outputs = given if self.preview else {**given, **_made_up(request, inputs)}
        secret_outputs = set(request.additionalSecretOutputs)
        answer = {
            key: rpc.wrap_rpc_secret(value) if key in secret_outputs else value
            for key, value in outputs.items()
        }
        known = request.type.startswith("pulumi:providers:") or not self.preview
        identifier = _identifier(request) if request.custom and known else ""
        return resource_pb2.RegisterResourceResponse(
            urn=urn, id=identifier, object=_sync_await(rpc.serialize_properties(answer, {}))
        )

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802
        if request.urn.split("::")[2] == _STACK:
            given = rpc.deserialize_properties(request.outputs)
            self.secret_outputs = frozenset(k for k, v in given.items() if rpc.is_rpc_secret(v))
            self.stack_outputs = {key: _plain(value) for key, value in given.items()}
        return empty_pb2.Empty()


def _plain(value: Any) -> Any:
    if rpc.is_rpc_secret(value):
        value = rpc.unwrap_rpc_secret(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _identifier(request: Any) -> str:
    return f"{request.type.rpartition(':')[2].lower()}-{request.name}"


def _made_up(  # noqa: PLR0912, PLR0915  one case a kind
    request: Any, inputs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return outputs of the kinds that the program uses, plain to read in a failing test."""
    name = request.name
    kind = request.type.rpartition(":")[2]
    service = request.type.split(":")[1].split("/")[0]
    outputs: dict[str, Any] = {"arn": f"arn:aws:{service}:{REGION}:{ACCOUNT}:{kind}/{name}"}
    match kind:
        case "Bucket":
            outputs = {"bucket": f"{name}-1a2b3c4", "arn": f"arn:aws:s3:::{name}-1a2b3c4"}
            outputs["bucketRegionalDomainName"] = f"{name}-1a2b3c4.s3.{REGION}.amazonaws.com"
        case "Certificate":
            outputs["domainValidationOptions"] = [
                {
                    "domainName": each,
                    "resourceRecordName": f"_1a2b.{each}.",
                    "resourceRecordType": "CNAME",
                    "resourceRecordValue": "_3c4d.acm-validations.aws.",
                }
                for each in [inputs["domainName"], *inputs["subjectAlternativeNames"]]
            ]
        case "Distribution":
            outputs["domainName"] = f"{name}.cloudfront.net"
        case "TaskDefinition":
            family = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/{inputs['family']}"
            outputs = {"arn": f"{family}:7", "arnWithoutRevision": family}
        case "Cluster":
            outputs["arn"] = f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{name}"
        case "Service":
            outputs["arn"] = f"arn:aws:ecs:{REGION}:{ACCOUNT}:service/plexus-main-cluster/{name}"
        case "Project":
            outputs["arn"] = f"arn:aws:codebuild:{REGION}:{ACCOUNT}:project/{name}"
        case "Queue":
            outputs["url"] = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}"
            outputs["arn"] = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"
        case "Topic":
            outputs["arn"] = f"arn:aws:sns:{REGION}:{ACCOUNT}:{name}"
        case "EmailIdentity":
            outputs["arn"] = f"arn:aws:ses:{REGION}:{ACCOUNT}:identity/{name}"
            tokens = [f"token{number}{abs(hash(name)) % 97}" for number in (1, 2, 3)]
            outputs["dkimSigningAttributes"] = {
                **inputs["dkimSigningAttributes"],
                "tokens": tokens,
            }
        case "Zone":
            outputs |= {"zoneId": f"Z{name.upper()}", "nameServers": ["ns-1.example.com"]}
        case "AccessKey":
            outputs = {"secret": "the-secret-key", "sesSmtpPasswordV4": "the-smtp-password"}
        case "FileSystem" | "AccessPoint":
            path = "file-system/fs" if kind == "FileSystem" else "access-point/fsap"
            ending = name.rpartition("-")[2]
            path += f"-0123-{ending}" if ending in {"whole", "calendars"} else "-0123"
            outputs["arn"] = f"arn:aws:elasticfilesystem:{REGION}:{ACCOUNT}:{path}"
        case "Parameter":
            outputs["arn"] = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter{inputs.get('name', '')}"
        case "Repository":
            outputs["repositoryUrl"] = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{name}"
            outputs["arn"] = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{name}"
        case "LogGroup":
            outputs["arn"] = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{name}"
        case "Subnet":
            outputs = {}
        case "LaunchTemplate":
            outputs |= {"latestVersion": 1}
        case "Eip":
            outputs |= {"publicIp": "192.0.2.25", "allocationId": "eipalloc-0123"}
        case "Command":
            outputs = {"stdout": "sha256:" + "0" * 64}
        case "Vpc":
            outputs["ipv6CidrBlock"] = "2001:db8:1200::/56"
        case "NetworkInterface":
            number = name.rpartition("-")[2]
            host = 10 * (int(number) if number.isdigit() else 1)
            outputs |= {"privateIp": f"10.0.0.{host}"}
            outputs["ipv6Addresses"] = [f"2001:db8:1200::{host}"]
        case "Role" | "User":
            outputs["arn"] = f"arn:aws:iam::{ACCOUNT}:{kind.lower()}/{name}"
    if "name" not in inputs and kind not in {"Bucket", "AccessKey", "Command"}:
        outputs["name"] = name
    return outputs


def stack_configuration(path: Path) -> dict[str, Any]:
    """Return the `config` of a stack file."""
    return yaml.safe_load(path.read_text())["config"]


TWO_HOSTS = stack_configuration(PROGRAM / "Pulumi.prod.yaml") | {
    "postal-plexus:hosts": 2,
    "postal-plexus:domains": [
        "example.org",
        {"name": "example.net", "catch-all": "ann@example.org", "host": 2},
    ],
}
"""The template with a second host, on which example.net lives."""


def record(
    config: Mapping[str, Any],
    stack: str = "main",
    *,
    preview: bool = False,
    active_rule_set: str | None = None,
    certificates: bool = False,
    spot_quota: float | None = 5,
) -> Run:
    """Run the program with `config` (full keys) and return what it registered.

    Args:
        config: as in a stack file.
        stack: the stack's name.
        preview: outputs are unknown, as in `pulumi preview` of a new stack.
        active_rule_set: the receipt rule set that is active in the account.
        certificates: whether ACM has issued the sites' certificates.
        spot_quota: how many vCPUs the account may have as Spot instances; None if it may not ask.
    """
    monitor = RecordingMonitor(
        preview=preview,
        active_rule_set=active_rule_set,
        certificates=certificates,
        spot_quota=spot_quota,
    )
    set_all_config(
        {
            key: value if isinstance(value, str) else json.dumps(value)
            for key, value in config.items()
        }
    )
    with _path_of_program():
        return run(
            lambda: runpy.run_path(str(PROGRAM), run_name="__main__") and None, monitor, stack
        )


def run(program: Callable[[], None], monitor: RecordingMonitor, stack: str = "main") -> Run:
    """Run a program in a stack, and return what the monitor has recorded."""
    settings.configure(
        mocks.MockSettings(
            monitor=monitor,
            monitor_features=set(monitor.GetDeploymentInfo(empty_pb2.Empty()).supportedFeatures),
            engine=mocks.MockEngine(logging.getLogger("pulumi")),
            project="postal-plexus",
            stack=stack,
            dry_run=monitor.preview,
            organization=None,
            callbacks=None,
        )
    )
    settings.set_root_resource(None)
    # What a failed run left behind belongs to its event loop.
    settings.SETTINGS.outputs.clear()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    gc.disable()  # it takes half of the time
    try:
        loop.run_until_complete(run_in_stack(program))
    finally:
        gc.enable()
        loop.close()
        asyncio.set_event_loop(None)
    # Registrations run side by side, so their order says nothing.
    recorded = sorted(monitor.recorded, key=lambda entry: entry.urn)
    return Run(tuple(recorded), monitor.stack_outputs, monitor.secret_outputs)


class _path_of_program:  # noqa: N801  used as a function
    """The program puts its directories on the path; a test leaves the path as it was."""

    def __enter__(self) -> None:
        self._before = list(sys.path)

    def __exit__(self, *_: object) -> None:
        sys.path[:] = self._before


def watched(run: Run) -> list[tuple[str, str, Mapping[str, str]]]:
    """Namespace, name and dimensions of each metric that an alarm looks at."""
    found = []
    for alarm in run.of("aws:cloudwatch/metricAlarm:MetricAlarm"):
        given = alarm.inputs
        queries = [query["metric"] for query in given.get("metricQueries", []) if "metric" in query]
        found += [
            (metric["namespace"], metric["metricName"], metric.get("dimensions") or {})
            for metric in queries or [given]
        ]
    return found


def walk(value: Any) -> Iterator[str]:
    """Yield every text in a nested value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from walk(key)
            yield from walk(item)
    elif isinstance(value, list):
        for item in value:
            yield from walk(item)
