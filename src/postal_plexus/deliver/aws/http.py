"""HTTP/1.1 (RFC 9112) as far as AWS's services use it: one persistent connection on a socket.

A connection belongs to one thread; only `abort` may be called from another, and wakes it. Responses
with Content-Length, in chunks, or ended by the server's close are supported; bodies are streamed.
Time limits are the kernel's (SO_RCVTIMEO), which saves a poll(2) before each read and write. The
receive buffer is limited, so that a fast server cannot fill the host's memory ahead of a slow
mailbox.

All failures raise `UnreachableError`. If a reused connection turns out to be closed, it is first
replaced once.
"""

import contextlib
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postal_plexus.deliver.aws.errors import UnreachableError
from postal_plexus.deliver.sockets import limit_waits

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

_CONNECT_SECONDS = 5.0
_LONGEST_HEAD = 64 * 1024
_READ_AT_ONCE = 64 * 1024
_RECEIVE_BUFFER = 128 * 1024


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of a service. `prefix` is a path before that of every request (usually "")."""

    secure: bool
    host: str
    port: int
    prefix: str = ""

    @property
    def authority(self) -> str:
        """The Host header: with the port only if it is not the scheme's default."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    @classmethod
    def parse(cls, url: str) -> "Endpoint":
        """Parse http(s)://host[:port][/prefix]. Raise ValueError."""
        scheme, separator, rest = url.partition("://")
        if not separator or scheme not in {"http", "https"}:
            raise ValueError(f"{url!r} is not an http or https URL")
        authority, _, path = rest.partition("/")
        host, _, port = authority.rpartition(":") if _has_port(authority) else (authority, "", "")
        host = host.removeprefix("[").removesuffix("]")
        if not host or (port and not port.isdigit()) or "@" in host:
            raise ValueError(f"{url!r} names no host")
        secure = scheme == "https"
        prefix = f"/{path.rstrip('/')}" if path.rstrip("/") else ""
        return cls(secure, host, int(port) if port else (443 if secure else 80), prefix)


def _has_port(authority: str) -> bool:
    return authority.rfind(":") > authority.rfind("]")


class HttpConnection:
    """One connection to one endpoint, opened when first needed and again when lost."""

    def __init__(
        self,
        endpoint: Endpoint,
        tls: "Callable[[], ssl.SSLContext]",
        *,
        answer_seconds: float = 30.0,
    ) -> None:
        self.endpoint = endpoint
        self._tls = tls
        self._answer_seconds = answer_seconds
        self._socket: socket.socket | None = None
        self._aborted = False

    def exchange(self, request: bytes, *, repeatable: bool = True) -> "Answer":
        """Send a complete request. Return the response, with its body not yet read.

        `repeatable` means that the request may reach the server twice. Only then is an existing
        connection reused, because it may break at any moment.
        """
        if not repeatable:
            self.close()
        reused = self._socket is not None
        try:
            return self._attempt(request)
        except (OSError, EOFError) as error:
            self.close()
            if not reused or self._aborted or isinstance(error, TimeoutError | BlockingIOError):
                raise self._unreachable(error) from error
        try:
            return self._attempt(request)
        except (OSError, EOFError) as error:
            self.close()
            raise self._unreachable(error) from error

    def receive(self, size: int) -> bytes:
        """Return up to `size` octets of the response. Raise UnreachableError."""
        try:
            octets = self._socket.recv(size) if self._socket else b""
        except OSError as error:
            self.close()
            raise self._unreachable(error) from error
        return octets

    def receive_into(self, view: memoryview) -> int:
        """Receive into a buffer, as `receive`. Raise UnreachableError."""
        try:
            count = self._socket.recv_into(view) if self._socket else 0
        except OSError as error:
            self.close()
            raise self._unreachable(error) from error
        return count

    def close(self) -> None:
        """Close the connection; the next exchange opens a new one."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None

    def abort(self) -> None:
        """Permanently wake the thread that is waiting on this connection. For other threads."""
        self._aborted = True
        connected = self._socket
        if connected is not None:
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)

    def _attempt(self, request: bytes) -> "Answer":
        connected = self._socket or self._connect()
        connected.sendall(request)
        head = connected.recv(_READ_AT_ONCE)
        while True:
            end = head.find(b"\r\n\r\n")
            if end >= 0:
                status = _status(head)
                if status >= 200:
                    return Answer(self, status, head[:end], head[end + 4 :])
                head = head[end + 4 :]  # 100 Continue and similar (RFC 9110, section 15.2)
                continue
            more = connected.recv(_READ_AT_ONCE) if len(head) < _LONGEST_HEAD else b""
            if not more:
                raise EOFError("the server closed before it answered")
            head += more

    def _connect(self) -> socket.socket:
        if self._aborted:
            raise EOFError("shutting down")
        connected = socket.create_connection(
            (self.endpoint.host, self.endpoint.port), _CONNECT_SECONDS
        )
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            if self.endpoint.secure:
                connected = self._tls().wrap_socket(connected, server_hostname=self.endpoint.host)
                # OpenSSL would repeatedly restart a read that the kernel has ended.
                connected.settimeout(self._answer_seconds)
            else:
                connected.settimeout(None)
                limit_waits(connected, self._answer_seconds)
        except OSError:
            connected.close()
            raise
        self._socket = connected
        return connected

    def _unreachable(self, error: BaseException) -> UnreachableError:
        if isinstance(error, BlockingIOError):
            error = TimeoutError(f"no answer within {self._answer_seconds:.0f} s")
        return UnreachableError(self.endpoint.authority, type(error).__name__, str(error))


class Answer:
    """A response's status, headers and body. Read the body to its end, or `discard` it."""

    def __init__(self, connection: HttpConnection, status: int, head: bytes, begun: bytes) -> None:
        self.status = status
        self._connection = connection
        self._head = head
        self._begun = begun  # the part of the body that arrived with the head
        self._chunked = False
        self._closes = self.header("connection").lower() == "close"
        self.length: int | None = None
        if status in {204, 304}:
            self.length = 0
        elif self.header("transfer-encoding").lower() == "chunked":
            self._chunked = True
        elif length := self.header("content-length"):
            if not (length.isascii() and length.isdecimal()):
                raise UnreachableError(connection.endpoint.authority, "BadAnswer", "Content-Length")
            self.length = int(length)
        else:
            self._closes = True
        self._left = self.length
        self._ended = False  # the server closed, which ends a body of unknown length
        self._finish_if_over()

    def header(self, name: str) -> str:
        """Return the first header with that lower-case name, or ""."""
        lower = self._head.lower()
        start = lower.find(f"\r\n{name}:".encode())
        if start < 0:
            return ""
        start += len(name) + 3
        end = self._head.find(b"\r\n", start)
        return self._head[start : end if end >= 0 else None].strip().decode("latin-1")

    @property
    def over(self) -> bool:
        """Whether the body has been read to its end."""
        return self._ended or (self._left == 0 and not self._chunked)

    def read(self, size: int) -> bytes:
        """Return up to `size` octets, fewer only at the end of the body. Raise UnreachableError."""
        if self._chunked:
            return self._read_chunked(size)
        want = size if self._left is None else min(size, self._left)
        if len(self._begun) >= want:
            octets, self._begun = self._begun[:want], self._begun[want:]
        else:
            octets = self._fill(want)
        if self._left is not None:
            self._left -= len(octets)
            if len(octets) < want:
                raise self._cut_short()
        elif len(octets) < want:
            self._ended = True
        self._finish_if_over()
        return octets

    def read_all(self, most: int = 16 * 1024 * 1024) -> bytes:
        """Return the rest of the body. Raises UnreachableError if it is cut short or too long."""
        parts: list[bytes] = []
        total = 0
        while part := self.read(256 * 1024 if self.length is None else self.length):
            parts.append(part)
            total += len(part)
            if total > most:
                self.discard()
                raise UnreachableError(self._connection.endpoint.authority, "BadAnswer", "too long")
            if self.over:
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def discard(self) -> None:
        """Discard the rest of the body. This closes the connection unless the body is over."""
        if self._left != 0:
            self._connection.close()

    def _fill(self, want: int) -> bytes:
        buffer = bytearray(want)
        have = len(self._begun)
        buffer[:have] = self._begun
        self._begun = b""
        view = memoryview(buffer)
        while have < want:
            count = self._connection.receive_into(view[have:])
            if count == 0:
                break
            have += count
        view.release()
        return bytes(buffer) if have == want else bytes(buffer[:have])

    def _read_chunked(self, size: int) -> bytes:
        """Read a chunked body (RFC 9112, section 7.1). `_left` counts the current chunk."""
        parts: list[bytes] = []
        have = 0
        while have < size and self._chunked:
            if not self._left:
                self._next_chunk()
                continue
            want = min(size - have, self._left)
            part, self._begun = self._begun[:want], self._begun[want:]
            if not part:
                part = self._connection.receive(min(want, _READ_AT_ONCE))
                if not part:
                    raise self._cut_short()
            parts.append(part)
            have += len(part)
            self._left -= len(part)
            if self._left == 0:
                self._line()
        return b"".join(parts)

    def _next_chunk(self) -> None:
        size = self._line().partition(b";")[0].strip()
        try:
            self._left = int(size, 16)
        except ValueError as error:
            self._connection.close()
            raise UnreachableError(
                self._connection.endpoint.authority, "BadAnswer", f"chunk of size {size[:20]!r}"
            ) from error
        if self._left == 0:
            while self._line():  # trailers
                pass
            self._chunked = False
            self._finish_if_over()

    def _line(self) -> bytes:
        while b"\r\n" not in self._begun:
            more = self._connection.receive(_READ_AT_ONCE)
            if not more or len(self._begun) > _LONGEST_HEAD:
                raise self._cut_short()
            self._begun += more
        line, _, self._begun = self._begun.partition(b"\r\n")
        return line

    def _finish_if_over(self) -> None:
        if self._left == 0 and self._closes and not self._chunked:
            self._connection.close()

    def _cut_short(self) -> UnreachableError:
        self._connection.close()
        return UnreachableError(
            self._connection.endpoint.authority, "CutShort", "the answer's body ended too early"
        )


def _status(head: bytes) -> int:
    parts = head[:64].split(b" ", 2)
    if not parts[0].startswith(b"HTTP/1.") or len(parts) < 2 or not parts[1][:3].isdigit():
        raise EOFError("the server does not speak HTTP/1.1")
    return int(parts[1][:3])
