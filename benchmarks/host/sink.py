"""SES's SMTP endpoint as fast as this machine allows: STARTTLS and AUTH; it only counts messages.

    python -m benchmarks.host.sink ADDRESS CERTIFICATE KEY

Prints its port, then for each line "N" on standard input, once N messages came in all, the clock
(CLOCK_MONOTONIC) at the last of them. Ends with its standard input.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.mailhost.engine import ROOT

if TYPE_CHECKING:
    from pathlib import Path

_IP_FREEBIND = 15  # the network's gateway appears with its first container
GREETING = b"220 ses ESMTP\r\n"
EHLO = b"250-ses\r\n250-8BITMIME\r\n%s250 SIZE 41943040\r\n"


class Sink:
    """The endpoint in a process of its own."""

    def __init__(self, address: str, certificate: Path, key: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.host.sink", address, certificate, key],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.taken = 0
        self.port = int(self._read())

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def await_more(self, count: int) -> float:
        """Wait for this number of further messages, and return the clock."""
        assert self._process.stdin is not None
        self.taken += count
        self._process.stdin.write(f"{self.taken}\n")
        self._process.stdin.flush()
        return float(self._read())

    def give_up(self) -> None:
        """End a wait for messages that do not come: it raises ValueError."""
        self._process.kill()

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


class _Endpoint:
    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._moments: list[float] = []
        self._more = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        writer.write(GREETING)
        offers = b"250-STARTTLS\r\n"
        try:
            while line := await reader.readline():
                verb = line[:4].upper()
                if verb == b"EHLO":
                    writer.write(EHLO % offers)
                elif verb == b"STAR":
                    writer.write(b"220 go\r\n")
                    await writer.start_tls(self._context)
                    offers = b"250-AUTH PLAIN LOGIN\r\n250-PIPELINING\r\n"
                elif verb == b"AUTH":
                    writer.write(b"235 known\r\n")
                elif verb == b"DATA":
                    writer.write(b"354 go\r\n")
                    await reader.readuntil(b"\r\n.\r\n")
                    self._take()
                    writer.write(b"250 Ok\r\n")
                elif verb == b"QUIT":
                    writer.write(b"221 bye\r\n")
                    break
                else:
                    writer.write(b"250 ok\r\n")
        except (OSError, asyncio.IncompleteReadError):  # refused our certificate, or gone
            pass
        except asyncio.CancelledError:  # the run is over
            pass
        finally:
            writer.close()

    def _take(self) -> None:
        self._moments.append(time.monotonic())
        self._more.set()

    async def answer(self, wanted: int) -> float:
        """Return the clock at the message of this number."""
        while len(self._moments) < wanted:
            self._more.clear()
            await self._more.wait()
        return self._moments[wanted - 1]


async def _run(address: str, certificate: str, key: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    endpoint = _Endpoint(context)
    # asyncio turns Nagle's algorithm off only where the protocol is named; else replies wait 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
    listener.bind((address, 0))
    server = await asyncio.start_server(endpoint.serve, sock=listener, limit=2**26, backlog=100)
    print(listener.getsockname()[1], flush=True)
    questions = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(questions), sys.stdin
    )
    while line := await questions.readline():
        print(await endpoint.answer(int(line)), flush=True)
    server.close()


if __name__ == "__main__":
    asyncio.run(_run(*sys.argv[1:]))
