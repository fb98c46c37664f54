"""How long a neighbour waits while one user asks for much; beside the same with nobody else there.

One user lists 1,700 folders with their state in four sessions, sorts and threads a large mailbox,
searches it for the letter e, or marks 5,000 messages; meanwhile another user's client asks for
little, again and again.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from benchmarks.host.bed import BIG, user
from benchmarks.host.mailbox import await_indexer, fill_at_once
from benchmarks.host.mails import mail as one_mail
from benchmarks.mailhost.lmtp import deliver_all
from benchmarks.mailhost.report import percentile

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.host.bed import Bed
    from benchmarks.mailhost.engine import Container
    from benchmarks.mailhost.imap import Session

SESSIONS = 4
FEW = 50  # messages of the neighbour
HEAVY = {
    "nobody": "",
    "LIST with STATUS": 'LIST "" "*" RETURN (STATUS (MESSAGES UNSEEN))',
    "SORT": "SORT (SUBJECT FROM) UTF-8 ALL",
    "THREAD": "THREAD REFERENCES UTF-8 ALL",
    "SEARCH for e": "SEARCH BODY e",
    "STORE of 5,000": "STORE 1:5000 +FLAGS.SILENT (\\Flagged)",
}
"""What the busy user does, over and over."""
LIGHT = ("NOOP", "SELECT INBOX", "FETCH 1:* (FLAGS)")


def measure(
    bed: Bed, box: Container, mails: int, folders: int, seconds: float, say: Callable[[str], None]
) -> dict[str, Any]:
    """For each heavy command the milliseconds of a neighbour's: p50, p99, worst."""
    fill_at_once(bed.place, box, mails)
    work = ((user(1), one_mail(number)) for number in range(FEW))
    asyncio.run(deliver_all(bed.place.lmtp, work, 1))
    await_indexer(box)
    return {"neighbour": asyncio.run(_measure(bed, box, folders, seconds, say))}


async def _measure(
    bed: Bed, box: Container, folders: int, seconds: float, say: Callable[[str], None]
) -> dict[str, Any]:
    busy = [await bed.session(box, BIG) for _ in range(SESSIONS)]
    for number in range(folders):
        await busy[0].command(f"CREATE f{number}")
    for session in busy:
        await session.command("SELECT INBOX")
    neighbour = await bed.session(box, user(1))
    found: dict[str, Any] = {}
    try:
        for name, command in HEAVY.items():
            over = asyncio.Event()
            tasks = [asyncio.create_task(_repeat(each, command, over)) for each in busy]
            taken = await _asked(neighbour, seconds)
            over.set()
            done = sum(await asyncio.gather(*tasks))
            p50, p99 = (percentile(taken, percent) * 1000 for percent in (50, 99))
            worst = max(taken) * 1000
            found[name] = {"p50": p50, "p99": p99, "worst": worst, "commands": done}
            say(f"{name}: p50 {p50:.1f} ms, p99 {p99:.1f}, worst {worst:.1f}; {done} commands")
    finally:
        for session in (*busy, neighbour):
            session.close()
    return found


async def _repeat(session: Session, command: str, over: asyncio.Event) -> int:
    done = 0
    while command and not over.is_set():
        await session.command(command)
        done += 1
    return done


async def _asked(neighbour: Session, seconds: float) -> list[float]:
    taken: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for command in LIGHT:
            taken.append((await neighbour.timed(command))[0])
            await asyncio.sleep(0.02)
    return taken
