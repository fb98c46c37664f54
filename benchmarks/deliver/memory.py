"""Memory of `deliver`'s container and its start-up, and how both and speed bear a long queue."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.deliver.bed import USERS, named
from benchmarks.mailhost.deliver_service import Boxed, environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.deliver.bed import Bed

MEGABYTE = 1024 * 1024
BIG = 40 * MEGABYTE


@dataclass(frozen=True, slots=True)
class Memory:
    """Of a container's control group at one moment, in MB of 2**20 bytes."""

    peak: float  # the most ever charged, with page cache and kernel memory
    anonymous: float  # what cannot be dropped

    @classmethod
    def of(cls, box: Boxed) -> Memory:
        """Now."""
        group = box.usage()
        return cls(round(group.peak() / MEGABYTE, 2), round(group.anonymous() / MEGABYTE, 2))


@dataclass(frozen=True, slots=True)
class Growth:
    """One length of the queue: what was reached and what remains afterwards."""

    queued: int
    mails_per_second: float
    memory: Memory
    record_bytes: int

    def in_json(self) -> dict[str, Any]:
        """For the results."""
        return asdict(self)


def start_up(bed: Bed, times: int) -> list[float]:
    """Measure the seconds from the start of the container's process to its first receive."""
    taken: list[float] = []
    for _ in range(times):
        bed.stub.post("forget")
        service = Boxed.stamped(named("deliver"), bed.place, environment(bed.stub))
        try:
            service.start()
            first = None
            while first is None:
                time.sleep(0.05)
                figures = bed.stub.get("stats")["queues"]["mail"]
                first = figures["first_receive_call_at"]
            taken.append(first - service.stamp())
        finally:
            service.container.remove()
    return taken


def stages(
    bed: Bed, mails: int, big: int, say: Callable[[str], None], *, cold: bool
) -> dict[str, Memory]:
    """Measure peaks at start, after `mails` small messages, and with `big` ones of 40 MB.

    `cold` empties the page cache before each: then the interpreter's own files are charged to the
    container, as they are after a boot, and not to whoever happened to read them before.
    """
    found: dict[str, Memory] = {}
    for stage, count, size in (("start", 0, 0), ("small", mails, 4096), ("big", big, BIG)):
        bed.place.empty_mailboxes()
        if cold:
            os.sync()
            Path("/proc/sys/vm/drop_caches").write_text("1")
        with bed.service(boxed=True) as service:
            assert isinstance(service, Boxed)
            time.sleep(3)
            if count:
                _, deleted = bed.queue_mails(count, size, USERS)
                bed.await_deleted(deleted, timeout=1800)
            found[stage] = Memory.of(service)
        say(f"memory, {stage}: {found[stage].peak} MB peak, {found[stage].anonymous} MB anonymous")
    return found


def growth(bed: Bed, lengths: list[int], say: Callable[[str], None]) -> list[Growth]:
    """Measure speed, memory and record with ever more messages queued, each in a new container."""
    found: list[Growth] = []
    for queued in lengths:
        bed.place.empty_mailboxes()
        with bed.service(boxed=True) as service:
            assert isinstance(service, Boxed)
            time.sleep(2)
            begun, deleted = bed.queue_mails(queued, 4096, USERS)
            ended = bed.await_deleted(deleted, timeout=3600)
            speed = queued / (ended - begun)
            found.append(Growth(queued, speed, Memory.of(service), bed.place.record_bytes()))
        last = found[-1]
        say(
            f"{queued} queued: {last.mails_per_second:.0f} mails/s, {last.memory.peak} MB peak, "
            f"{last.record_bytes} bytes of record"
        )
    return found
