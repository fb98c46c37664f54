"""Ask Dovecot's doveadm server on a unix socket (protocol version 1.0,
src/doveadm/client-connection-tcp.c).

`Doveadm` asks whether a mailbox contains a message. This is used only if the journal does not know
how a delivery ended. Its socket allows only `search`. All folders of the mailbox are searched for
the X-Plexus-Receipt header, because filters may have filed the message, and its owner may have
moved it.

The tasks of `maintenance` use `ask`, too, with sockets of their own.

Failures: `DoveadmError` if Dovecot does not answer; `RefusedError` if it refuses, as with NOUSER.
"""

import contextlib
import socket

from postal_plexus.deliver.sockets import limit_waits

_SEARCH_SECONDS = 60.0
_LONGEST_SEARCH = 64 * 1024
_VERSION = b"VERSION\tdoveadm-server\t1\t0\n"
_LONGEST_GREETING = 1024


class DoveadmError(Exception):
    """Dovecot does not answer, or not in full."""


class RefusedError(DoveadmError):
    """Dovecot refuses the command. The text is Dovecot's, or empty."""


class Doveadm:
    """A client of the doveadm server; each search has its own connection. Threads share it."""

    def __init__(self, path: str) -> None:
        self._path = path

    def holds(self, mailbox: str, receipt_id: str) -> bool | None:
        """Return whether the mailbox contains the message, or None if Dovecot does not answer.

        Dovecot does not answer while it is unavailable, or for a mailbox that it does not know. The
        outcome then stays unknown, and the message waits.
        """
        words = ("search", "mailbox", "*", "header", "X-Plexus-Receipt", receipt_id)
        with contextlib.suppress(DoveadmError):
            hits = ask(
                self._path, mailbox, *words, seconds=_SEARCH_SECONDS, longest=_LONGEST_SEARCH
            )
            return bool(hits.strip())
        return None


def ask(path: str, user: str, *words: str, seconds: float, longest: int) -> str:
    """Ask for one user ("" for none); return the answer: fields, each followed by a tab.

    Tabs and line ends separate the protocol's fields; neither can occur in the question.

    Args:
        path: the server's socket.
        user: the mailbox.
        words: the command.
        seconds: the longest wait for a part of the answer.
        longest: octets of an answer.

    Raises:
        RefusedError, DoveadmError.
    """
    command = "\t".join(("", user, *words)) + "\n"
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            limit_waits(connection, seconds)
            connection.connect(path)
            connection.sendall(_VERSION)
            if _greeting(connection) != b"+\n":
                raise DoveadmError("Dovecot's doveadm refuses the connection")
            connection.sendall(command.encode())
            answer, ending = _answer(connection, longest)
    except OSError as error:
        raise DoveadmError(f"Dovecot does not answer ({error})") from error
    if ending.startswith(b"-"):
        raise RefusedError(ending[1:].decode(errors="replace"))
    return answer.decode(errors="replace")


def _greeting(connection: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n") and len(line) < _LONGEST_GREETING:
        octet = connection.recv(1)
        if not octet:
            break
        line += octet
    return line


def _answer(connection: socket.socket, longest: int) -> tuple[bytes, bytes]:
    """Read up to the line that reports how the command ended; return the answer and that line."""
    answer = bytearray(b"\n")
    while len(answer) <= longest:
        octets = connection.recv(65536)
        if not octets:
            break
        answer += octets
        if answer.endswith(b"\n"):
            begin = answer.rfind(b"\n", 0, -1)
            ending = bytes(answer[begin + 1 : -1])
            # A field of the answer is followed by a tab.
            if ending[:1] in (b"+", b"-") and b"\t" not in ending:
                return bytes(answer[1:begin]), ending
    raise DoveadmError("Dovecot's doveadm broke off")
