"""An LMTP client for measurements: whole transactions in one write. Raises ConnectionError."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SENDER = "someone@sender.example"


class Lmtp:
    """One connection to an LMTP socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, socket: Path) -> Lmtp:
        """Connect and greet."""
        reader, writer = await asyncio.open_unix_connection(socket)
        await reader.readline()
        writer.write(b"LHLO bench.example\r\n")
        while (await reader.readline())[3:4] == b"-":
            pass
        return cls(reader, writer)

    async def deliver(self, recipient: str, mail: bytes) -> None:
        """Deliver one message to one recipient; return after the reply to its content."""
        head = f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{recipient}>\r\nBDAT {len(mail)} LAST\r\n"
        self._writer.write(head.encode() + mail)
        await self._writer.drain()
        for _ in range(3):
            reply = await self._reader.readline()
            if not reply.startswith(b"2"):
                raise ConnectionError(f"LMTP said {reply!r} about a mail for {recipient}")

    def close(self) -> None:
        """Without a word."""
        self._writer.close()


async def deliver_all(socket: Path, mails: Iterable[tuple[str, bytes]], sessions: int) -> None:
    """Deliver all messages (recipient, content) in order, over this number of connections."""
    waiting = iter(mails)

    async def work() -> None:
        connection = await Lmtp.open(socket)
        try:
            for recipient, mail in waiting:
                await connection.deliver(recipient, mail)
        finally:
            connection.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(sessions):
            group.create_task(work())
