"""How soon fifty clients in IDLE, hibernated by Dovecot, are told of a mail after LMTP's reply."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from benchmarks.host import mails
from benchmarks.host.bed import USERS, user
from benchmarks.host.mailbox import await_indexer
from benchmarks.mailhost.lmtp import Lmtp, deliver_all
from benchmarks.mailhost.report import percentile

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.host.bed import Bed
    from benchmarks.mailhost.engine import Container

# Seconds between two messages to one user. Dovecot hibernates an idle session after one; and a mail
# comes every 100 ms, when the one before is indexed and its client sleeps again: what is measured
# is a notice, not a queue.
REST = 5.0
BEFORE = 5  # messages that each user has already: the first one makes the mailbox


def measure(bed: Bed, memory: str, samples: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure milliseconds from LMTP's reply to EXISTS, one message at a time, users in turn."""
    box = bed.dovecot(memory)
    work = ((user(n % USERS + 1), mails.mail(n)) for n in range(BEFORE * USERS))
    asyncio.run(deliver_all(bed.place.lmtp, work, 1))
    await_indexer(box)
    taken = asyncio.run(_measure(bed, box, samples))
    bed.close()
    p50, p99 = (percentile(taken, percent) * 1000 for percent in (50, 99))
    say(f"notice, {bed.which}: p50 {p50:.1f} ms, p99 {p99:.1f}, most {max(taken) * 1000:.1f}")
    return {f"notice_{bed.which}_p50_ms": p50, f"notice_{bed.which}_p99_ms": p99}


async def _measure(bed: Bed, box: Container, samples: int) -> list[float]:
    sessions = await bed.idling(box)
    lmtp = await Lmtp.open(bed.place.lmtp)
    taken: list[float] = []
    try:
        await asyncio.sleep(REST)
        for sample in range(samples):
            begun = time.monotonic()
            notice = asyncio.create_task(sessions[sample % USERS].notice())
            await lmtp.deliver(user(sample % USERS + 1), mails.mail(1000 + sample))
            replied = time.monotonic()
            # Told before the reply was read: no time at all.
            taken.append(max(0.0, await asyncio.wait_for(notice, 30) - replied))
            await asyncio.sleep(max(0, REST / USERS - (time.monotonic() - begun)))
    finally:
        lmtp.close()
        for session in sessions:
            session.close()
    return taken
