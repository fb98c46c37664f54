"""Proof that a system does what its row claims, before it is measured. Raises EngineError."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING

from benchmarks.host import mails
from benchmarks.mailhost.engine import EngineError
from benchmarks.peers.definitions import IDLE_CLIENTS, OURS
from benchmarks.peers.measures import at_rest, local_part

if TYPE_CHECKING:
    from benchmarks.mailhost.imap import Session
    from benchmarks.peers.systems import System

USER = local_part(IDLE_CLIENTS)  # no other message comes here
SIZE = 100 * 1024
TRACE = 8  # KB, at most, of the header that a system adds
PATIENCE = 30.0  # seconds for a message to be in its folder


async def proven(system: System) -> dict[str, str]:
    """Return what was seen of quota, filter and search index. Raise EngineError."""
    session = await system.session(USER)
    try:
        return {
            "quota": await _quota(system, session),
            "filter": await _filter(system, session),
            "search": await _search(system),
        }
    except (ConnectionError, TimeoutError) as error:
        raise EngineError(f"{system.name}: {error}") from error
    finally:
        session.close()


async def _quota(system: System, session: Session) -> str:
    before, message = await _used(session), mails.mail(7_000_000, SIZE)
    await system.send(system.prepare("quota", [(USER, message)]))
    await _await_message(session, "INBOX")
    counted, wanted = await _used(session) - before, len(message) // 1024
    if not wanted <= counted < wanted + TRACE:
        raise EngineError(f"{system.name}: its quota counts {counted} KB of {wanted}")
    return f"{counted} KB counted of a message of {wanted} KB"


async def _used(session: Session) -> int:
    """Return the KB that the quota counts."""
    for line in await session.command("GETQUOTAROOT INBOX"):
        if found := re.search(rb"\(.*?STORAGE (\d+) \d+.*\)", line):
            return int(found[1])
    raise EngineError("there is no quota")


async def _filter(system: System, session: Session) -> str:
    await system.send(system.marked("filter", [(USER, mails.mail(7_000_001))]))
    await _await_message(session, "Junk")
    return "a marked message is in Junk"


async def _await_message(session: Session, folder: str) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        answers = await session.command(f'LIST "" {folder} RETURN (STATUS (MESSAGES))')
        if any(line.rstrip().endswith(b"(MESSAGES 1)") for line in answers):
            return
        if time.monotonic() > end:
            raise TimeoutError(f"no message in {folder}, but {answers}")
        await asyncio.sleep(0.1)


async def _search(system: System) -> str:
    """Let Dovecot's own search say where it looks: in the index, and what it found there."""
    await at_rest(system)
    box = system.containers.get("dovecot") or system.containers["whole"]
    user = f"{USER}@example.org" if system.name == OURS else USER
    words = f"doveadm -D search -u {user} mailbox INBOX body {mails.word(0)} 2>&1"
    said = await asyncio.to_thread(box.execute, "sh", "-c", words)
    found = re.search(r"flatcurve.*?(Query \(.*)", said)
    if not found or "matches=1" not in found[1]:
        raise EngineError(f"{system.name}: a search does not use an index: {said[-2000:]}")
    return found[1]
