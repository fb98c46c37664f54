"""The stub as a child process, and its control calls, for benchmarks and the fault harness.

`Stub.kill` is a kill -9; `start` brings it back on the same port with the same state.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "000000000000"


class StubError(Exception):
    """The stub did not start, or refused a control call."""


class Stub:
    """One stub process. The first queue is the mail queue; `dead_letters` has its redrives."""

    def __init__(self, *arguments: str, queues: tuple[str, ...] = ("mail", "dead-letters")) -> None:
        self._arguments = [*arguments, *(part for name in queues for part in ("--queue", name))]
        self._process: subprocess.Popen[bytes] | None = None
        self.host = "127.0.0.1"
        self.port = 0

    def __enter__(self) -> Stub:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it; returns when it listens. Raises StubError."""
        command = [sys.executable, "-m", "benchmarks.aws_stub", *self._arguments]
        command += ["--host", self.host, "--port", str(self.port)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise StubError(f"the stub ended with status {self._process.wait()}")
        self.port = json.loads(line)["port"]

    def stop(self) -> None:
        """SIGTERM, and wait."""
        self._end(kill=False)

    def kill(self) -> None:
        """SIGKILL, and wait."""
        self._end(kill=True)

    def _end(self, *, kill: bool) -> None:
        if self._process is None:
            return
        if kill:
            self._process.kill()
        else:
            self._process.terminate()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    @property
    def url(self) -> str:
        """For AWS_ENDPOINT_URL."""
        return f"http://{self.host}:{self.port}"

    def queue_url(self, name: str) -> str:
        """For PLEXUS_QUEUE_URL and its like."""
        return f"{self.url}/{ACCOUNT}/{name}"

    # --- control calls --------------------------------------------------------------------------

    def get(self, what: str, timeout: float = 30) -> dict[str, Any]:
        """`stats`, `dump`, `wait?...`. Raises OSError while the stub is down."""
        return self._call("GET", what, None, timeout)

    def post(self, what: str, **payload: object) -> dict[str, Any]:
        """Make a call that changes something. Raises OSError while the stub is down."""
        return self._call("POST", what, json.dumps(payload).encode(), 30)

    def _call(self, method: str, what: str, body: bytes | None, timeout: float) -> dict[str, Any]:
        status, answer = self.request(method, f"/_stub/{what}", body, timeout)
        if status != 200:
            raise StubError(f"{what}: {status} {answer[:200]!r}")
        return json.loads(answer)

    def put_object(self, key: str, content: bytes) -> None:
        """Store `bucket/key`."""
        status, answer = self.request("PUT", f"/{key}", content, 30)
        if status != 200:
            raise StubError(f"PUT {key}: {status} {answer[:200]!r}")

    def request(
        self, method: str, path: str, body: bytes | None = None, timeout: float = 30
    ) -> tuple[int, bytes]:
        """Make one HTTP request on a connection of its own."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()
