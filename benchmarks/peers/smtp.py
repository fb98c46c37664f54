"""An SMTP client for measurements: a connection for each message, as strangers make them.

Raises ConnectionError.
"""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]
    Opener = Callable[[], Awaitable[Opened]]


async def _reply(reader: asyncio.StreamReader, expected: bytes) -> None:
    while (line := await reader.readline())[3:4] == b"-":
        pass
    if not line.startswith(expected):
        raise ConnectionError(f"SMTP said {line!r}, not {expected.decode()}")


class Smtp:
    """One connection, greeted."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(
        cls, opener: Opener, login: tuple[str, str] | None = None, hello: bytes = b"EHLO"
    ) -> Smtp:
        """Connect and greet; log in with an address and its password if they are given.

        With LHLO it is LMTP: the same for messages to one recipient.
        """
        client = cls(*await opener())
        await _reply(client._reader, b"220")
        await client._say(hello + b" mail.sender.example\r\n", b"250")
        if login:
            plain = base64.b64encode("\0".join(("", *login)).encode())
            await client._say(b"AUTH PLAIN " + plain + b"\r\n", b"235")
        return client

    async def _say(self, line: bytes, expected: bytes) -> None:
        self._writer.write(line)
        await _reply(self._reader, expected)

    async def begin(self, sender: str, recipient: str, content: bytes) -> None:
        """Send one message except for the line that ends it."""
        await self._say(f"MAIL FROM:<{sender}>\r\n".encode(), b"250")
        await self._say(f"RCPT TO:<{recipient}>\r\n".encode(), b"250")
        await self._say(b"DATA\r\n", b"354")
        self._writer.write(content)
        await self._writer.drain()

    def end(self) -> None:
        """Send the last octets of the message."""
        self._writer.write(b".\r\n")

    async def accepted(self) -> None:
        """Read the server's reply to the message."""
        await _reply(self._reader, b"250")

    async def close(self) -> None:
        """Send QUIT without waiting for the reply, as Postfix does: Exim takes 0.2 s for that."""
        self._writer.write(b"QUIT\r\n")
        await self._writer.drain()
        self._writer.close()


async def send_all(
    opener: Opener,
    mails: Iterable[tuple[str, str, bytes]],
    sessions: int,
    each: int = 1,
    login: tuple[str, str] | None = None,
) -> None:
    """Send messages (sender, recipient, content), `each` in a connection, `sessions` at a time."""
    waiting = iter(mails)

    async def work() -> None:
        client: Smtp | None = None
        for done, (sender, recipient, content) in enumerate(waiting, 1):
            client = client or await Smtp.open(opener, login)
            await client.begin(sender, recipient, content)
            client.end()
            await client.accepted()
            if done % each == 0:
                await client.close()
                client = None
        if client:
            await client.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(sessions):
            group.create_task(work())
