"""Check a running stack, part by part.

The checks are independent: if AWS refuses one, it becomes a finding that names the missing
permission, and the others continue. What each host has of its own is checked for each, and the
finding says which host it is about, if there are several.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from postal_plexus.operations import judgement
from postal_plexus.operations.cloudwatch import Metric, datapoints, newest
from postal_plexus.operations.findings import Finding, critical, ok, unknown, warning
from postal_plexus.operations.log_groups import LogGroups
from postal_plexus.operations.system import OperationError, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from postal_plexus.operations.system import System

# A limit on CloudWatch's answers, most of which are empty because matching lines are rare.
_MOST_PAGES = 200

Look = tuple[str, "Callable[[], Iterable[Finding]]"]


class Examination:
    """All checks from outside the host, in the order in which a message passes the parts."""

    def __init__(self, system: System, domains: Iterable[str]) -> None:
        self._system = system
        self._domains = tuple(domains)
        self._now = datetime.now(UTC)
        self._clients: dict[str, Any] = {}
        # The services of each host, by its number.
        self._described: dict[int, list[dict[str, Any]]] = {}

    def looks(self) -> tuple[Look, ...]:
        """Return the checks in order; each queries AWS when it is called."""
        return (
            ("clock", self._clock),
            ("sending", self._sending),
            ("reputation", self._reputation),
            ("identities", self._identities),
            ("receipt rules", self._rules),
            ("directory", self._directory),
            ("queues", lambda: self._on_each_host("queues", self._queues)),
            ("services", lambda: self._on_each_host("services", self._services)),
            ("memory", lambda: self._on_each_host("memory", self._memory)),
            ("images", lambda: self._on_each_host("images", self._images)),
            ("certificate", lambda: self._on_each_host("certificate", self._certificate)),
            ("mail store", self._storage),
            ("backup", self._backup),
            ("alarms", self._alarms),
            ("budget", self._budget),
        )

    def run(self) -> Iterator[Finding]:
        """Run all checks."""
        for thing, look in self.looks():
            try:
                yield from look()
            except OperationError as error:
                yield unknown(thing, str(error))

    def _on_each_host(
        self, thing: str, look: Callable[[System], Iterable[Finding]]
    ) -> Iterator[Finding]:
        """Look at each host; a host that cannot be looked at does not hide the others."""
        for host in self._system.hosts:
            try:
                for found in look(host):
                    yield replace(found, thing=f"{found.thing}{host.of_host}")
            except OperationError as error:
                yield unknown(f"{thing}{host.of_host}", str(error))

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self._system.client(service)
        return self._clients[service]

    def _ask(self, service: str, action: str, **arguments: object) -> dict[str, Any]:
        client = self._client(service)
        with told(service):
            return getattr(client, action)(**arguments)

    # Values that several checks need are read once.

    @cached_property
    def _caller(self) -> dict[str, Any]:
        return self._ask("sts", "get_caller_identity")

    @cached_property
    def _active_rule_set(self) -> dict[str, Any]:
        return self._ask("ses", "describe_active_receipt_rule_set")

    def _running(self, host: System) -> list[dict[str, Any]]:
        if host.host not in self._described:
            answer = self._ask(
                "ecs",
                "describe_services",
                cluster=host.parts["cluster"],
                services=list(host.parts["services"].values()),
            )
            self._described[host.host] = answer["services"]
        return self._described[host.host]

    @cached_property
    def _file_system(self) -> dict[str, Any]:
        identifier = self._system.parts["file_system"]
        answer = self._ask("efs", "describe_file_systems", FileSystemId=identifier)
        return answer["FileSystems"][0]

    def _metric(self, namespace: str, name: str, statistic: str, **dimensions: str) -> float | None:
        """Return the newest value within a day; None if there is none."""
        metric = Metric(namespace, name, statistic, dimensions)
        since = self._now - timedelta(days=1)
        return newest(self._client("cloudwatch"), metric, since, self._now, period=300)

    def _clock(self) -> Iterator[Finding]:
        date = self._caller["ResponseMetadata"]["HTTPHeaders"].get("date")
        if date is None:
            yield unknown("clock", "AWS's answer has no date")
        else:
            yield judgement.clock(datetime.now(UTC) - parsedate_to_datetime(date))

    def _sending(self) -> Iterator[Finding]:
        account = self._ask("sesv2", "get_account")
        yield from judgement.sending(account)
        yield judgement.price_plan(account)

    def _reputation(self) -> Iterator[Finding]:
        for kind, metric in (("bounces", "BounceRate"), ("complaints", "ComplaintRate")):
            rate = self._metric("AWS/SES", f"Reputation.{metric}", "Average")
            yield judgement.reputation(kind, rate)

    def _identities(self) -> Iterator[Finding]:
        for domain in self._domains or self._own_domains():
            answer = self._ask("sesv2", "get_email_identity", EmailIdentity=domain)
            yield from judgement.identity(domain, answer)

    def _own_domains(self) -> list[str]:
        """Return the domains whose mail the receipt rules accept."""
        rules = self._active_rule_set.get("Rules", ())
        recipients = (each for rule in rules for each in rule.get("Recipients", ()))
        return sorted({each.rpartition("@")[2].lstrip(".") for each in recipients})

    def _rules(self) -> Iterator[Finding]:
        yield judgement.rule_set(self._system.parts["rule_set"], self._active_rule_set)

    def _directory(self) -> Iterator[Finding]:
        place = self._system.parts["directory_object"].removeprefix("s3://")
        bucket, _, key = place.partition("/")
        # Listed and not read, because it contains the passwords' hashes.
        listed = self._ask("s3", "list_objects_v2", Bucket=bucket, Prefix=key, MaxKeys=1)
        found = next((each for each in listed.get("Contents", ()) if each["Key"] == key), None)
        if found is None:
            yield critical("directory", f"there is no {key} in {bucket}", "run pulumi up")
            return
        changed: datetime = found["LastModified"]

        def look(host: System) -> Iterator[Finding]:
            yield judgement.directory(
                changed,
                found["ETag"].strip('"'),
                self._said(host, "deliver", changed, '?"directory taken" ?"directory refused"'),
                self._said(host, "postfix", changed, '"follow-directory"'),
                self._now,
            )

        yield from self._on_each_host("directory", look)

    def _said(
        self, host: System, service: str, since: datetime, pattern: str
    ) -> list[judgement.Said]:
        """Return a service's lines since a time that match a filter pattern of CloudWatch."""
        # The object's date has whole seconds.
        begun = since.replace(microsecond=0) - timedelta(seconds=1)
        found = LogGroups(host).lines(service, begun, pattern=pattern, pages=_MOST_PAGES)
        return [judgement.Said(at, text) for at, text in found]

    def _queues(self, host: System) -> Iterator[Finding]:
        for thing, part in (("mail queue", "queue_url"), ("SES events", "events_queue_url")):
            url = host.parts[part]
            name = url.rpartition("/")[2]
            age = self._metric(
                "AWS/SQS", "ApproximateAgeOfOldestMessage", "Maximum", QueueName=name
            )
            oldest = None if age is None else timedelta(seconds=age)
            yield judgement.queue(thing, self._attributes(url), oldest)
        yield judgement.dead_letters(self._attributes(host.parts["dead_letter_queue_url"]))

    def _attributes(self, url: str) -> dict[str, str]:
        answer = self._ask("sqs", "get_queue_attributes", QueueUrl=url, AttributeNames=["All"])
        return answer["Attributes"]

    def _services(self, host: System) -> Iterator[Finding]:
        yield from judgement.services(host.parts["services"], self._running(host))

    def _definitions(self, host: System) -> Iterator[tuple[str, str]]:
        """Return each service's current task definition, by the service's name in the stack."""
        running = {each["serviceName"]: each["taskDefinition"] for each in self._running(host)}
        for ours, theirs in host.parts["services"].items():
            if theirs in running:
                yield ours, running[theirs]

    def _memory(self, host: System) -> Iterator[Finding]:
        cluster = host.parts["cluster"]
        for ours, theirs in host.parts["services"].items():
            percent = self._metric(
                "AWS/ECS", "MemoryUtilization", "Maximum", ClusterName=cluster, ServiceName=theirs
            )
            yield judgement.memory(ours, None if percent is None else percent / 100)

    def _images(self, host: System) -> Iterator[Finding]:
        for service, definition in self._definitions(host):
            answer = self._ask("ecs", "describe_task_definition", taskDefinition=definition)
            reference = answer["taskDefinition"]["containerDefinitions"][0]["image"]
            registry, _, rest = reference.partition("/")
            repository, _, digest = rest.partition("@")
            if ".dkr.ecr." not in registry or not digest:
                yield ok(f"image {service}", f"{reference}, not from ECR")
                continue
            (image,) = self._ask(
                "ecr",
                "describe_images",
                repositoryName=repository,
                imageIds=[{"imageDigest": digest}],
            )["imageDetails"]
            severities = image.get("imageScanFindingsSummary", {}).get("findingSeverityCounts", {})
            yield judgement.image(service, image["imagePushedAt"], severities, self._now)

    def _certificate(self, on: System) -> Iterator[Finding]:
        host, port, ca_file = on.imaps
        name = str(on.parts["mail_host"])
        context = ssl.create_default_context(cafile=ca_file)
        try:
            with (
                socket.create_connection((host, port), timeout=10) as connection,
                context.wrap_socket(connection, server_hostname=name) as session,
            ):
                found: Any = session.getpeercert()
        except ssl.SSLCertVerificationError as error:
            yield warning(
                f"certificate {name}",
                f"clients do not trust it: {error.verify_message}",
                "see docs/certificates.md, and the log of the certbot task",
            )
            return
        except OSError as error:
            yield critical(
                f"certificate {name}",
                f"port {port} does not answer ({error})",
                "see Dovecot's service, and whether your own network permits the connection",
            )
            return
        ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(found["notAfter"]), UTC)
        yield judgement.certificate(name, ends, self._now)

    def _storage(self) -> Iterator[Finding]:
        dimensions = {"FileSystemId": self._system.parts["file_system"], "StorageClass": "Total"}
        sizes = datapoints(
            self._client("cloudwatch"),
            Metric("AWS/EFS", "StorageBytes", "Average", dimensions),
            self._now - timedelta(days=30),
            self._now,
            period=24 * 3600,
        )
        yield judgement.storage(self._file_system, sizes)

    def _backup(self) -> Iterator[Finding]:
        arn = self._file_system["FileSystemArn"]
        answer = self._ask("backup", "list_recovery_points_by_resource", ResourceArn=arn)
        yield judgement.backup(answer["RecoveryPoints"], self._now)

    def _alarms(self) -> Iterator[Finding]:
        prefix = self._system.named("")
        answer = self._ask(
            "cloudwatch", "describe_alarms", AlarmNamePrefix=prefix, StateValue="ALARM"
        )
        yield from judgement.alarms(answer["MetricAlarms"])
        subscriptions = self._ask("sns", "list_subscriptions")["Subscriptions"]
        ours = f":{self._system.named('watch-alarms')}"
        yield judgement.alarm_address([each for each in subscriptions if ours in each["TopicArn"]])

    def _budget(self) -> Iterator[Finding]:
        account = self._caller["Account"]
        found = self._ask("budgets", "describe_budgets", AccountId=account).get("Budgets", [])
        prefix = self._system.named("")
        yield judgement.budget([each for each in found if each["BudgetName"].startswith(prefix)])
