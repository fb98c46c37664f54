"""HTTP/1.1 for the stub: kept-alive connections, bodies with a length or chunked, flow control.

Hand-made on `asyncio.Protocol`, because an HTTP framework costs more processor time than the mail
that is being measured. A request that cannot be parsed closes its connection.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

REASONS = {
    200: b"OK",
    204: b"No Content",
    206: b"Partial Content",
    304: b"Not Modified",
    400: b"Bad Request",
    403: b"Forbidden",
    404: b"Not Found",
    412: b"Precondition Failed",
    416: b"Range Not Satisfiable",
    500: b"Internal Server Error",
    503: b"Service Unavailable",
}


@dataclass(frozen=True, slots=True)
class Request:
    """One request; header names are lower case, `path` is percent-decoded."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Response:
    """One answer. `stream` (with `length`) takes the place of `body` for what is generated."""

    status: int = 200
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)
    stream: Iterable[bytes] | None = None
    length: int | None = None
    cut_after: int | None = None  # close the connection after so many bytes of the body

    def head(self, *, bodiless: bool) -> bytes:
        """Return the status line and headers."""
        length = len(self.body) if self.length is None else self.length
        lines = [b"HTTP/1.1 %d %s" % (self.status, REASONS[self.status])]
        if not (bodiless and self.length is None):
            lines.append(b"content-length: %d" % length)
        lines += [f"{name}: {value}".encode("latin-1") for name, value in self.headers]
        return b"\r\n".join(lines) + b"\r\n\r\n"


class Connection(asyncio.Protocol):
    """One client's connection: parses a request, hands it on, writes its answer, goes on.

    `serve(request, connection)` must call `respond` or `abort` once, at any later time.
    """

    def __init__(
        self,
        serve: Callable[[Request, Connection], None],
        delay: Callable[[Request], float],
        clients: set[Connection],
    ) -> None:
        self._serve = serve
        self._delay = delay
        self._clients = clients
        self._buffer = bytearray()
        self._request: Request | None = None
        self._transport: asyncio.Transport | None = None
        self._stream: Iterator[bytes] | None = None
        self._left: int | None = None
        self._paused = False
        self._continued = False

    # --- the socket -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._clients.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Forget everything; an answer that comes later goes nowhere."""
        self._transport = None
        self._stream = None
        self._clients.discard(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes in; serve the request once it is whole."""
        self._buffer += data
        if self._request is None:
            self._parse()

    @property
    def closed(self) -> bool:
        """Whether the client is gone."""
        return self._transport is None

    def abort(self) -> None:
        """Drop the connection without an answer."""
        if self._transport is not None:
            self._transport.abort()

    # --- a request ------------------------------------------------------------------------------

    def _parse(self) -> None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        try:
            method, target, _ = lines[0].split(" ", 2)
            headers: dict[str, str] = {}
            for line in lines[1:]:
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            body, used = self._body(headers, end + 4)
        except ValueError:
            self.abort()
            return
        if body is None:
            if "100-continue" in headers.get("expect", "") and not self._continued:
                self._continued = True
                assert self._transport is not None
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        self._continued = False
        del self._buffer[:used]
        path, _, query = target.partition("?")
        self._request = Request(
            method, unquote(path) if "%" in path else path, query, headers, body
        )
        self._serve(self._request, self)

    def _body(self, headers: dict[str, str], start: int) -> tuple[bytes | None, int]:
        """Return the body and where it ends, or None while it is incomplete."""
        if "chunked" in headers.get("transfer-encoding", ""):
            body, used = _unchunk(self._buffer, start)
        else:
            length = int(headers.get("content-length", "0"))
            used = start + length
            body = bytes(self._buffer[start:used]) if len(self._buffer) >= used else None
        if body is not None and "aws-chunked" in headers.get("content-encoding", ""):
            body, _ = _unchunk(bytearray(body), 0)
        return body, used

    # --- an answer ------------------------------------------------------------------------------

    def respond(self, response: Response) -> None:
        """Write the answer, after the delay that every call has."""
        assert self._request is not None
        delay = self._delay(self._request)
        if delay > 0:
            asyncio.get_running_loop().call_later(delay, self._write, response)
        else:
            self._write(response)

    def _write(self, response: Response) -> None:
        transport, request = self._transport, self._request
        if transport is None or request is None:
            return
        bodiless = request.method == "HEAD" or response.status in {204, 304}
        head = response.head(bodiless=bodiless)
        if bodiless:
            transport.write(head)
        elif response.stream is None and response.cut_after is None:
            transport.write(head + response.body if len(response.body) < 65536 else head)
            if len(response.body) >= 65536:
                transport.write(response.body)
        else:
            transport.write(head)
            self._stream = iter(response.stream if response.stream is not None else [response.body])
            self._left = response.cut_after
            self._pump()
            return
        self._finish()

    def _pump(self) -> None:
        while self._stream is not None and not self._paused and self._transport is not None:
            block = next(self._stream, None)
            if block is None:
                self._stream = None
                self._finish()
                return
            if self._left is not None:
                block = block[: self._left]
                self._left -= len(block)
            self._transport.write(block)
            if self._left == 0:
                self._stream = None
                self._transport.close()

    def pause_writing(self) -> None:
        """Stop generating, because the client reads slowly."""
        self._paused = True

    def resume_writing(self) -> None:
        """Continue to generate, because the client has caught up."""
        self._paused = False
        self._pump()

    def _finish(self) -> None:
        assert self._request is not None
        close = self._request.headers.get("connection", "").lower() == "close"
        self._request = None
        self._left = None
        if close and self._transport is not None:
            self._transport.close()
        elif self._buffer:
            self._parse()


def _unchunk(buffer: bytearray, start: int) -> tuple[bytes | None, int]:
    """Undo chunked coding; chunk extensions (aws-chunked signatures) and trailers are dropped."""
    parts: list[bytes] = []
    while True:
        line_end = buffer.find(b"\r\n", start)
        if line_end < 0:
            return None, 0
        size = int(bytes(buffer[start:line_end]).split(b";")[0], 16)
        start = line_end + 2
        if size == 0:
            break
        if len(buffer) < start + size + 2:
            return None, 0
        parts.append(bytes(buffer[start : start + size]))
        start += size + 2
    while True:
        line_end = buffer.find(b"\r\n", start)
        if line_end < 0:
            return None, 0
        if line_end == start:
            return b"".join(parts), line_end + 2
        start = line_end + 2
