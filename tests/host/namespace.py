"""A network namespace of a test's own: bridges and taps in it, sockets and programs that live there.

Nothing of it is to be seen outside, and all of it goes with the namespace.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
import uuid
from dataclasses import dataclass, field

_CLONE_NEWNET = 0x40000000


@dataclass
class Namespace:
    """A network namespace; use it as a context manager."""

    name: str = field(default_factory=lambda: f"plexus-test-{uuid.uuid4().hex[:8]}")

    def __enter__(self) -> Namespace:
        _run("ip", "netns", "add", self.name)
        self.ip("link set lo up")
        return self

    def __exit__(self, *_: object) -> None:
        _run("ip", "netns", "delete", self.name)

    def ip(self, command: str) -> str:
        """Output of `ip COMMAND` here."""
        return _run("ip", "-netns", self.name, *command.split())

    def run(self, *command: str, text: str = "") -> str:
        """Output of a program that runs here; `text` is its input."""
        return _run(*self.inside(*command), text=text)

    def inside(self, *command: str) -> tuple[str, ...]:
        """Return the command line that runs another one here."""
        return ("ip", "netns", "exec", self.name, *command)

    def tap(self, name: str, bridge: str) -> None:
        """Make a tap, for a guest's card, as a port of a bridge (made here before)."""
        self.ip(f"tuntap add dev {name} mode tap")
        self.ip(f"link set {name} master {bridge} up")

    def socket(self, family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
        """Return a socket that belongs here, whichever thread uses it."""
        made: list[socket.socket] = []

        def make() -> None:
            # A namespace is a thread's own, so a thread that ends takes its change with it.
            descriptor = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
            try:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(descriptor, _CLONE_NEWNET) == 0:
                    made.append(socket.socket(family, kind))
            finally:
                os.close(descriptor)

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        assert made, f"cannot enter the network namespace {self.name}"
        return made[0]


def _run(*command: str, text: str = "") -> str:
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}{done.stdout}"
    return done.stdout
