"""From SendMessage to the notice in a mail client that waits in IDLE, hibernated by Dovecot."""

from __future__ import annotations

import asyncio
import json
import math
import time
from typing import TYPE_CHECKING

from benchmarks.aws_stub.notification import Accepted, in_sns_envelope, notification
from benchmarks.aws_stub.objects import mail_of
from benchmarks.deliver.bed import HEAD, SENDER, USERS, user
from benchmarks.mailhost.courier import BUCKET
from benchmarks.mailhost.host import HOSTNAME, PASSWORD, trusting

if TYPE_CHECKING:
    from benchmarks.aws_stub.process import Stub
    from benchmarks.deliver.bed import Bed

REST = 2.4  # seconds between two mails to one user: Dovecot hibernates an idle session after one


class Session:
    """One user's IMAP connection in IDLE."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, bed: Bed, address: str) -> Session:
        """Log in, open INBOX, say IDLE."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", bed.box.port(993), ssl=trusting(bed.place), server_hostname=HOSTNAME
        )
        session = cls(reader, writer)
        await session._reader.readline()
        await session._command(f"a LOGIN {address} {PASSWORD}", b"a OK")
        await session._command("b SELECT INBOX", b"b OK")
        await session._command("c IDLE", b"+")
        return session

    async def _command(self, command: str, ready: bytes) -> None:
        self._writer.write(command.encode() + b"\r\n")
        while not (line := await self._reader.readline()).startswith(ready):
            if not line:
                raise ConnectionError(f"IMAP ended at {command.split()[1]}")

    async def notice(self) -> float:
        """The clock at the next EXISTS."""
        while True:
            line = await self._reader.readline()
            if not line:
                raise ConnectionError("IMAP ended in IDLE")
            if b"EXISTS" in line:
                return time.monotonic()

    def close(self) -> None:
        """Without a word."""
        self._writer.close()


def measure(bed: Bed, samples: int) -> tuple[list[float], list[float]]:
    """Seconds of each sample, one mail at a time: through the queue, and by LMTP alone.

    The second is Dovecot's own share: what is left if `deliver` and the queue took no time.
    """
    return asyncio.run(_measure(bed, samples))


async def _measure(bed: Bed, samples: int) -> tuple[list[float], list[float]]:
    bed.stub.put_object(f"{BUCKET}/incoming/latency", _mail())
    sessions = [await Session.open(bed, user(n)) for n in range(1, USERS + 1)]
    aws = await asyncio.open_connection(bed.stub.host, bed.stub.port)
    lmtp = await asyncio.open_unix_connection(bed.place.lmtp)
    await lmtp[0].readline()
    lmtp[1].write(b"LHLO bench.example\r\n")
    while (await lmtp[0].readline())[3:4] == b"-":
        pass
    queued: list[float] = []
    direct: list[float] = []
    try:
        await asyncio.sleep(REST)
        for sample in range(2 * samples):
            number = sample % USERS
            # Whole rounds of users in turn, so that both ways meet the same moments.
            by_queue = sample // USERS % 2 == 0
            recipient = user(number + 1)
            begun = time.monotonic()
            if by_queue:
                aws[1].write(_send_message(bed.stub, sample, recipient))
            else:
                lmtp[1].write(_transaction(recipient))
            taken = await asyncio.wait_for(sessions[number].notice(), 30) - begun
            (queued if by_queue else direct).append(taken)
            if by_queue:
                head = await aws[0].readuntil(b"\r\n\r\n")
                await aws[0].readexactly(int(head.lower().split(b"content-length:")[1].split()[0]))
            else:
                for _ in range(3):
                    assert (await lmtp[0].readline()).startswith(b"2")
            await asyncio.sleep(max(0, REST / USERS - taken))
    finally:
        aws[1].close()
        lmtp[1].close()
        for session in sessions:
            session.close()
    return queued, direct


def _transaction(recipient: str) -> bytes:
    mail = _mail()
    head = f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{recipient}>\r\nBDAT {len(mail)} LAST\r\n"
    return head.encode() + mail


def _mail() -> bytes:
    mail = mail_of(4096, HEAD.encode())
    return b"".join(mail.blocks(0, mail.size))


def _send_message(stub: Stub, sample: int, recipient: str) -> bytes:
    mail = Accepted(f"latency{sample:06d}", SENDER, [recipient], BUCKET, "incoming/latency")
    text = in_sns_envelope(notification(mail), f"sns-{sample}")
    body = json.dumps({"QueueUrl": stub.queue_url("mail"), "MessageBody": text}).encode()
    head = (
        "POST / HTTP/1.1\r\nHost: stub\r\nX-Amz-Target: AmazonSQS.SendMessage\r\n"
        f"Content-Type: application/x-amz-json-1.0\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def percentile(values: list[float], percent: float) -> float:
    """The smallest value that is not below so many percent of all."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
