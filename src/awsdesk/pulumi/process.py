"""The process that programs run in, apart from the caller: Pulumi's runtime is one a process.

It is started at the first run, has what every run imports, and forks for each one: to import
Pulumi and its AWS provider takes longer than a deployment. It ends with its caller.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class DiedError(Exception):
    """A run ended without a result; the text is its last words."""


class ProgramProcess:
    """Runs one request after the other; started when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._said: IO[str] | None = None

    def run(self, request: Mapping[str, object]) -> dict[str, Any]:
        """Run a program; see `awsdesk.pulumi.__main__.run` for request and result.

        Raises:
            DiedError: the run ended without a result.
        """
        # Bytecode of pulumi_aws is worth keeping: compiling it takes half of a deployment's time.
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        asked = {"request": request, "environment": environment, "directory": str(Path.cwd())}
        with self._lock:
            process = self._started(environment)
            try:
                answer = _asked(process, json.dumps(asked))
            except BrokenPipeError:
                answer = ""
            if not answer:
                raise DiedError(self._last_words(process))
        result: dict[str, Any] = json.loads(answer)
        if "died" in result:
            raise DiedError(result["died"])
        return result

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process and process.stdin and process.stdout:
            process.stdin.close()
            process.wait()
            process.stdout.close()

    def _started(self, environment: Mapping[str, str]) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115  it is read at the end
            self._process = subprocess.Popen(
                [sys.executable, "-m", "awsdesk.pulumi"],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                text=True,
            )
            atexit.register(self.close)
        return self._process

    def _last_words(self, process: subprocess.Popen[str]) -> str:
        status = process.wait()
        if self._said is None:
            return f"exit status {status}"
        self._said.seek(0)
        return self._said.read().strip() or f"exit status {status}"


def _asked(process: subprocess.Popen[str], line: str) -> str:
    if process.stdin is None or process.stdout is None:
        raise TypeError("the process was started without pipes")
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return process.stdout.readline()
