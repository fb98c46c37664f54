"""The running desk, as the system tests use it: through `plexus local`, SMTP, IMAP and AWS's API."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import smtplib
import ssl
import subprocess
import sys
import unittest.mock
import uuid
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import boto3
from benchmarks.aws_stub.notification import CHECKS

from awsdesk.ecs.log_shipping import LogParser
from awsdesk.ses import notification
from awsdesk.ses.rules import StoreAction
from awsdesk.ses.trace_fields import Arrival
from awsdesk.ses.verdicts import Status, Verdicts
from postal_plexus.cli.main import main
from postal_plexus.operations.system import Endpoint, System
from wire import Mailbox, RefusedError, Smtp, await_true

ROOT = Path(__file__).resolve().parents[2]
PLEXUS = Path(sys.executable).parent / "plexus"


def letter(sender: str, recipient: str, mark: str) -> EmailMessage:
    """A short mail that can be found by its mark."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = f"mark {mark}"
    message.set_content("Hello from a desk.\n")
    return message


@dataclass(frozen=True)
class Sent:
    """A mail in the outbox: what left for the world."""

    sender: str
    recipients: list[str]
    content: bytes
    return_path: str


@dataclass
class Desk:
    """One desk directory and what runs for it."""

    directory: Path
    _status: dict[str, Any] = field(default_factory=dict)

    ann = "ann@example.org"
    ben = "ben@example.org"

    def plexus(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        run = subprocess.run(
            [PLEXUS, "local", arguments[0], "--desk", self.directory, *arguments[1:]],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if check and run.returncode:
            raise AssertionError(
                f"plexus local {arguments}: {run.returncode}\n{run.stdout}{run.stderr}\n"
                f"the daemon's log ends:\n{self._end_of_log()}"
            )
        return run

    def _end_of_log(self) -> str:
        log = self.directory / "log/daemon.log"
        return "".join(log.read_text().splitlines(keepends=True)[-30:]) if log.exists() else ""

    def operate(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of `plexus` on this desk, in this process; nobody can be asked."""
        words = [*command.split(), "--desk", str(self.directory), *arguments]
        told, said = io.StringIO(), io.StringIO()
        with (
            redirect_stdout(told),
            redirect_stderr(said),
            unittest.mock.patch.object(sys, "stdin", io.StringIO()),
        ):
            code = main(words)
        return subprocess.CompletedProcess(words, code, told.getvalue(), said.getvalue())

    def system(self, key: Mapping[str, str] | None = None) -> System:
        """This desk's stack as the operators' commands have it; with an IAM user's access key."""
        aws = self.aws
        endpoint = Endpoint(
            aws["endpoint_url"],
            aws["ca_bundle"],
            key["AccessKeyId"] if key else aws["access_key_id"],
            key["SecretAccessKey"] if key else aws["secret_access_key"],
            self.endpoint("imaps"),
        )
        return System("desk", aws["region"], endpoint=endpoint)

    def await_empty_queue(self) -> None:
        """Wait until no mail is in the queue, waiting or taken."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        queue, sqs = self.output("queue_url"), self.client("sqs")

        def settled() -> bool:
            found = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)
            return all(number == "0" for number in found["Attributes"].values())

        # What was taken while Dovecot was stopped is hidden for two minutes.
        await_true("the queue to be empty", settled, 150)

    def up(self, *options: str) -> None:
        self.plexus("up", "--ports", "ephemeral", *options)
        self._status = self.told()

    def down(self) -> None:
        self.plexus("down", "--destroy", check=False)

    # --- what status says ---

    def told(self, *, check: bool = True) -> dict[str, Any]:
        """What `status --json` says: of a healthy desk, unless `check` is false.

        In this process, since one of its own takes 0.6 s of processor time to start.
        """
        run = self.operate("local status", "--json")
        assert run.returncode == 0 or not check, f"{run.stdout}{run.stderr}\n{self._end_of_log()}"
        return json.loads(run.stdout)

    def endpoint(self, name: str) -> tuple[str, int]:
        place = self._status["endpoints"][name]
        return place["host"], place["port"]

    def password(self, address: str) -> str:
        return next(a["password"] for a in self._status["accounts"] if a["address"] == address)

    @property
    def ca_file(self) -> str:
        return self._status["ca_file"]

    # --- mail ---

    def receive(
        self, sender: str, recipients: list[str], content: bytes
    ) -> dict[str, RefusedError]:
        """Send a mail in from the world; the recipients that SES refused."""
        with Smtp(*self.endpoint("ses_inbound")) as smtp:
            return smtp.send(sender, recipients, content)[1]

    def submit(self, login: str, recipient: str, mark: str) -> None:
        """Submit a mail as the user `login`, over TLS from the start (RFC 8314, section 3.3)."""
        message = letter(login, recipient, mark)
        with self.submission(login) as client:
            client.send_message(message)

    @contextlib.contextmanager
    def submission(self, login: str) -> Iterator[smtplib.SMTP]:
        """A session with Postfix in which the user has logged in."""
        context = ssl.create_default_context(cafile=self.ca_file)
        host, port = self.endpoint("submissions")
        with smtplib.SMTP_SSL(host, port, context=context, timeout=60) as client:
            client.login(login, self.password(login))
            yield client

    def mailbox(self, address: str) -> Mailbox:
        return Mailbox(*self.endpoint("imaps"), self.ca_file, address, self.password(address))

    def outbox(self, mark: str) -> list[Sent]:
        """The messages that left for the world and contain `mark`."""
        found: list[Sent] = []
        for envelope_file in sorted(Path(self._status["outbox"]).glob("*.json")):
            content = envelope_file.with_suffix(".eml").read_bytes()
            if mark.encode() in content:
                envelope = json.loads(envelope_file.read_text())
                found.append(
                    Sent(
                        envelope["sender"],
                        envelope["recipients"],
                        content,
                        envelope["return_path"],
                    )
                )
        return found

    def await_outbox(self, mark: str, timeout: float = 30.0) -> Sent:
        return await_true(f"mail {mark} in the outbox", lambda: self.outbox(mark), timeout)[0]

    # --- the containers ---

    def container(self, name: str) -> str:
        return next(c["container"] for c in self._status["containers"] if c["name"] == name)

    def engine(self, *arguments: str) -> str:
        """Run the container engine's command; its output."""
        environment = os.environ | {"CONTAINERS_CONF": str(ROOT / "containers/containers.conf")}
        return subprocess.run(
            [shutil.which("podman") or "docker", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout

    def started(self) -> dict[str, str]:
        """When each container started: another answer later means that one died in between."""
        names = [(c["name"], c["container"]) for c in self.told()["containers"]]
        found = self.engine(
            *("inspect", "--format", "{{.State.StartedAt}}"), *(container for _, container in names)
        )
        return dict(zip((name for name, _ in names), found.splitlines(), strict=True))

    def postfix_queue(self) -> str:
        """What waits in Postfix: one JSON object a mail (postqueue(1))."""
        return self.engine("exec", self.container("postfix"), "postqueue", "-j")

    def kill(self, name: str) -> str:
        """Kill -9 a service's container, and give its id; the agent starts another."""
        id_ = self.engine("inspect", "--format", "{{.Id}}", self.container(name)).strip()
        self.engine("kill", "--signal", "KILL", id_)
        return id_

    def await_return(self, name: str, killed: str, timeout: float = 90.0) -> None:
        """Wait until a service runs in another container than `killed`, and everything is well."""

        def returned() -> bool:
            with contextlib.suppress(subprocess.CalledProcessError):  # none at this moment
                now = self.engine("inspect", "--format", "{{.Id}}", self.container(name)).strip()
                return now != killed and self.is_healthy()
            return False

        await_true(f"{name}'s return", returned, timeout)

    def is_healthy(self) -> bool:
        run = self.operate("local status", "--json")
        self._status = json.loads(run.stdout)
        return run.returncode == 0

    def await_healthy(self, timeout: float = 90.0) -> None:
        await_true("all services healthy", self.is_healthy, timeout)

    # --- AWS ---

    @property
    def aws(self) -> dict[str, str]:
        """How AWS is reached: endpoint_url, ca_bundle, region and root's keys."""
        return self._status["aws"]

    @property
    def registry(self) -> str:
        """Where ECR's registry answers, without TLS."""
        return self.aws["endpoint_url"].partition("//")[2]

    def client(self, service: str) -> Any:
        """A client of the account's root."""
        aws = self.aws
        return boto3.client(
            service,
            endpoint_url=aws["endpoint_url"],
            verify=aws["ca_bundle"],
            region_name=aws["region"],
            aws_access_key_id=aws["access_key_id"],
            aws_secret_access_key=aws["secret_access_key"],
        )

    def output(self, name: str) -> Any:
        """One of the Pulumi program's stack outputs."""
        return json.loads((self.directory / "stack-outputs.json").read_text())[name]

    def _directory_place(self) -> dict[str, str]:
        bucket, _, key = self.output("directory_object").removeprefix("s3://").partition("/")
        return {"Bucket": bucket, "Key": key}

    def directory_object(self) -> bytes:
        """The directory as it is followed."""
        return self.client("s3").get_object(**self._directory_place())["Body"].read()

    def put_directory_object(self, octets: bytes) -> None:
        """Another directory, past the Pulumi program."""
        self.client("s3").put_object(**self._directory_place(), Body=octets)

    def environment(self, service: str) -> dict[str, str]:
        """The environment of a service's container."""
        told = self.engine("inspect", "--format", "{{json .Config.Env}}", self.container(service))
        return dict(each.split("=", 1) for each in json.loads(told))

    def task_definition(self, service: str) -> dict[str, Any]:
        """What the Pulumi program registered of a service's task."""
        definition = self.output("task_definitions")[service]
        found = self.client("ecs").describe_task_definition(taskDefinition=definition)
        return found["taskDefinition"]

    @contextlib.contextmanager
    def role_without(self, service: str, action: str) -> Iterator[None]:
        """A service's task role loses the right to one action, and has it again afterwards."""
        iam = self.client("iam")
        role = self.task_definition(service)["taskRoleArn"].rpartition("/")[2]
        (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
        whole = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        rest = [each for each in whole["Statement"] if action not in each["Action"]]
        assert len(rest) == len(whole["Statement"]) - 1, f"one statement allows {action}"

        def put(statements: list[dict[str, Any]]) -> None:
            document = json.dumps({**whole, "Statement": statements})
            iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=document)

        put(rest)
        try:
            yield
        finally:
            put(whole["Statement"])

    def log_lines(self, service: str) -> list[dict[str, Any]]:
        """What a service's container has said so far in JSON."""
        printed = (self.directory / "log" / f"{service}.log").read_bytes()
        lines = [event.message for event in LogParser().feed(printed)]
        return [json.loads(line) for line in lines if line[:1] == "{" and line[-1:] == "}"]

    def enqueue(self, body: str) -> None:
        """Put something into the queue that `deliver` reads."""
        self.client("sqs").send_message(QueueUrl=self.output("queue_url"), MessageBody=body)

    def dead_letters(self) -> dict[str, str]:
        """Body and reason of each dead letter; they stay where they are."""
        found = self.client("sqs").receive_message(
            QueueUrl=self.output("dead_letter_queue_url"),
            MaxNumberOfMessages=10,
            VisibilityTimeout=1,
            MessageAttributeNames=["All"],
        )
        return {
            letter["Body"]: letter["MessageAttributes"]["Reason"]["StringValue"]
            for letter in found.get("Messages", [])
        }

    def receive_with_verdicts(
        self,
        content: bytes,
        recipient: str,
        sender: str = "world@elsewhere.example",
        **verdicts: str,
    ) -> None:
        """A mail as SES puts it into bucket and queue, with verdicts that the world can't ask for."""
        key = f"inbound/{uuid.uuid4().hex}"
        self.client("s3").put_object(Bucket=self.output("bucket"), Key=key, Body=content)
        self.enqueue(self.notification_for(key, recipient, sender, **verdicts))

    def notification_for(
        self,
        key: str,
        recipient: str,
        sender: str = "world@elsewhere.example",
        **verdicts: str,
    ) -> str:
        """A notification as SES writes it, for an object of that key; no header is described."""
        now = datetime.now(UTC)
        message_id = key.rpartition("/")[2]
        arrival = Arrival(
            message_id, "elsewhere.example", "192.0.2.1", sender, (recipient,), now, ""
        )
        found = Verdicts(
            *(Status(verdicts.get(check, "PASS")) for check in CHECKS), verdicts.get("dmarcPolicy")
        )
        action = StoreAction(self.output("bucket"), "inbound/", self.output("topic_arn"))
        receipt = notification.receipt_object(
            (recipient,), found, notification.action_object(action, message_id), now, 0
        )
        return json.dumps(notification.document(notification.mail_object(arrival, b""), receipt))

    @contextlib.contextmanager
    def aws_hangs(self) -> Iterator[None]:
        """AWS takes connections and answers none, SES's SMTP ports too."""
        daemon = int((self.directory / "daemon.pid").read_text().split()[0])
        os.kill(daemon, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(daemon, signal.SIGCONT)
