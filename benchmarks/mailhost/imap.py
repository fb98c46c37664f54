"""An IMAP connection for measurements: it reads what is measured. Raises ConnectionError."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

_LITERAL = re.compile(rb"\{(\d+)\}\r\n$")


class Session:
    """One user's connection over TLS, logged in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._commands = 0

    @classmethod
    async def open(
        cls,
        port: int,
        trust: ssl.SSLContext,
        address: str,
        password: str,
        host: str = "127.0.0.1",
    ) -> Session:
        """Connect to a port, of this machine if no host is named, and log in."""
        reader, writer = await asyncio.open_connection(
            host, port, ssl=trust, server_hostname="mail.example.org", limit=2**20
        )
        session = cls(reader, writer)
        await session._line()
        await session.command(f"LOGIN {address} {password}")
        return session

    async def _line(self) -> bytes:
        line = await self._reader.readline()
        if not line:
            raise ConnectionError("IMAP ended")
        while literal := _LITERAL.search(line):
            line += await self._reader.readexactly(int(literal[1]))
            line += await self._reader.readline()
        return line

    async def command(self, command: str) -> list[bytes]:
        """Send a command; return the untagged answers. Raises ConnectionError on a refusal."""
        self._commands += 1
        tag = f"c{self._commands}".encode()
        self._writer.write(tag + b" " + command.encode() + b"\r\n")
        answers: list[bytes] = []
        while not (line := await self._line()).startswith(tag + b" "):
            answers.append(line)
        if not line.startswith(tag + b" OK"):
            verb = command.split(maxsplit=1)[0]
            raise ConnectionError(f"{verb}: {line.decode(errors='replace').strip()}")
        return answers

    async def timed(self, command: str) -> tuple[float, list[bytes]]:
        """Return the seconds from the command to its OK, and the untagged answers."""
        begun = time.perf_counter()
        answers = await self.command(command)
        return time.perf_counter() - begun, answers

    async def idle(self) -> None:
        """Open INBOX and say IDLE."""
        await self.command("SELECT INBOX")
        await self.resume()

    async def resume(self) -> None:
        """Say IDLE in the folder that is open."""
        self._writer.write(b"idle IDLE\r\n")
        while not (await self._line()).startswith(b"+"):
            pass

    async def done(self) -> None:
        """End IDLE."""
        self._writer.write(b"DONE\r\n")
        while not (await self._line()).startswith(b"idle "):
            pass

    async def notice(self) -> float:
        """Wait for the next EXISTS, and return the clock."""
        while b"EXISTS" not in await self._line():
            pass
        return time.monotonic()

    async def ended(self) -> bool:
        """Return whether the server has closed it; drop what it has said until now."""
        try:
            async with asyncio.timeout(0.01):
                while await self._line():
                    pass
        except TimeoutError:
            return False
        except (ConnectionError, OSError):
            return True
        return True

    def close(self) -> None:
        """Without a word."""
        self._writer.close()
