"""One host's way to S3, which can be cut: for the directory alone, or for everything.

`deliver` reads the directory through a connection of its own, so the first request of a connection
says which of both it is.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Relay:
    """Listens on a port of loopback, and passes each connection on to another port.

    `port_beyond` returns the other port, and `directory` is in the directory's requests.
    """

    def __init__(self, port_beyond: Callable[[], int], directory: bytes) -> None:
        self._port_beyond = port_beyond
        self._directory = directory
        self._cut: set[bool] = set()
        self._server: asyncio.Server | None = None
        # Whether each is the directory's.
        self._connections: dict[asyncio.Task[None], bool] = {}
        self.port = 0

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Stop listening, and end all connections."""
        if self._server is not None:
            self._server.close()
        self.cut(content=True)

    def cut(self, *, content: bool) -> None:
        """Let nothing of the directory through any more, and if asked for no content either."""
        self._cut = {True, False} if content else {True}
        for task, kind in self._connections.items():
            if kind in self._cut:
                task.cancel()

    def mend(self) -> None:
        """Let everything through again."""
        self._cut = set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        up: asyncio.StreamWriter | None = None
        try:
            first = await reader.readline()
            kind = self._directory in first
            if kind in self._cut:
                return
            self._connections[task] = kind
            up_reader, up = await asyncio.open_connection("127.0.0.1", self._port_beyond())
            up.write(first)
            ways = [
                asyncio.create_task(_pass(reader, up)),
                asyncio.create_task(_pass(up_reader, writer)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._connections.pop(task, None)
            writer.transport.abort()
            if up is not None:
                up.transport.abort()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while octets := await reader.read(65536):
            writer.write(octets)
            await writer.drain()
