"""The running desk, as the system tests use it: through `plexus local`, SMTP, IMAP and AWS's API."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wire import Mailbox, Refused, Smtp, await_true

ROOT = Path(__file__).resolve().parents[2]
PLEXUS = Path(sys.executable).parent / "plexus"


@dataclass(frozen=True)
class Sent:
    """A mail in the outbox: what left for the world."""

    sender: str
    recipients: list[str]
    content: bytes


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
                f"plexus local {arguments}: {run.returncode}\n{run.stdout}{run.stderr}"
            )
        return run

    def up(self) -> None:
        self.plexus("up", "--ports", "ephemeral")
        self._status = json.loads(self.plexus("status", "--json").stdout)

    def down(self) -> None:
        self.plexus("down", check=False)

    # --- what status says ---

    def endpoint(self, name: str) -> tuple[str, int]:
        place = self._status["endpoints"][name]
        return place["host"], place["port"]

    def password(self, address: str) -> str:
        return next(a["password"] for a in self._status["accounts"] if a["address"] == address)

    @property
    def ca_file(self) -> str:
        return self._status["ca_file"]

    # --- mail ---

    def receive(self, sender: str, recipients: list[str], content: bytes) -> dict[str, Refused]:
        """Send a mail in from the world; the recipients that SES refused."""
        with Smtp(*self.endpoint("ses_inbound")) as smtp:
            return smtp.send(sender, recipients, content)[1]

    def mailbox(self, address: str) -> Mailbox:
        return Mailbox(*self.endpoint("imaps"), self.ca_file, address, self.password(address))

    def outbox(self, mark: str) -> list[Sent]:
        """The mails that left for the world and contain `mark`."""
        found: list[Sent] = []
        for envelope_file in sorted(Path(self._status["outbox"]).glob("*.json")):
            content = envelope_file.with_suffix(".eml").read_bytes()
            if mark.encode() in content:
                envelope = json.loads(envelope_file.read_text())
                found.append(Sent(envelope["sender"], envelope["recipients"], content))
        return found

    def await_outbox(self, mark: str, timeout: float = 30.0) -> Sent:
        return await_true(f"mail {mark} in the outbox", lambda: self.outbox(mark), timeout)[0]

    # --- the containers ---

    def _container(self, name: str) -> str:
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
        states = json.loads(self.plexus("status", "--json").stdout)["containers"]
        return {
            c["name"]: self.engine("inspect", "--format", "{{.State.StartedAt}}", c["container"])
            for c in states
        }

    def postfix_queue(self) -> str:
        """What waits in Postfix: one JSON object a mail (postqueue(1))."""
        return self.engine("exec", self._container("postfix"), "postqueue", "-j")
