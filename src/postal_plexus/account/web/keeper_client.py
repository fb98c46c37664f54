"""The page's side of the keeper's socket: one request per connection."""

import socket
import struct
from collections.abc import Mapping

from postal_plexus.account import messages

_WAIT_SECONDS = 60
_LONGEST_ANSWER = 1 << 20


class KeeperError(Exception):
    """The keeper does not answer; the text says why, for the log."""


def ask(request: Mapping[str, str], path: str = messages.SOCKET) -> Mapping[str, object]:
    """Return the keeper's answer.

    Raises:
        KeeperError: there is none.
    """
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            # The kernel's timeouts, not Python's, which would fail at once if the queue is full.
            limit = struct.pack("ll", _WAIT_SECONDS, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            connection.connect(path)
            connection.sendall(messages.written(request))
            with connection.makefile("rb") as file:
                return messages.answer(file.readline(_LONGEST_ANSWER))
    except (OSError, messages.MessageError) as error:
        raise KeeperError(f"the keeper does not answer: {error}") from error
