"""What is measured of each system, in turns with the others."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.host import mails
from benchmarks.host.mailbox import HEADERS
from benchmarks.host.watch import MEGABYTE, Watch
from benchmarks.peers.processes import processes, tree_ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.host.sink import Sink
    from benchmarks.mailhost.imap import Session
    from benchmarks.peers.systems import Mails, System

RECEIVING = 20  # mailboxes that receive at once
SUBMITTED = 10  # messages in a second of the busy time
EVERY = 0.03  # seconds between two questions for a mailbox's count
PATIENCE = 180.0  # seconds for messages that were accepted to be in their mailboxes
SPARE = 75.0  # seconds after logins: Dovecot keeps the processes that served them for a minute
LOOK = 0.1  # seconds between two looks whether a system rests
AT_REST = 0.05  # seconds of processor time within a second
TOO_LONG = 60.0  # seconds that one system may take of all notices
SEARCHED = (300, 700, 1100)  # ranks of the words that are searched for


def local_part(number: int) -> str:
    """Return the local part of the user with this number, from 1."""
    return f"user{number:02d}"


def receiver(number: int) -> str:
    """Return the receiving users in turn."""
    return local_part(number % RECEIVING + 1)


def some(count: int, size: int, first: int) -> Mails:
    """Return messages for the receiving users in turn, none like another."""
    return [(receiver(number), mails.mail(first + number, size)) for number in range(count)]


def written(number: int) -> bytes:
    """Return a message of a local user, in the name of that user."""
    head, _, rest = mails.mail(4_000_000 + number).partition(b"\r\n")
    assert head.startswith(b"From: "), head
    return b"From: user01@example.org\r\n" + rest


async def _count(session: Session) -> int:
    answers = await session.command("STATUS INBOX (MESSAGES)")
    line = next(answer for answer in answers if b"MESSAGES" in answer)
    return int(line.rsplit(b"MESSAGES", 1)[1].strip(b" )\r\n"))


@dataclass(frozen=True, slots=True)
class Intake:
    """Messages in a second, and the processor's milliseconds of each in the system's containers."""

    speed: float
    sustained: float  # messages in a second until nothing is left to do: they are indexed, too
    processor: float
    dovecot: float  # of it Dovecot's processes; 0 without Dovecot


async def intake(system: System, count: int, size: int, run: str, first: int) -> Intake:
    """Measure from the first connection until all messages are in their mailboxes.

    The processor's time is counted until the system rests: what it indexes later is part of it.
    """
    prepared = system.prepare(run, some(count, size, first))
    sessions = [await system.session(local_part(n)) for n in range(1, RECEIVING + 1)]
    try:
        wanted = [await _count(session) + count // RECEIVING for session in sessions]
        os.sync()
        used, stored = processor_seconds(system), dovecot_seconds(system)
        begun = time.monotonic()
        await system.send(prepared)
        for session, number in zip(sessions, wanted, strict=True):
            while await _count(session) < number:
                if time.monotonic() - begun > PATIENCE:
                    raise TimeoutError(f"{system.name}: messages are missing after {PATIENCE} s")
                await asyncio.sleep(EVERY)
        taken = time.monotonic() - begun
        rested = await at_rest(system) - begun
        each = 1000 / count
        return Intake(
            count / taken,
            count / max(taken, rested),
            (processor_seconds(system) - used) * each,
            (dovecot_seconds(system) - stored) * each,
        )
    finally:
        for session in sessions:
            session.close()


async def notices(systems: Sequence[System], samples: int) -> dict[str, list[float]]:
    """Measure seconds from the sender's last octet to the notice in IDLE, each system in turn."""
    waiting: dict[str, list[Session]] = {}
    taken: dict[str, list[float]] = {system.name: [] for system in systems}
    for system in systems:
        waiting[system.name] = []
        for number in range(1, RECEIVING + 1):
            session = await system.session(local_part(number))
            await session.idle()
            waiting[system.name].append(session)
    prepared = {
        system.name: [
            system.prepare(f"notice{n}", [(receiver(n), mails.mail(9_000_000 + n))])
            for n in range(samples)
        ]
        for system in systems
    }
    await asyncio.sleep(2.5)  # ours hibernates an idle session after a second
    try:
        for sample in range(samples):
            for system in systems:
                if sum(taken[system.name]) > TOO_LONG:
                    continue  # it asks its mailboxes now and then: a few samples say so
                client = await system.last_octet(prepared[system.name][sample])
                heard = asyncio.create_task(waiting[system.name][sample % RECEIVING].notice())
                await asyncio.sleep(0.02)
                begun = time.monotonic()
                client.end()
                accepted = asyncio.create_task(client.accepted())
                taken[system.name].append(await asyncio.wait_for(heard, 90) - begun)
                await accepted
                await client.close()
    finally:
        for session in (one for each in waiting.values() for one in each):
            session.close()
    return taken


def anonymous(system: System) -> float:
    """Return the MB that cannot be reclaimed, of all containers of a system."""
    return sum(box.usage().anonymous() for box in system.containers.values()) / MEGABYTE


def processor_seconds(system: System) -> float:
    """Return the processor time of all its containers since they were started."""
    return sum(box.usage().processor_seconds() for box in system.containers.values())


async def at_rest(system: System) -> float:
    """Wait until its containers have rested for a second; return since when. Raise TimeoutError."""
    end = time.monotonic() + PATIENCE
    since, before = time.monotonic(), processor_seconds(system)
    while time.monotonic() - since < 1:
        if time.monotonic() > end:
            raise TimeoutError(f"{system.name} still computes after {PATIENCE} s")
        await asyncio.sleep(LOOK)
        now = processor_seconds(system)
        if now - before > AT_REST * LOOK:
            since = time.monotonic()
        before = now
    return since


def dovecot_seconds(system: System) -> float:
    """Return the processor time of Dovecot's processes, ended ones included."""
    if "dovecot" in system.containers:
        return system.containers["dovecot"].usage().processor_seconds()
    found = processes(box.usage() for box in system.containers.values())
    return tree_ticks(found, "dovecot") / os.sysconf("SC_CLK_TCK")


async def memory(
    system: System, sink: Sink, clients: int, seconds: float, run: str
) -> dict[str, float]:
    """Measure MB at rest, with clients in IDLE, and the most of a busy time with both."""
    found = {"rest": anonymous(system)}
    sessions: list[Session] = []
    for number in range(1, clients + 1):
        sessions.append(await system.session(local_part(number)))
        await sessions[-1].idle()
    await asyncio.sleep(SPARE)
    found["idle"] = anonymous(system)
    batch = 100
    ready = [
        system.prepare(f"{run}-{turn}", some(batch, 4096, 2_000_000 + turn * batch))
        for turn in range(int(seconds) + 1)
    ]
    with Watch(**system.containers) as watch:
        end = time.monotonic() + seconds
        for prepared in ready:  # about a hundred a second, if it keeps up
            begun = time.monotonic()
            await asyncio.gather(
                system.send(prepared),
                system.submit([("", written(number)) for number in range(SUBMITTED)]),
                _look(system),
            )
            await _passed(system, sink, SUBMITTED)
            await asyncio.sleep(max(0.0, 1 - (time.monotonic() - begun)))
            if time.monotonic() > end:
                break
    found["busy"] = sum(used.anonymous for used in watch.used.values())
    for session in sessions:
        session.close()
    # Before, something may have lasted of what was measured then.
    await asyncio.sleep(SPARE)
    found["rest"] = min(found["rest"], anonymous(system))
    return found


async def _look(system: System) -> None:
    session = await system.session(local_part(1))
    await session.command("SELECT INBOX")
    await session.command("FETCH 1:* (FLAGS)")
    await session.command(f"UID SEARCH BODY {mails.word(300)}")
    session.close()


async def mailbox(system: System) -> dict[str, Any]:
    """Measure milliseconds of what a client asks for in the big mailbox."""
    session = await system.session("big")
    found: dict[str, Any] = {"select": []}
    answers: list[bytes] = []
    for _ in range(20):
        taken, answers = await session.timed("SELECT INBOX")
        found["select"].append(taken * 1000)
        await session.command("CLOSE")
    answers = await session.command("SELECT INBOX")
    exists = next(line for line in answers if line.endswith(b"EXISTS\r\n"))
    count = int(exists.split()[1])
    found["messages"] = count
    found["headers"] = []
    for _ in range(20):
        taken, answers = await session.timed(f"FETCH {count - 99}:{count} {HEADERS}")
        assert sum(line.startswith(b"* ") for line in answers) >= 100, answers
        found["headers"].append(taken * 1000)
    found["search_first"], found["search_again"], found["hits"] = [], [], []
    for rank in SEARCHED:
        for times in ("search_first", "search_again"):
            taken, answers = await session.timed(f"UID SEARCH BODY {mails.word(rank)}")
            found[times].append(taken * 1000)
        hits = next(line for line in answers if line.upper().startswith(b"* SEARCH"))
        found["hits"].append(len(hits.split()) - 2)
    session.close()
    return found


def octets(system: System) -> int:
    """Return the octets of disk that a system's mailboxes take, with indexes."""
    found = 0
    for folder in system.folders:
        for path in folder.rglob("*"):
            try:
                found += path.lstat().st_blocks * 512
            except OSError:  # renamed meanwhile
                continue
    return found


async def relay(system: System, sink: Sink, count: int) -> float:
    """Measure messages a second from a local user to the endpoint outside."""
    work = [("", written(number)) for number in range(count)]
    os.sync()
    begun = time.monotonic()
    await system.submit(work)
    return count / (await _passed(system, sink, count) - begun)


async def _passed(system: System, sink: Sink, count: int) -> float:
    """Wait until the endpoint outside has that many more; return the time. Raise TimeoutError."""
    waiting = asyncio.create_task(asyncio.to_thread(sink.await_more, count))
    done, _ = await asyncio.wait([waiting], timeout=PATIENCE)
    if not done:
        sink.give_up()
        raise TimeoutError(f"{system.name}: does not relay what it has accepted")
    return waiting.result()
