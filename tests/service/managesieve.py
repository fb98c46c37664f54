"""A ManageSieve client (RFC 5804), as small as the tests need."""

from __future__ import annotations

import base64
import re
import socket
import ssl


class ManageSieve:
    """A logged-in session inside TLS."""

    def __init__(self, port: int, context: ssl.SSLContext, address: str, password: str) -> None:
        plain = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._open(plain)
        self.greeting = self._answer()
        self._command("STARTTLS")
        self._open(context.wrap_socket(plain, server_hostname="localhost"))
        self.capabilities = self._answer()
        secret = base64.b64encode(f"\0{address}\0{password}".encode()).decode()
        self._command(f'AUTHENTICATE "PLAIN" "{secret}"')

    def _open(self, connection: socket.socket) -> None:
        self._connection = connection
        self._file = connection.makefile("rb")

    def _answer(self) -> str:
        lines: list[str] = []
        while True:
            line = self._file.readline().decode()
            assert line, f"the server hung up after {lines}"
            if literal := re.search(r"\{(\d+)\}\r\n$", line):
                line += self._file.read(int(literal[1])).decode()
                if not line.startswith(("OK", "NO")):
                    self._file.readline()
                else:
                    line += self._file.readline().decode()
            if line.startswith(("OK", "NO", "BYE")):
                assert line.startswith("OK"), line
                return "".join(lines)
            lines.append(line)

    def _command(self, command: str) -> str:
        self._connection.sendall(command.encode() + b"\r\n")
        return self._answer()

    def activate(self, name: str, script: str) -> None:
        """Store a script and make it the active one. Raises AssertionError if it is refused."""
        octets = script.encode()
        self._command(f'PUTSCRIPT "{name}" {{{len(octets)}+}}\r\n{script}')
        self._command(f'SETACTIVE "{name}"')

    def deactivate(self) -> None:
        """Leave no script active."""
        self._command('SETACTIVE ""')

    def get(self, name: str) -> str:
        """A script's text."""
        return self._command(f'GETSCRIPT "{name}"')

    def close(self) -> None:
        """Log out."""
        self._command("LOGOUT")
        self._connection.close()
