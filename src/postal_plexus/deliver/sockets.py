"""Time limits of blocking sockets, set in the kernel (SO_RCVTIMEO, SO_SNDTIMEO).

Python's own time-outs call poll(2) before each read and write; these do not. A read or write that
takes too long raises BlockingIOError.
"""

import socket
import struct


def limit_waits(connected: socket.socket, seconds: float) -> None:
    """Set the time limit for every read and write on a blocking socket."""
    value = struct.pack("ll", int(seconds), int(seconds % 1 * 1_000_000))
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)
