"""The wire between `deliver` and Dovecot: an LMTP proxy that can break at every point.

It knows so much of LMTP (RFC 2033, with pipelining) that it can answer for Dovecot in the right
order and tell the replies of a transaction apart. It never makes a lie of a stored mail: a refusal
of its own is given before the content, and then Dovecot has not got that recipient.

Which faults a mail has, the plan says. A mail is known by its envelope sender; one with the null
sender only by its content, so it has only faults of the content.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING

from tests.chaos.plan import MARK, PlannedMail, Stage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

LATE = 1.5  # seconds
_SENDER = re.compile(rb"MAIL FROM:<chaos-(\d+)@", re.IGNORECASE)
_RECIPIENT = re.compile(rb"RCPT TO:<([^>+]*)(?:\+[^>@]*)?@([^>]*)>", re.IGNORECASE)


class CutError(Exception):
    """This connection ends here, on both sides."""


class Proxy:
    """Listens on one unix socket, speaks to another."""

    def __init__(
        self,
        listen: Path,
        upstream: Path,
        mails: dict[int, PlannedMail],
        reached: Callable[[int, Stage], Awaitable[None]],
    ) -> None:
        self._listen = listen
        self._upstream = upstream
        self._mails = mails
        self._left = {number: list(mail.in_proxy) for number, mail in mails.items()}
        self._refusals = {number: dict(mail.refused) for number, mail in mails.items()}
        self._reached = reached
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.transactions = 0
        self.connections = 0
        self.chunked = 0
        self.met: list[str] = []
        # Messages whose envelope has come, and when.
        self.begun: list[tuple[int, float]] = []

    async def open(self) -> None:
        """Listen. Anybody may connect: `deliver` may run as any user in a test."""
        self._listen.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._accept, self._listen, limit=1 << 20)
        self._listen.chmod(0o666)

    async def close(self) -> None:
        """Stop listening, as a killed Dovecot does, and cut all connections."""
        if self._server is not None:
            self._server.close()
            self._listen.unlink(missing_ok=True)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            up_reader, up_writer = await asyncio.open_unix_connection(self._upstream, limit=1 << 20)
        except OSError:
            writer.transport.abort()
            self._tasks.discard(task)
            return
        try:
            await _Session(self, reader, writer, up_reader, up_writer).run()
        except (CutError, OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            up_writer.transport.abort()
            self._tasks.discard(task)

    def connect(self) -> int:
        """Number a connection."""
        self.connections += 1
        return self.connections

    def begin(self) -> int:
        """Number a transaction."""
        self.transactions += 1
        return self.transactions

    def mail(self, number: bytes) -> PlannedMail | None:
        """Return the planned mail of a number read from the wire."""
        return self._mails.get(int(number))

    def take(self, mail: PlannedMail | None, *kinds: str) -> str | None:
        """Remove and return the first of these faults that the mail still has."""
        if mail is not None:
            left = self._left[mail.number]
            for kind in kinds:
                if kind in left:
                    left.remove(kind)
                    self.met.append(f"mail {mail.number}: {kind}")
                    return kind
        return None

    def refuses(self, mail: PlannedMail, mailbox: str) -> bytes | None:
        """Return the reply with which this mailbox refuses the mail now, or None."""
        refusals = self._refusals[mail.number]
        left = refusals.get(mailbox, 0)
        if left < 0:
            self.met.append(f"mail {mail.number}: 550")
            return b"550 5.7.1 not for this one\r\n"
        if left > 0:
            refusals[mailbox] = left - 1
            self.met.append(f"mail {mail.number}: 452")
            return b"452 4.3.1 this one cannot now\r\n"
        return None

    async def reached(self, transaction: int, stage: Stage) -> None:
        """Tell the run that a transaction has come to a stage; it may break something."""
        await self._reached(transaction, stage)


class _Session:
    """One connection of `deliver`, and the one to Dovecot that stands for it."""

    def __init__(
        self,
        proxy: Proxy,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        up_reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
    ) -> None:
        self._proxy = proxy
        self._reader = reader
        self._writer = writer
        self._up_reader = up_reader
        self._up_writer = up_writer
        # What the client waits for, in order: an answer of our own, or the name of Dovecot's.
        self._awaited: asyncio.Queue[bytes | str] = asyncio.Queue()
        self._data_accepted: asyncio.Future[bool] | None = None
        self._accepted = 0
        self._mail: PlannedMail | None = None
        self._transaction = 0
        self._passed = 0  # bytes of the content
        # Both ways of sending content are to be broken, so every other connection has no CHUNKING.
        self._chunking = proxy.connect() % 2 == 0

    async def run(self) -> None:
        """Until either side ends. Raises CutError."""
        self._awaited.put_nowait("greeting")
        tasks = [asyncio.create_task(self._commands()), asyncio.create_task(self._replies())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # --- what deliver says

    async def _commands(self) -> None:
        while line := await self._reader.readline():
            verb = line[:4].upper()
            if verb == b"BDAT":
                await self._chunk(line)
                continue
            answer = await self._answer(verb, line)
            if answer is not None:
                self._awaited.put_nowait(answer)
                continue
            if verb == b"DATA":
                self._data_accepted = asyncio.get_running_loop().create_future()
            self._awaited.put_nowait(verb.decode())
            self._send(line)
            if verb == b"DATA":
                assert self._data_accepted is not None
                if await self._data_accepted:
                    await self._dotted()

    async def _answer(self, verb: bytes, line: bytes) -> bytes | None:
        """Return an answer in Dovecot's place, or None."""
        proxy = self._proxy
        if verb == b"MAIL":
            self._accepted = 0
            self._passed = 0
            self._transaction = proxy.begin()
            sender = _SENDER.match(line)
            self._mail = proxy.mail(sender.group(1)) if sender else None
            if self._mail is not None:
                proxy.begun.append((self._mail.number, time.time()))
            await proxy.reached(self._transaction, Stage.MAIL)
            fault = proxy.take(self._mail, "cut-mail", "421-mail", "451-mail", "nonsense")
            if fault == "cut-mail":
                raise CutError
            if fault == "421-mail":
                self._writer.write(b"421 4.3.2 shutting down\r\n")
                raise CutError
            if fault == "451-mail":
                return b"451 4.3.0 not now\r\n"
            if fault == "nonsense":
                self._writer.write(b"\xff\xfe not a reply\r\n")
                raise CutError
        elif verb == b"RCPT":
            recipient = _RECIPIENT.match(line)
            if self._mail is not None and recipient is not None:
                mailbox = b"@".join(recipient.groups()).decode().lower()
                return proxy.refuses(self._mail, mailbox)
        elif verb == b"DATA" and proxy.take(self._mail, "451-data"):
            return b"451 4.3.0 no content now\r\n"
        return None

    async def _dotted(self) -> None:
        """Pass content on line by line up to the single dot (DATA)."""
        while (line := await self._reader.readline()) != b".\r\n":
            if not line:
                raise CutError
            await self._pass_content(line)
        await self._end(line)

    async def _chunk(self, command: bytes) -> None:
        """Pass one chunk on (BDAT, RFC 3030)."""
        words = command.split()
        left, last = int(words[1]), words[2:] == [b"LAST"]
        self._proxy.chunked += last
        if last and not self._passed and self._proxy.take(self._mail, "451-data"):
            await self._reader.readexactly(left)
            self._up_writer.write(b"RSET\r\n")
            self._awaited.put_nowait("refused content")
            return
        self._send(command)
        block = b""
        # In parts, so that a small mail has a middle too.
        part = max(256, left // 4)
        while left:
            block = await self._reader.read(min(left, part))
            if not block:
                raise CutError
            left -= len(block)
            if left or not last:
                await self._pass_content(block)
        if last:
            await self._end(block)
        else:
            self._awaited.put_nowait("chunk")

    async def _pass_content(self, block: bytes) -> None:
        """Pass a part of the content that is not its end."""
        proxy = self._proxy
        self._know(block)
        before, self._passed = self._passed, self._passed + len(block)
        self._send(block)
        if before < 512 <= self._passed:
            if proxy.take(self._mail, "cut-content"):
                await self._up_writer.drain()
                raise CutError
            await self._up_writer.drain()
            await proxy.reached(self._transaction, Stage.CONTENT)
        elif self._passed // 65536 > before // 65536:
            await self._up_writer.drain()

    async def _end(self, block: bytes) -> None:
        """Pass the end of the content: its last bytes, or the dot."""
        proxy = self._proxy
        self._know(block)
        if proxy.take(self._mail, "cut-dot"):
            self._up_writer.write(block[:-1])
            await self._up_writer.drain()
            raise CutError
        self._send(block)
        await self._up_writer.drain()
        self._awaited.put_nowait("end")
        await proxy.reached(self._transaction, Stage.DOT)

    def _send(self, octets: bytes) -> None:
        """To Dovecot, if it is still there."""
        if self._up_writer.is_closing():
            raise CutError
        self._up_writer.write(octets)

    def _know(self, block: bytes) -> None:
        """Learn which mail it is, where the envelope did not tell."""
        if self._mail is None and self._passed < 4096:
            found = re.search(rb"^" + MARK + rb"(\d+)\r", block, re.MULTILINE)
            if found:
                self._mail = self._proxy.mail(found.group(1))

    # --- what Dovecot answers

    async def _replies(self) -> None:
        while True:
            awaited = await self._awaited.get()
            if isinstance(awaited, bytes):
                await self._pass(awaited)
                continue
            if awaited == "end":
                await self._final_replies()
                continue
            reply = await self._reply()
            if awaited == "LHLO" and not self._chunking:
                reply = re.sub(rb"250-CHUNKING\r\n", b"", reply)
            elif awaited == "RCPT":
                if reply[:1] == b"2":
                    self._accepted += 1
                if self._proxy.take(self._mail, "cut-recipients"):
                    raise CutError
            elif awaited == "refused content":
                reply = b"451 4.3.0 no content now\r\n" * max(1, self._accepted)
            await self._pass(reply)
            if awaited == "DATA":
                assert self._data_accepted is not None
                self._data_accepted.set_result(reply[:3] == b"354")

    async def _final_replies(self) -> None:
        """Pass all final replies of a transaction, one for each recipient that Dovecot accepted."""
        proxy, count = self._proxy, max(1, self._accepted)
        replies = [await self._reply() for _ in range(count)]
        transaction, mail = self._transaction, self._mail
        await proxy.reached(transaction, Stage.ANSWERED)
        fault = proxy.take(mail, "swallow", "half-replies", "late-replies", "split-replies")
        if fault == "swallow":
            raise CutError
        if fault == "half-replies":
            await self._pass(b"".join(replies[: count // 2]))
            raise CutError
        if fault == "late-replies":
            await asyncio.sleep(LATE)
        if fault == "split-replies":
            for byte in b"".join(replies):
                await self._pass(bytes((byte,)))
        else:
            await self._pass(b"".join(replies))
        await proxy.reached(transaction, Stage.PASSED)

    async def _reply(self) -> bytes:
        """Return one complete reply of Dovecot, with all its lines."""
        lines: list[bytes] = []
        while True:
            line = await self._up_reader.readline()
            if not line:
                raise CutError
            lines.append(line)
            if line[3:4] != b"-":
                return b"".join(lines)

    async def _pass(self, reply: bytes) -> None:
        self._writer.write(reply)
        await self._writer.drain()
