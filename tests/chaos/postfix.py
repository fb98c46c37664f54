"""What stands for Postfix: takes forwards by SMTP on its unix socket, and can be killed.

A mail counts as taken when its reply has been written, as Postfix answers when it is in the queue.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from tests.chaos.ledger import Forwarded
from tests.chaos.plan import MARK

if TYPE_CHECKING:
    from pathlib import Path

_RECIPIENT = re.compile(rb"RCPT TO:<([^>]*)>", re.IGNORECASE)
_MARKED = re.compile(rb"^" + MARK + rb"(\d+)\r\n", re.MULTILINE)


class Postfix:
    """Listens on `inject.sock`. Every other connection has no CHUNKING."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._count = 0
        self.taken: list[Forwarded] = []

    async def open(self) -> None:
        """Listen."""
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._accept, self._path)
        self._path.chmod(0o666)

    def kill(self) -> None:
        """End all at once: nothing more is answered."""
        if self._server is not None:
            self._server.close()
        self._path.unlink(missing_ok=True)
        for task in self._connections:
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self._count += 1
        try:
            await self._talk(reader, writer, chunking=self._count % 2 == 0)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._connections.discard(task)

    async def _talk(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, chunking: bool
    ) -> None:
        writer.write(b"220 postfix.example ESMTP\r\n")
        recipients: list[str] = []
        content = b""
        while line := await reader.readline():
            verb = line.split()[0].upper()
            reply = b"250 2.0.0 Ok\r\n"
            if verb in {b"EHLO", b"LHLO"}:
                capabilities = [
                    b"PIPELINING",
                    b"SIZE 41943040",
                    b"8BITMIME",
                    b"ENHANCEDSTATUSCODES",
                ]
                capabilities += [b"CHUNKING"] if chunking else []
                lines = [b"250-postfix.example", *(b"250-" + one for one in capabilities)]
                lines[-1] = lines[-1].replace(b"250-", b"250 ")
                reply = b"\r\n".join(lines) + b"\r\n"
            elif verb in {b"MAIL", b"RSET"}:
                recipients, content = [], b""
            elif verb == b"RCPT":
                recipient = _RECIPIENT.match(line)
                assert recipient is not None, line
                recipients.append(recipient.group(1).decode())
            elif verb == b"DATA":
                writer.write(b"354 go on\r\n")
                while (part := await reader.readline()) != b".\r\n":
                    if not part:
                        return
                    content += part[1:] if part.startswith(b".") else part
                self._take(recipients, content)
            elif verb == b"BDAT":
                content += await reader.readexactly(int(line.split()[1]))
                if b"LAST" in line.upper():
                    self._take(recipients, content)
            elif verb == b"QUIT":
                return
            writer.write(reply)
            await writer.drain()

    def _take(self, recipients: list[str], content: bytes) -> None:
        marked = _MARKED.search(content)
        number = int(marked.group(1)) if marked else -1
        self.taken += [Forwarded(number, recipient, content) for recipient in recipients]
