"""A network in which nothing changes, for a browser: this machine's changes with each container.

Chromium breaks off what it is loading whenever an interface comes or goes (ERR_NETWORK_CHANGED).
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from wire import await_true

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET of linux/sched.h


@dataclass
class QuietNetwork:
    """A network namespace that has only the loopback interface.

    Attributes:
        within: what stands before a command that is to run in it.
    """

    path: Path
    within: tuple[str, ...]
    _stack: ExitStack

    def reach(self, port: int) -> None:
        """Make a port of this machine's 127.0.0.1 answer there, too."""
        listener = self._stack.enter_context(_listening(self.path, port))
        threading.Thread(target=_accept, args=(listener, port), daemon=True).start()
        # Wakes the thread that accepts.
        self._stack.callback(_shut, listener)


@contextmanager
def quiet_network() -> Iterator[QuietNetwork]:
    """Provide a network. Needs root."""
    with ExitStack() as stack:
        holder = stack.enter_context(subprocess.Popen(["unshare", "--net", "sleep", "infinity"]))
        stack.callback(holder.kill)
        network = Path(f"/proc/{holder.pid}/ns/net")
        ours = Path("/proc/self/ns/net").readlink()
        await_true("the network", lambda: network.readlink() != ours)
        within = ("nsenter", f"--net={network}")
        subprocess.run([*within, "ip", "link", "set", "lo", "up"], check=True)
        yield QuietNetwork(network, within, stack)


def _shut(end: socket.socket) -> None:
    """Shut a socket down, if it is still connected or listening."""
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


def _listening(network: Path, port: int) -> socket.socket:
    """Return a listening socket in another network: a thread enters it, makes the socket and ends."""
    made: list[socket.socket] = []

    def enter() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        descriptor = os.open(network, os.O_RDONLY)
        try:
            if libc.setns(descriptor, _NEW_NETWORK):
                raise OSError(ctypes.get_errno(), "setns")
            made.append(socket.create_server(("127.0.0.1", port)))
        finally:
            os.close(descriptor)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    return made[0]


def _accept(listener: socket.socket, port: int) -> None:
    with suppress(OSError):
        while True:
            near, _ = listener.accept()
            threading.Thread(target=_relay, args=(near, port), daemon=True).start()


def _relay(near: socket.socket, port: int) -> None:
    with near, suppress(OSError), socket.create_connection(("127.0.0.1", port)) as far:
        back = threading.Thread(target=_pass, args=(far, near), daemon=True)
        back.start()
        _pass(near, far)
        back.join()


def _pass(source: socket.socket, target: socket.socket) -> None:
    """Pass on all that comes, and its end."""
    with suppress(OSError):
        while octets := source.recv(65536):
            target.sendall(octets)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
