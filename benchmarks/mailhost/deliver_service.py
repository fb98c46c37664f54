"""`deliver`, started as a process of this checkout or as its container, against the stub.

Both ways get the environment of the task definition and nothing else.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from benchmarks.mailhost.engine import Container, ControlGroup, Mount, entrypoint, image
from benchmarks.mailhost.host import GROUP, HOSTNAME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.aws_stub.process import Stub
    from benchmarks.mailhost.host import Place

ROOT = Path(__file__).resolve().parents[2]
BUCKET = "archive"
DIRECTORY_KEY = "directory.json"


def environment(stub: Stub) -> dict[str, str]:
    """Return the environment that task definition and ECS agent give to `deliver`."""
    return {
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": stub.url,
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{stub.url}/_credentials",
        "PLEXUS_QUEUE_URL": stub.queue_url("mail"),
        "PLEXUS_DEAD_LETTER_QUEUE_URL": stub.queue_url("dead-letters"),
        "PLEXUS_ARCHIVE_BUCKET": BUCKET,
        "PLEXUS_DIRECTORY": f"s3://{BUCKET}/{DIRECTORY_KEY}",
        "PLEXUS_HOSTNAME": HOSTNAME,
    }


class DeliverService(Protocol):
    """A `deliver` that can be started, watched and ended."""

    def start(self) -> None:
        """Start it."""
        ...

    def stop(self) -> None:
        """SIGTERM, and wait for the end."""
        ...

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        ...

    def processor_seconds(self) -> float:
        """Processor time used since it was started."""
        ...


class Process:
    """`deliver` as a process of this machine's Python."""

    def __init__(
        self,
        place: Place,
        settings: Mapping[str, str],
        *,
        lmtp: Path | None = None,
        log: Path | None = None,
        arguments: Sequence[str] = ("-m", "postal_plexus.deliver"),
    ) -> None:
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
            "PLEXUS_LMTP_SOCKET": str(lmtp or place.lmtp),
            "PLEXUS_DIRECTORY_PATH": str(place.directory),
            "PLEXUS_STATE_PATH": str(place.deliver),
            "PLEXUS_QUESTION_SOCKET": str(place.dovecot / "question.sock"),
            "PLEXUS_INJECT_SOCKET": str(place.postfix / "inject.sock"),
            "PLEXUS_HEARTBEAT": str(place.root / "heartbeat"),
            **settings,
        }
        self._arguments = arguments
        self._log = log or Path(os.devnull)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self._arguments],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                # The tables that it writes are read by Dovecot's users in this group.
                group=GROUP,
            )

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def status(self) -> int | None:
        """How it ended, if it did."""
        return self._process.poll() if self._process is not None else None

    def stop(self) -> None:
        """SIGTERM; 35 s to end."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(35)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._process = None

    def processor_seconds(self) -> float:
        """User and system time of the process."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Boxed:
    """`deliver` in its container, with the task definition's memory limit."""

    def __init__(
        self,
        name: str,
        place: Place,
        settings: Mapping[str, str],
        *,
        memory: str = "40m",
        options: Sequence[str] = (),
        arguments: Sequence[str] = (),
    ) -> None:
        self._place = place
        self.container = Container(
            name,
            image("deliver"),
            mounts=[
                Mount(place.dovecot, "/run/plexus/dovecot", read_only=True),
                Mount(place.postfix, "/run/plexus/postfix", read_only=True),
                Mount(place.directory, "/run/plexus/directory"),
                Mount(place.deliver, "/var/lib/plexus/deliver"),
            ],
            environment=settings,
            options=[
                *("--memory", memory, "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),
                # The stub listens on loopback only; the network is no part of what is measured.
                *("--network", "host"),
                *options,
            ],
            arguments=arguments,
        )

    @classmethod
    def stamped(cls, name: str, place: Place, settings: Mapping[str, str]) -> Boxed:
        """Return a container that notes the time just before its own command is executed."""
        script = 'date +%s.%N >/var/lib/plexus/deliver/began; exec "$@"'
        shell = ["--entrypoint", "/bin/sh"]
        own = entrypoint(image("deliver"))
        return cls(name, place, settings, options=shell, arguments=["-c", script, "sh", *own])

    def stamp(self) -> float:
        """Return the monotonic time that such a container has noted."""
        noted = float((self._place.deliver / "began").read_text())
        return noted - time.time() + time.monotonic()

    def start(self) -> None:
        """Start it."""
        self.container.start()

    def stop(self) -> None:
        """SIGTERM; 35 s to end."""
        self.container.stop(35)

    def kill(self) -> None:
        """SIGKILL."""
        self.container.kill()

    def usage(self) -> ControlGroup:
        """Return the figures of its control group."""
        return self.container.usage()

    def processor_seconds(self) -> float:
        """Processor time of the container."""
        return self.usage().processor_seconds()
