"""From SendMessage to the notice in a mail client that waits in IDLE, hibernated by Dovecot."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

from benchmarks.aws_stub.notification import Accepted, in_sns_envelope, notification
from benchmarks.aws_stub.objects import mail_of
from benchmarks.deliver.bed import HEAD, SENDER, USERS, user
from benchmarks.mailhost.deliver_service import BUCKET
from benchmarks.mailhost.host import PASSWORD, trusting
from benchmarks.mailhost.imap import Session
from benchmarks.mailhost.lmtp import Lmtp

if TYPE_CHECKING:
    from benchmarks.aws_stub.process import Stub
    from benchmarks.deliver.bed import Bed

REST = 2.4  # seconds between two messages to one user: Dovecot hibernates an idle session after one
# Messages that each user has already. The first one makes the mailbox, and its notice takes up to
# half a second.
BEFORE = 5


def measure(bed: Bed, samples: int) -> tuple[list[float], list[float]]:
    """Measure seconds for one message at a time: through the queue, and by LMTP alone.

    The second is Dovecot's own share: what is left if `deliver` and the queue took no time.
    """
    return asyncio.run(_measure(bed, samples))


async def _measure(bed: Bed, samples: int) -> tuple[list[float], list[float]]:
    mail = _mail()
    bed.stub.put_object(f"{BUCKET}/incoming/latency", mail)
    lmtp = await Lmtp.open(bed.place.lmtp)
    for number in range(BEFORE * USERS):
        await lmtp.deliver(user(number % USERS + 1), mail)
    port, trust = bed.box.port(993), trusting(bed.place)
    sessions = [await Session.open(port, trust, user(n), PASSWORD) for n in range(1, USERS + 1)]
    for session in sessions:
        await session.idle()
    aws = await asyncio.open_connection(bed.stub.host, bed.stub.port)
    queued: list[float] = []
    direct: list[float] = []
    try:
        await asyncio.sleep(REST)
        for sample in range(2 * samples):
            number = sample % USERS
            # Whole rounds of users in turn, so that both ways meet the same moments.
            by_queue = sample // USERS % 2 == 0
            recipient = user(number + 1)
            message = _send_message(bed.stub, sample, recipient)
            begun = time.monotonic()
            if by_queue:
                aws[1].write(message)
                answered = asyncio.create_task(_answer(aws[0]))
            else:
                answered = asyncio.create_task(lmtp.deliver(recipient, mail))
            taken = await asyncio.wait_for(sessions[number].notice(), 30) - begun
            (queued if by_queue else direct).append(taken)
            await answered
            await asyncio.sleep(max(0, REST / USERS - taken))
    finally:
        aws[1].close()
        lmtp.close()
        for session in sessions:
            session.close()
    return queued, direct


async def _answer(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(int(head.lower().split(b"content-length:")[1].split()[0]))


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
