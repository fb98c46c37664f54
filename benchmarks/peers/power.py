"""What a power cut loses of the messages that a system has acknowledged.

A system in a virtual machine takes messages over four connections; each that it acknowledged is
recorded outside. Of some moments it is known what its disk had been told to write until then. Up
to the last flush, that is the disk after a power cut if its cache forgets.
Each of these disks boots the system again, which finishes its queue. Then every acknowledged
message must be in a mailbox.

Needs `tests` in the Python path. Fails by AssertionError.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.mailhost.engine import ROOT
from benchmarks.peers.definitions import OURS, PEERS
from benchmarks.peers.machine import (
    DISK_MB,
    PATIENCE,
    SENDER,
    USERS,
    OurMachine,
    PeerMachine,
    RefusedError,
    certificate,
    on_disk,
)
from host.guest import Volume
from host.write_log import replay

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.peers.machine import Machine

CONNECTIONS = 4
BETWEEN = 40  # messages acknowledged, at least, from one cut to the next
LONGEST = 6.0  # seconds more, by chance: the file system commits every five
SEED = 18
SIZE = 4096
SETTLED = 3  # looks at the mailboxes without news after which nothing more comes
LABEL = "cut"


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment of a run: how many messages were acknowledged, how long the log of writes was."""

    acknowledged: int
    log: int


@dataclass(frozen=True, slots=True)
class Cut:
    """What was found after a power cut, in messages."""

    acknowledged: int
    missing: int  # in no mailbox and no queue
    hidden: int  # of these: in a file that no mailbox shows
    twice: int
    queued: int  # still, after all patience


def message(number: int) -> bytes:
    """Return the message of this number."""
    line = b"The quick brown fox jumps over the lazy dog again and again.\r\n"
    head = (
        f"From: {SENDER}\r\nTo: a@example.org\r\nSubject: {LABEL}-{number}\r\n"
        f"Message-ID: <{LABEL}-{number}@sender.example>\r\n\r\n"
    )
    return head.encode() + line * (SIZE // len(line))


async def feed(
    machine: Machine, count: int, written: Callable[[], int]
) -> tuple[list[str], list[Moment]]:
    """Send messages until `count` moments are recorded; return the subjects acknowledged."""
    chance = random.Random(SEED)
    acknowledged: list[str] = []
    moments: list[Moment] = []
    numbers = iter(range(1_000_000))

    async def work() -> None:
        while True:
            client = await machine.open()
            for _ in range(5):
                number = next(numbers)
                await client.begin(SENDER, machine.recipient(number % USERS), message(number))
                client.end()
                await client.accepted()
                acknowledged.append(f"{LABEL}-{number}")
            await client.close()

    workers = [asyncio.create_task(work()) for _ in range(CONNECTIONS)]
    try:
        while len(moments) < count:
            wanted = len(acknowledged) + BETWEEN
            while len(acknowledged) < wanted:
                for worker in workers:
                    if worker.done():
                        worker.result()
                await asyncio.sleep(0.05)
            await asyncio.sleep(chance.uniform(0, LONGEST))
            # In this order: what has been acknowledged is in the log.
            known = len(acknowledged)
            moments.append(Moment(known, written()))
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return acknowledged, moments


def settled(machine: Machine, say: Callable[[str], None]) -> tuple[Counter[str], int]:
    """Wait until the queue is empty and nothing more comes; return subjects and what is queued.

    A mailbox that cannot be opened is tried again, as a client does.
    """
    end, same, last = time.monotonic() + PATIENCE, 0, Counter[str]()
    while True:
        try:
            queued, found = machine.queued(), Counter(machine.subjects())
        except RefusedError as error:
            say(f"{error}: {machine.guest.journal('--boot --priority=info | tail -n 30')}")
            if time.monotonic() > end:
                raise
            time.sleep(1)
            continue
        same = same + 1 if found == last else 0
        last = found
        if (queued == 0 and same >= SETTLED) or time.monotonic() > end:
            return found, queued
        time.sleep(1)


def judged(expected: Sequence[str], found: Counter[str], queued: int, files: set[str]) -> Cut:
    """Compare what was acknowledged with what is there."""
    absent = [subject for subject in expected if subject not in found]
    return Cut(
        acknowledged=len(expected),
        missing=max(0, len(absent) - queued),
        hidden=sum(subject in files for subject in absent) if not queued else 0,
        twice=sum(count > 1 for count in found.values()),
        queued=queued,
    )


def cuts(name: str, count: int, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Feed one system, and boot it again from each disk that a cut would have left."""
    (ROOT / ".build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / ".build", prefix="power-") as scratch:
        directory = Path(scratch)
        certificate(directory)
        blank = Volume.blank(directory / "blank.img", DISK_MB).file
        subprocess.run(["mke2fs", "-q", "-t", "ext4", blank], check=True)
        log = directory / "writes.log"
        log.touch()
        disk = Volume(_copied(blank, directory / "data.img"), "data", log=log)
        with _machine(name, directory, disk) as machine:
            say(f"{name} runs in a virtual machine: {machine.versions()}")

            acknowledged, moments = asyncio.run(feed(machine, count, lambda: log.stat().st_size))
            machine.guest.finish_writes()
        found: list[dict[str, Any]] = []
        for moment in moments:
            left = _copied(blank, directory / "left.img")
            writes = replay(log, moment.log, left)
            # Recorded again, in a log that nobody reads: the guest sees the same kind of disk.
            again = directory / "again.log"
            again.unlink(missing_ok=True)
            again.touch()
            with _machine(name, directory, Volume(left, "data", log=again)) as machine:
                cut = judged(
                    acknowledged[: moment.acknowledged],
                    *settled(machine, say),
                    on_disk(machine.guest, LABEL),
                )
            found.append(asdict(cut) | {"writes": writes})
            say(f"{name}: {found[-1]}")
        return found


def _machine(name: str, directory: Path, disk: Volume) -> OurMachine | PeerMachine:
    if name == OURS:
        return OurMachine(directory, disk)
    return PeerMachine(next(peer for peer in PEERS if peer.name == name), directory, disk)


def _copied(source: Path, target: Path) -> Path:
    target.unlink(missing_ok=True)
    subprocess.run(["cp", "--sparse=always", source, target], check=True)
    return target
