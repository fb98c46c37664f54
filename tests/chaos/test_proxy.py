"""The proxy breaks what it is told to break, at that point, and nothing else."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.chaos.plan import NAMELESS_PROXY_FAULTS, PROXY_FAULTS, PlannedMail, Stage
from tests.chaos.proxy import Proxy

BODY = b"X-Chaos-Mail: 7\r\nSubject: x\r\n\r\n" + b"a line of content\r\n" * 60
TWO = ("ann@example.org", "ben@example.org")


@dataclass
class Dovecot:
    """A small LMTP server with CHUNKING that accepts everything and remembers what it stored."""

    stored: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        recipients = 0
        content = b""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                verb = line.split()[0].upper()
                if verb == b"LHLO":
                    writer.write(b"250-x\r\n250-CHUNKING\r\n250 PIPELINING\r\n")
                elif verb == b"MAIL":
                    recipients, content = 0, b""
                    writer.write(b"250 ok\r\n")
                elif verb == b"RCPT":
                    recipients += 1
                    writer.write(b"250 ok\r\n")
                elif verb == b"DATA":
                    writer.write(b"354 go\r\n")
                    while (part := await reader.readline()) != b".\r\n":
                        if not part:
                            return
                        content += part.removeprefix(b".")
                    self.store(writer, content, recipients)
                elif verb == b"BDAT":
                    content += await reader.readexactly(int(line.split()[1]))
                    if b"LAST" in line:
                        self.store(writer, content, recipients)
                    else:
                        writer.write(b"250 more\r\n")
                else:
                    writer.write(b"250 ok\r\n")
        writer.close()

    def store(self, writer: asyncio.StreamWriter, content: bytes, recipients: int) -> None:
        if recipients:
            self.stored.append(content)
        writer.write(b"250 stored\r\n" * recipients or b"503 nobody\r\n")


@dataclass
class Way:
    """One connection through the proxy to the small Dovecot, and the stages that were told."""

    dovecot: Dovecot
    proxy: Proxy
    stages: list[Stage]
    path: Path

    async def send(
        self, *, chunking: bool, chunks: int = 1, sender: str = "chaos-000007@s.example"
    ) -> bytes:
        """Make one transaction to two recipients; return all replies until the end or a timeout."""
        while True:
            reader, writer = await asyncio.open_unix_connection(self.path)
            await reader.readline()
            writer.write(b"LHLO test\r\n")
            greeting = await reader.readuntil(b"250 PIPELINING\r\n")
            if (b"CHUNKING" in greeting) == chunking:
                break
            writer.close()
        writer.write(f"MAIL FROM:<{sender}>\r\n".encode())
        writer.write(b"".join(b"RCPT TO:<%b>\r\n" % box.encode() for box in TWO))
        if chunking:
            first = len(BODY) // chunks if chunks > 1 else 0
            if first:
                writer.write(b"BDAT %d\r\n" % first + BODY[:first])
            writer.write(b"BDAT %d LAST\r\n" % (len(BODY) - first) + BODY[first:])
            return await self.rest(reader, writer)
        writer.write(b"DATA\r\n")
        answer = b""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while not answer.endswith((b"354 go\r\n", b"451 4.3.0 no content now\r\n")):
                answer += await reader.readline() or b"END"
                if answer.endswith(b"END"):
                    return answer
        if b"354" in answer:
            writer.write(BODY + b".\r\n")
        return answer + await self.rest(reader, writer)

    async def rest(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        answer = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            while block := await asyncio.wait_for(reader.read(4096), 0.5):
                answer += block
            answer += b"END"
        writer.close()
        return answer


@contextlib.asynccontextmanager
async def way(root: Path, **changes: object) -> AsyncIterator[Way]:
    """Provide a proxy in front of the small Dovecot, with mail 7 having these faults."""
    planned = PlannedMail(
        7,
        1,
        "chaos-000007@s.example",
        list(TWO),
        frozenset(TWO),
        frozenset(),
        frozenset(),
        len(BODY),
    )
    for name, value in changes.items():
        setattr(planned, name, value)
    dovecot, stages = Dovecot(), []

    async def reached(_: int, stage: Stage) -> None:
        stages.append(stage)

    server = await asyncio.start_unix_server(dovecot.serve, root / "dovecot.sock")
    proxy = Proxy(root / "proxy.sock", root / "dovecot.sock", {7: planned}, reached)
    await proxy.open()
    try:
        yield Way(dovecot, proxy, stages, root / "proxy.sock")
    finally:
        await proxy.close()
        server.close()


@pytest.mark.parametrize("chunking", [True, False])
def test_without_faults_it_is_transparent(tmp_path: Path, chunking: bool) -> None:
    """Content and replies pass unchanged, by BDAT and by DATA, and every stage is told in order."""

    async def run() -> None:
        async with way(tmp_path) as through:
            answer = await through.send(chunking=chunking, chunks=2)
            assert answer.endswith(b"250 stored\r\n" * 2)
            assert through.dovecot.stored == [BODY]
            assert through.stages == list(Stage)

    asyncio.run(run())


# For each fault: is the mail stored, and how many final replies arrive?
EXPECTED = {
    "cut-mail": (False, 0),
    "cut-recipients": (None, 0),  # with BDAT the content may have gone through already
    "cut-content": (False, 0),
    "cut-dot": (False, 0),
    "swallow": (True, 0),
    "half-replies": (True, 1),
    "late-replies": (True, 0),  # not within the half second that this client waits
    "split-replies": (True, 2),
    "421-mail": (False, 0),
    "451-mail": (None, None),
    "451-data": (False, 0),
    "nonsense": (False, 0),
}


@pytest.mark.parametrize("chunking", [True, False])
@pytest.mark.parametrize("fault", sorted(set(PROXY_FAULTS)))
def test_each_fault_breaks_where_it_says(tmp_path: Path, fault: str, chunking: bool) -> None:
    """Stored or not stored, answered or not answered: as the fault's name promises, and once."""

    async def run() -> None:
        async with way(tmp_path, in_proxy=[fault]) as through:
            answer = await through.send(chunking=chunking)
            stored, replies = EXPECTED[fault]
            if stored is not None:
                assert bool(through.dovecot.stored) == stored
            if replies is not None:
                assert answer.count(b"250 stored") == replies
            assert through.proxy.met == [f"mail 7: {fault}"]
            # The fault is used up: the second attempt is an ordinary one.
            before = len(through.dovecot.stored)
            again = await through.send(chunking=chunking)
            assert again.endswith(b"250 stored\r\n" * 2)
            assert len(through.dovecot.stored) == before + 1

    asyncio.run(run())


@pytest.mark.parametrize("fault", sorted(set(NAMELESS_PROXY_FAULTS)))
def test_null_sender_is_known_by_its_content(tmp_path: Path, fault: str) -> None:
    """A bounce's faults are met although its envelope names no mail."""

    async def run() -> None:
        async with way(tmp_path, in_proxy=[fault]) as through:
            await through.send(chunking=False, sender="")
            assert through.proxy.met == [f"mail 7: {fault}"]

    asyncio.run(run())


def test_refusals_are_per_mailbox_and_counted(tmp_path: Path) -> None:
    """452 as often as planned, 550 for ever, and Dovecot never gets the refused recipient."""

    async def run() -> None:
        async with way(tmp_path, refused={TWO[0]: 1, TWO[1]: -1}) as through:
            first = await through.send(chunking=True)
            assert (first.count(b"452 "), first.count(b"550 "), first.count(b"stored")) == (1, 1, 0)
            second = await through.send(chunking=True)
            counts = [second.count(b"452 "), second.count(b"550 "), second.count(b"stored")]
            assert counts == [0, 1, 1]

    asyncio.run(run())
