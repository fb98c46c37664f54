"""JSON lines over a Unix socket: QEMU's monitor (QMP) and the agent in a guest speak it.

https://www.qemu.org/docs/master/interop/qmp-spec.html
https://www.qemu.org/docs/master/interop/qemu-ga-ref.html
"""

from __future__ import annotations

import json
import secrets
import socket
from pathlib import Path
from typing import Any


class RefusedError(AssertionError):
    """QEMU or the agent answered with an error."""


class QemuSocket:
    """A connection to one of the two; every call waits for its own answer.

    Raises OSError (also TimeoutError) while nobody answers.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rb")

    def close(self) -> None:
        """Close the connection."""
        self._lines.close()
        self._socket.close()

    def negotiate(self) -> None:
        """Read QMP's greeting and leave its capabilities mode."""
        self._lines.readline()
        self("qmp_capabilities")

    def synchronize(self) -> None:
        """Skip what the agent still had to say to an earlier connection."""
        token = secrets.randbelow(2**31)
        self._send("guest-sync", {"id": token})
        while self._read().get("return") != token:
            pass

    def __call__(self, command: str, /, **arguments: Any) -> Any:
        """Return the answer. Raises RefusedError with QEMU's words."""
        self._send(command, arguments)
        while True:
            answer = self._read()
            if "error" in answer:
                raise RefusedError(f"{command}: {answer['error'].get('desc', answer['error'])}")
            if "return" in answer:
                return answer["return"]

    def order(self, command: str, /, **arguments: Any) -> None:
        """Give an order that nobody answers: to shut down, for one."""
        self._send(command, arguments)

    def _send(self, command: str, arguments: dict[str, Any]) -> None:
        text = json.dumps({"execute": command, "arguments": arguments})
        self._socket.sendall(text.encode() + b"\n")

    def _read(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            raise ConnectionResetError("QEMU closed its socket")
        return json.loads(line)
