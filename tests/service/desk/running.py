"""A desk's daemon for tests: its own process, its own directory, ephemeral ports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from awsdesk import ports, settings
from awsdesk.layout import DeskLayout
from awsdesk.settings import DeskSettings, Ports

# For hosts whose podman needs more than the defaults, as `plexus local` does.
CONTAINERS_CONF = Path(__file__).resolve().parents[3] / "containers/containers.conf"
os.environ.setdefault("CONTAINERS_CONF", str(CONTAINERS_CONF))


@dataclass
class RunningDesk:
    """The daemon of one desk; may be stopped, killed and started again. A context manager."""

    layout: DeskLayout
    settings: DeskSettings
    process: subprocess.Popen[bytes] | None = field(default=None)

    @classmethod
    def in_directory(cls, directory: Path) -> RunningDesk:
        """Make a desk with free ports."""
        layout = DeskLayout.at(directory)
        layout.prepare()
        made = settings.new(layout.name)
        made = settings.with_ports(made, ports.choose(Ports(), preferred=Ports()))
        settings.save(layout.settings, made)
        return cls(layout, made)

    def __enter__(self) -> RunningDesk:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self.stop() == 0

    def start(self) -> None:
        """Start the daemon and wait until it answers."""
        log = (self.layout.root / "daemon.out").open("ab")
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "awsdesk.daemon",
                "--desk",
                str(self.layout.root),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                self.health()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError(f"no daemon: {(self.layout.root / 'daemon.out').read_text()}")

    def health(self) -> dict[str, Any]:
        """Ask the daemon how it is."""
        url = f"{self.settings.endpoint_url}/health"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)

    def stop(self) -> int:
        """End the daemon as `plexus local down` does; give its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(30)
        self.process = None
        return status

    def kill(self) -> None:
        """Kill the daemon without a chance to save anything."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(30)
        self.process = None

    def log(self) -> str:
        """Give what the daemon logged."""
        return (self.layout.logs / "daemon.log").read_text()

    def client(self, service: str, **credentials: Any) -> Any:
        """Give a boto3 client, root's unless credentials are given."""
        given = {
            "aws_access_key_id": self.settings.root_key_id,
            "aws_secret_access_key": self.settings.root_secret,
            **credentials,
        }
        return boto3.client(
            service,
            endpoint_url=self.settings.endpoint_url,
            region_name=self.settings.region,
            **given,
        )
