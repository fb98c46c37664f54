"""Ask Dovecot whether a mailbox contains a message, with `doveadm search` on a unix socket.

This is used only if the journal does not know how a delivery ended. The socket belongs to Dovecot's
doveadm server (protocol version 1.0, src/doveadm/client-connection-tcp.c), which allows only
`search`. All folders of the mailbox are searched for the X-Plexus-Receipt header, because filters
may have filed the message, and its owner may have moved it.
"""

import contextlib
import socket

from postal_plexus.deliver.sockets import limit_waits

_ANSWER_SECONDS = 60.0
_VERSION = b"VERSION\tdoveadm-server\t1\t0\n"
_LONGEST_ANSWER = 64 * 1024


class Doveadm:
    """A client of the doveadm server; each search has its own connection. Threads share it."""

    def __init__(self, path: str) -> None:
        self._path = path

    def holds(self, mailbox: str, receipt_id: str) -> bool | None:
        """Return whether the mailbox contains the message, or None if Dovecot does not answer.

        Dovecot does not answer while it is unavailable, or for a mailbox that it does not know. The
        outcome then stays unknown, and the message waits.
        """
        # Tabs and line ends separate the protocol's fields; neither can occur in the search.
        command = f"\t{mailbox}\tsearch\tmailbox\t*\theader\tX-Plexus-Receipt\t{receipt_id}\n"
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            limit_waits(connection, _ANSWER_SECONDS)
            connection.connect(self._path)
            connection.sendall(_VERSION)
            if _line(connection) == b"+\n":
                connection.sendall(command.encode())
                return _found(connection)
        return None


def _line(connection: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        octet = connection.recv(1)
        if not octet:
            break
        line += octet
    return line


def _found(connection: socket.socket) -> bool | None:
    """Read the hits, one per line, up to the line that reports how the search ended."""
    answer = b"\n"
    while len(answer) < _LONGEST_ANSWER:
        octets = connection.recv(4096)
        if not octets:
            return None
        answer += octets
        if answer.endswith(b"\n+\n"):
            return bool(answer[:-3].strip())
        if b"\n-" in answer:
            return None
    return None
