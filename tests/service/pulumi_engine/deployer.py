"""Deploys small programs to a desk's AWS, as `plexus local up` deploys the whole."""

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from awsdesk.pulumi import Credentials, Deployment, apply
from service.desk.running import RunningDesk

REGION = "us-east-1"
PREAMBLE = """
import pulumi, pulumi_aws as aws
from pulumi import ResourceOptions as Options
"""


class Deployer:
    """One stack: its program, its state file."""

    def __init__(self, desk: RunningDesk, directory: Path) -> None:
        self.desk = desk
        self.program = directory / "program"
        self.state_file = directory / "state.json"
        self.stack = directory.name.replace("_", "-")[:20]
        self.program.mkdir()
        (self.program / "Pulumi.yaml").write_text("name: probe\nruntime: python\n")

    def deploy(self, program: str, *, endpoint_url: str | None = None) -> Deployment:
        """Deploy `program`, whose names are made different from other tests'."""
        text = PREAMBLE + textwrap.dedent(program)
        (self.program / "__main__.py").write_text(text)
        return apply(
            self.program,
            self.stack,
            {"aws:region": REGION},
            self.state_file,
            endpoint_url or self.desk.settings.endpoint_url,
            Credentials(self.desk.settings.root_key_id, self.desk.settings.root_secret),
            REGION,
            even_if_unchanged=True,
        )

    def deploy_stack(self, program: Path, stack: str, config: Mapping[str, Any]) -> Deployment:
        """Deploy a whole program with a configuration."""
        return apply(
            program,
            stack,
            config,
            self.state_file,
            self.desk.settings.endpoint_url,
            Credentials(self.desk.settings.root_key_id, self.desk.settings.root_secret),
            REGION,
        )

    def state(self) -> list[dict[str, Any]]:
        """Return the resources on record."""
        return json.loads(self.state_file.read_text())["resources"]

    def recorded(self, type_: str, name: str) -> dict[str, Any]:
        """Return one resource on record."""
        (found,) = [r for r in self.state() if r["type"] == type_ and r["name"] == name]
        return found

    def queue_attributes(self, url: str) -> dict[str, str]:
        """Return a queue as the emulator has it."""
        client = self.desk.client("sqs")
        return client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]

    def has_queue(self, url: str) -> bool:
        """Return whether the emulator has the queue."""
        client = self.desk.client("sqs")
        try:
            client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        except client.exceptions.QueueDoesNotExist:
            return False
        return True
