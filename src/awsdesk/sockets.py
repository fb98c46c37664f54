"""Open listening sockets on this machine and the containers' network, nowhere else.

The gateway address of a bridge network exists only while a container is attached to it. Therefore
the socket is bound with IP_FREEBIND, which allows an address that does not exist yet.
"""

from __future__ import annotations

import socket

# linux/in.h; Python's socket module does not name it.
_IP_FREEBIND = 15
LOOPBACK = "127.0.0.1"


class PortTakenError(Exception):
    """A port that the desk wants is in use."""


def listen(addresses: tuple[str, ...], port: int) -> list[socket.socket]:
    """Return a listening socket on each address.

    Raises:
        PortTakenError: something else listens there.
    """
    found: list[socket.socket] = []
    for address in addresses:
        one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        one.settimeout(0)
        try:
            one.bind((address, port))
            one.listen(256)
        except OSError as error:
            one.close()
            for earlier in found:
                earlier.close()
            raise PortTakenError(f"{address}:{port}: {error.strerror}") from error
        found.append(one)
    return found


def is_free(address: str, port: int) -> bool:
    """Return whether a port can be listened on."""
    try:
        listen((address,), port)[0].close()
    except PortTakenError:
        return False
    return True


def free_port(address: str = LOOPBACK) -> int:
    """Return a port that nobody listens on."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.bind((address, 0))
        return int(one.getsockname()[1])
