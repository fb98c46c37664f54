"""The question to Dovecot: does this mailbox hold the mail with that receipt?

Asked only where the journal does not know the outcome of a delivery. It goes to Dovecot's doveadm
server on a unix socket (the protocol of src/doveadm/client-connection-tcp.c, version 1.0) that
allows `search` and nothing else, and searches all folders of the mailbox for the X-Plexus-Receipt
header: rules may have filed the mail, its owner may have moved it.

Answers True or False, or None where Dovecot does not say (away, no such user): then the outcome
stays unknown, and the mail waits.
"""

import contextlib
import socket

from postal_plexus.deliver.sockets import limit_waits

_ANSWER_SECONDS = 60.0
_VERSION = b"VERSION\tdoveadm-server\t1\t0\n"
_LONGEST_ANSWER = 64 * 1024


class Question:
    """Asks on a unix socket, a connection for each question. Threads share it."""

    def __init__(self, path: str) -> None:
        self._path = path

    def holds(self, mailbox: str, message_id: str) -> bool | None:
        """Whether the mailbox has the mail; None where that cannot be said now."""
        # Tabs and line ends separate the protocol's fields; neither can be in what is asked about.
        command = f"\t{mailbox}\tsearch\tmailbox\t*\theader\tX-Plexus-Receipt\t{message_id}\n"
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
    """Read the hits, one a line, up to the line that says how the search ended."""
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
