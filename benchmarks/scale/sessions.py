"""IMAP sessions of a host: the memory of each that is quiet, how many there may be, and their work.

Each session is a user's client in IDLE over TLS, in the product's Dovecot with the memory limit of
its task definition. At the end, more clients come than Dovecot takes.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.aws_stub.objects import mail_of
from benchmarks.deliver.bed import HEAD, named
from benchmarks.mailhost.engine import EngineError
from benchmarks.mailhost.host import PASSWORD, Place, dovecot, start_dovecot, trusting
from benchmarks.mailhost.imap import Session
from benchmarks.mailhost.lmtp import deliver_all
from postal_plexus.config.host_memory import Memory, memory_of
from postal_plexus.directory import Directory, Domain, Mailbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.mailhost.engine import Container, ControlGroup

MEGABYTE = 1024 * 1024
# Limits of Dovecot on a t4g.nano and a t4g.small, in MB, and the quiet sessions at
# which memory is measured. The last step is near what Dovecot then takes (containers/dovecot/room).
STEPS = {
    Memory().dovecot: (100, 490),
    memory_of("t4g.small").dovecot: (100, 1250),
}
MORE = 40  # beyond the last step
# One of so many MB is a busy client that Dovecot serves at a time: half of them come together.
MB_A_PROCESS = 5
ACTIVE = 60
SIZE = 4096


def user(number: int) -> str:
    """Return the address of a user."""
    return f"user{number}@example.org"


def measure(
    root: Path, memory: int, steps: tuple[int, ...], say: Callable[[str], None]
) -> dict[str, Any]:
    """Return the figures of a Dovecot with so many MB; `root` must not exist."""
    root.mkdir(parents=True)
    place = Place(root)
    place.make()
    users = steps[-1] + MORE + ACTIVE
    password = f"{{PLAIN}}{PASSWORD}"
    place.keep(
        Directory((Domain("example.org"),), tuple(Mailbox(user(n), password) for n in range(users)))
    )
    box = dovecot(named("dovecot"), place, memory=f"{memory}m")
    try:
        start_dovecot(box, place)
        return asyncio.run(_measure(box, place, memory, steps, say))
    finally:
        box.remove()
        shutil.rmtree(root)


async def _measure(
    box: Container,
    place: Place,
    memory: int,
    steps: tuple[int, ...],
    say: Callable[[str], None],
) -> dict[str, Any]:
    group, port, trust = box.usage(), box.port(993), trusting(place)
    await asyncio.sleep(2)
    rows = [{"sessions": 0, "mb": group.anonymous() / MEGABYTE, "all_mb": group.now() / MEGABYTE}]
    sessions: list[Session] = []
    at_once = memory // MB_A_PROCESS // 2
    found: dict[str, Any] = {}
    for step in steps:
        while len(sessions) < step:
            await _rest(group, at_once)
            for _ in range(min(at_once, step - len(sessions))):
                sessions.append(await Session.open(port, trust, user(len(sessions)), PASSWORD))
                await sessions[-1].idle()
        await _rest(group, 2)
        rows.append(
            {
                "sessions": step,
                "mb": group.anonymous() / MEGABYTE,
                "all_mb": group.now() / MEGABYTE,
            }
        )
        say(f"{step} sessions: {rows[-1]['mb']:.1f} MB")
        if step == steps[0]:
            found |= await _work(box, place, sessions[:ACTIVE], steps[-1] + MORE)
            say(f"a client's work for a message: {found['client_ms']:.2f} ms")
    found["store_locks"] = locks_below(place.mail)
    beyond = refused = 0
    # A client that is not let in hears nothing, and two such are enough.
    while beyond < MORE and refused < 2:
        try:
            async with asyncio.timeout(10):
                name = user(steps[-1] + beyond)
                sessions.append(await Session.open(port, trust, name, PASSWORD))
                await sessions[-1].idle()
                beyond += 1
        except (ConnectionError, OSError, TimeoutError):
            refused += 1
    await asyncio.sleep(3)
    alive = sum([not await session.ended() for session in sessions])
    quiet = (rows[-1]["mb"] - rows[1]["mb"]) / (steps[-1] - steps[0])
    found |= {
        "steps": [{name: round(value, 2) for name, value in row.items()} for row in rows],
        "session_mb": round(quiet, 4),
        "most": steps[-1] + beyond,
        "asked": steps[-1] + MORE,
        "alive": alive,
        "killed": group.killed(),
    }
    for session in sessions:
        session.close()
    say(
        f"{found['most']} of {found['asked']} got in, {alive} are there; {quiet * 1000:.0f} KB each"
    )
    return found


async def _rest(group: ControlGroup, processes: int) -> None:
    """Wait until clients hibernate, and few processes are left that serve one each."""
    end = time.monotonic() + 60
    while len(group.processes_of(b"/imap\0")) > processes:
        if time.monotonic() > end:
            raise EngineError("clients in IDLE do not hibernate")
        await asyncio.sleep(0.3)


def locks_below(folder: Path) -> int:
    """Return how many locks processes hold on files below a directory.

    EFS allows 8,192 for each mount: https://docs.aws.amazon.com/efs/latest/ug/limits.html.
    """
    files = {path.stat().st_ino for path in folder.rglob("*") if path.is_file()}
    lines = Path("/proc/locks").read_text().splitlines()
    # "1: POSIX ADVISORY WRITE 4711 fe:01:131 0 EOF"; a waiting one has "->" after its number.
    places = [word for line in lines for word in line.split() if word.count(":") == 2]
    return sum(int(place.rpartition(":")[2]) in files for place in places)


async def _work(
    box: Container, place: Place, sessions: list[Session], first_absent: int
) -> dict[str, float]:
    """Return the processor time of a message to nobody's client, and what a client adds."""
    group = box.usage()
    content = b"".join(mail_of(SIZE, HEAD.encode()).blocks(0, SIZE))
    absent = [user(first_absent + n) for n in range(ACTIVE)]
    present = [user(n) for n in range(ACTIVE)]
    # The first message of a mailbox costs several times as much, for either.
    await deliver_all(place.lmtp, ((name, content) for name in absent + present), 3)
    await _react(sessions, 1)
    await _settle(group.processor_seconds)
    used: list[float] = []
    for names, clients in ((absent, []), (present, sessions)):
        before = group.processor_seconds()
        await deliver_all(place.lmtp, ((name, content) for name in names), 3)
        await _react(clients, 2)
        await _settle(group.processor_seconds)
        used.append((group.processor_seconds() - before) / ACTIVE * 1000)
    return {"delivery_ms": round(used[0], 2), "client_ms": round(used[1] - used[0], 2)}


async def _react(sessions: list[Session], number: int) -> None:
    """Let each client fetch its new message, mark it as read, and go back to IDLE."""

    async def one(session: Session) -> None:
        await session.notice()
        await session.done()
        await session.command(f"FETCH {number} (FLAGS ENVELOPE BODY.PEEK[])")
        await session.command(f"STORE {number} +FLAGS (\\Seen)")
        await session.resume()

    async with asyncio.timeout(60):
        await asyncio.gather(*map(one, sessions))


async def _settle(seconds: Callable[[], float]) -> None:
    """Wait until Dovecot has indexed what came, for ten seconds at most."""
    end, before = time.monotonic() + 10, seconds()
    while time.monotonic() < end:
        await asyncio.sleep(0.5)
        now = seconds()
        if now - before < 0.01:
            return
        before = now
