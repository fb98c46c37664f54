"""The parts of one mail host, and what strikes them.

A part that is down already is not struck again: the outage waits for the next transaction. What was
killed is started again after the outage's pause, `deliver` also when it ended by itself, as ECS
would do it; that is remembered as a crash.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import Counter, defaultdict, deque
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.mailhost.deliver_service import DIRECTORY_KEY, Process, environment
from benchmarks.mailhost.engine import Container, ControlGroup
from benchmarks.mailhost.host import VMAIL, Place, dovecot, start_dovecot
from tests.chaos.disks import Disk
from tests.chaos.filters import SCRIPTS
from tests.chaos.plan import DIRECTORY, Outage, PlannedOutage, Stage, directory
from tests.chaos.postfix import Postfix
from tests.chaos.proxy import Proxy
from tests.chaos.relay import Relay
from tests.chaos.shards import Blind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.chaos.site import Site

SETTINGS = {
    # An unknown outcome is asked about after this; Dovecot is never that slow here.
    "PLEXUS_UNKNOWN_SECONDS": "4",
    "PLEXUS_DIRECTORY_SECONDS": "5",
}
# The part that an outage strikes. Those without a number are of all hosts.
PARTS = {
    Outage.KILL_DELIVER: "deliver {}",
    Outage.STOP_DELIVER: "deliver {}",
    Outage.KILL_DOVECOT: "dovecot {}",
    Outage.KILL_LMTP: "dovecot {}",
    Outage.KILL_AWS: "aws",
    Outage.KILL_POSTFIX: "postfix {}",
    Outage.FILL_MAIL: "mail store",
    Outage.FILL_STATE: "deliver's disk {}",
    Outage.MOVE: "directory",
    Outage.PARTITION: "way to S3 {}",
    Outage.STALE_DIRECTORY: "way to S3 {}",
    Outage.SUSPEND_DELIVER: "deliver {}",
    Outage.SUSPEND_DOVECOT: "dovecot {}",
    Outage.FILL_INDEXES: "indexes' disk {}",
}
_SIGNALS = {Outage.KILL_DELIVER: signal.SIGKILL, Outage.STOP_DELIVER: signal.SIGTERM}
_INDEXES_MEGABYTES = 64


class HostError(Exception):
    """A part did not come back after an outage, so the run cannot go on."""


class Host:
    """Dovecot, proxy, Postfix, disks and `deliver` of one host of a run."""

    def __init__(self, site: Site, number: int, arguments: Sequence[str]) -> None:
        self.number = number
        self._site = site
        self._suffix = "" if number == 1 else f"-{number}"
        self._arguments = arguments
        self.place = Place(site.root / f"host{self._suffix}")
        self.place.make()
        if number > 1:
            # All hosts mount one file system.
            self.place.mail.rmdir()
            self.place.mail.symlink_to(site.root / "host" / "mail")
        self.postfix = Postfix(self.place.postfix / "inject.sock")
        self.filters = Postfix(self.place.sieve / "sieve.sock")
        mails = {mail.number: mail for mail in site.plan.mails}
        self.proxy = Proxy(self.place.root / "lmtp.sock", self.place.lmtp, mails, self._reached)
        self.relay = Relay(lambda: site.stub.port, DIRECTORY_KEY.encode())
        self._disks: dict[Outage, Disk] = {}
        self._box: Container | None = None
        self._process: Process | None = None
        self._dovecot_pid = 0
        self._waiting: dict[Stage, deque[PlannedOutage]] = defaultdict(deque)
        for outage in site.plan.outages:
            if outage.host == number:
                self._waiting[outage.stage].append(outage)
        self.outages: Counter[str] = Counter()
        self.crashes: list[str] = []
        self.stops: list[float] = []  # seconds that SIGTERM took
        self.blind: list[Blind] = []

    @property
    def box(self) -> Container:
        """Dovecot's container."""
        assert self._box is not None, "it is made when its disks are mounted"
        return self._box

    def make(self, stack: contextlib.ExitStack) -> None:
        """Mount the disks, and create Dovecot's container. Raises EngineError."""
        memory = self._mount(stack)
        self._box = self._dovecot(memory)
        stack.callback(self.box.remove)
        log = self._site.root / f"dovecot{self._suffix}.log"
        stack.callback(lambda: log.write_text(self.box.logs()))
        if self.number == 1:
            self._write_filters()

    async def open(self, stack: contextlib.ExitStack) -> None:
        """Start what is beside Dovecot, which runs."""
        self._dovecot_pid = self.box.pid
        await self.proxy.open()
        await self.relay.open()
        stack.callback(self.relay.close)
        await self.postfix.open()
        stack.callback(self.postfix.kill)
        await self.filters.open()
        stack.callback(self.filters.kill)
        self._process = self._courier()
        self._deliver.start()
        stack.callback(self._deliver.kill)
        watch = asyncio.create_task(self._watch())
        stack.callback(watch.cancel)

    async def end_deliver(self) -> None:
        """SIGTERM; nothing comes to Dovecot any more."""
        self._site.down.add(self._part(Outage.KILL_DELIVER))
        begun = time.monotonic()
        await asyncio.to_thread(self._deliver.stop)
        self.stops.append(time.monotonic() - begun)
        await self.proxy.close()

    def _mount(self, stack: contextlib.ExitStack) -> str:
        """Mount the disks that will be full. Return the memory of Dovecot's container."""
        plan = self._site.plan
        kinds = {outage.what for outage in plan.outages}
        volume = sum(mail.size * len(mail.expected) for mail in plan.mails)
        megabytes = 0
        if Outage.FILL_MAIL in kinds:
            size = 64 + 3 * volume // 2**20
            megabytes += size
            if self.number == 1:
                self._disks[Outage.FILL_MAIL] = Disk(self.place.mail, size)
            else:
                self._disks[Outage.FILL_MAIL] = self._site.hosts[0].disk(Outage.FILL_MAIL)
        if Outage.FILL_INDEXES in kinds:
            megabytes += _INDEXES_MEGABYTES
            self._disks[Outage.FILL_INDEXES] = Disk(self.place.indexes, _INDEXES_MEGABYTES)
        if Outage.FILL_STATE in kinds:
            self._disks[Outage.FILL_STATE] = Disk(self.place.deliver, 64)
        for what, disk in self._disks.items():
            if self.number == 1 or what is not Outage.FILL_MAIL:
                stack.callback(disk.unmount)
        # What lies on a tmpfs counts as memory of whoever wrote it.
        return f"{(96 if megabytes else 128) + megabytes}m"

    def disk(self, what: Outage) -> Disk:
        """Return the disk that an outage fills."""
        return self._disks[what]

    def _dovecot(self, memory: str) -> Container:
        name, between = f"{self._site.name}{self._suffix}", self._site.between
        if between is None:
            self.place.keep(DIRECTORY)
            return dovecot(name, self.place, memory=memory)
        self.place.keep(directory(self._site.homes, between.hosts))
        self._site.certify(self)
        own = between.hosts[self.number - 1]
        return dovecot(
            name,
            self.place,
            memory=memory,
            environment={
                "PLEXUS_HOSTNAME": own.name,
                "PLEXUS_SHARD": str(self.number),
                "PLEXUS_PEERS": " ".join(each.address for each in between.hosts),
            },
            options=[
                *("--network", between.network.name, "--ip", own.address),
                # As an interface of EC2, which keeps its own whatever instance has it.
                f"--mac-address=02:00:00:00:03:{self.number:02x}",
                f"--volume={between.authority.file}:/etc/ssl/certs/ca-certificates.crt:ro",
            ],
        )

    def _write_filters(self) -> None:
        for address, script in SCRIPTS.items():
            name, _, domain = address.partition("@")
            home = self.place.mail / domain / name
            # As ManageSieve leaves them: without the folder each name would be the active script.
            scripts = home / "sieve"
            scripts.mkdir(parents=True)
            (scripts / "filter.sieve").write_text(script)
            (home / ".dovecot.sieve").symlink_to("sieve/filter.sieve")
            for path in (home.parent, home, scripts, *scripts.iterdir()):
                os.chown(path, VMAIL, VMAIL)

    @property
    def _deliver(self) -> Process:
        assert self._process is not None, "the stub's address is known only when it runs"
        return self._process

    def _courier(self) -> Process:
        stub, between = self._site.stub, self._site.between
        of_shard = (
            {
                "PLEXUS_SHARD": str(self.number),
                "PLEXUS_HOSTNAME": between.hosts[self.number - 1].name,
                "PLEXUS_QUEUE_URL": stub.queue_url(f"mail{self._suffix}"),
                "PLEXUS_DEAD_LETTER_QUEUE_URL": stub.queue_url(f"dead-letters{self._suffix}"),
                "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{self.relay.port}",
            }
            if between
            else {}
        )
        return Process(
            self.place,
            {
                **environment(stub),
                "PLEXUS_EVENTS_QUEUE_URL": stub.queue_url(f"events{self._suffix}"),
                "PLEXUS_CONFIGURATION_SET": "chaos",
                **SETTINGS,
                **of_shard,
            },
            lmtp=self.place.root / "lmtp.sock",
            log=self._site.root / f"deliver{self._suffix}.log",
            arguments=self._arguments,
        )

    def _part(self, what: Outage) -> str:
        return PARTS[what].format(self.number)

    # --- outages

    async def _reached(self, transaction: int, stage: Stage) -> None:
        waiting = self._waiting[stage]
        if waiting and waiting[0].transaction <= transaction:
            outage = waiting.popleft()
            if not self._strike(outage):
                # Its target is down already: at the next transaction, then.
                waiting.appendleft(outage)

    def _strike(self, outage: PlannedOutage) -> bool:
        """Begin an outage; False where the part that it would hit is down already."""
        part = self._part(outage.what)
        is_of_deliver = part == self._part(Outage.KILL_DELIVER)
        if part in self._site.down or (is_of_deliver and not self._deliver.running):
            return False
        match outage.what:
            case Outage.KILL_DELIVER | Outage.STOP_DELIVER:
                os.kill(self._deliver.pid, _SIGNALS[outage.what])
                work = self._restart_deliver(outage)
            case Outage.SUSPEND_DELIVER:
                work = _suspend([self._deliver.pid], outage)
            case Outage.KILL_DOVECOT:
                os.kill(self._dovecot_pid, signal.SIGKILL)
                work = self._restart_dovecot(outage)
            case Outage.SUSPEND_DOVECOT:
                work = _suspend(ControlGroup.of(self._dovecot_pid).processes(), outage)
            case Outage.KILL_LMTP:
                self._kill_lmtp()
                work = None
            case Outage.KILL_AWS:
                self._site.stub.kill()
                work = self._site.restart_aws(outage.pause)
            case Outage.KILL_POSTFIX:
                self.postfix.kill()
                self.filters.kill()
                work = self._restart_postfix(outage)
            case Outage.FILL_MAIL | Outage.FILL_STATE | Outage.FILL_INDEXES:
                disk = self._disks[outage.what]
                disk.fill()
                work = self._give_room(disk, outage)
            case Outage.PARTITION | Outage.STALE_DIRECTORY:
                self.relay.cut(content=outage.what is Outage.PARTITION)
                work = self._mend_way(outage, time.time())
            case Outage.MOVE:
                self._site.move(outage.mailbox)
                work = None
        if work is not None:
            self._site.later(part, work)
        self.outages[outage.what.value] += 1
        self._site.event(str(outage))
        return True

    async def _restart_deliver(self, outage: PlannedOutage) -> None:
        process = self._deliver
        begun = time.monotonic()
        end = process.stop if outage.what is Outage.STOP_DELIVER else process.kill
        await asyncio.to_thread(end)
        if outage.what is Outage.STOP_DELIVER:
            self.stops.append(time.monotonic() - begun)
        await asyncio.sleep(outage.pause)
        process.start()

    async def _mend_way(self, outage: PlannedOutage, begun: float) -> None:
        await asyncio.sleep(outage.pause)
        self.blind.append(Blind(self.number, begun, time.time()))
        self.relay.mend()
        self._site.event(f"host {self.number} reaches S3 again")

    async def _restart_dovecot(self, outage: PlannedOutage) -> None:
        # A killed server's socket refuses connections; every other time it hangs up at once.
        refuses = outage.transaction % 2 == 0
        if refuses:
            await self.proxy.close()
        await asyncio.to_thread(self.box.wait)
        await asyncio.sleep(outage.pause)
        await asyncio.to_thread(start_dovecot, self.box, self.place)
        self._dovecot_pid = self.box.pid
        if refuses:
            await self.proxy.open()

    def _kill_lmtp(self) -> None:
        for pid in ControlGroup.of(self._dovecot_pid).processes():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text().strip() == "lmtp":
                    os.kill(pid, signal.SIGKILL)

    async def _restart_postfix(self, outage: PlannedOutage) -> None:
        await asyncio.sleep(outage.pause)
        await self.postfix.open()
        await self.filters.open()

    async def _give_room(self, disk: Disk, outage: PlannedOutage) -> None:
        await asyncio.sleep(outage.pause * 2)
        disk.empty()

    async def _watch(self) -> None:
        """Start `deliver` again when it ends by itself, as ECS would, and remember that it did."""
        while True:
            await asyncio.sleep(0.2)
            process = self._deliver
            if self._part(Outage.KILL_DELIVER) in self._site.down or process.running:
                continue
            what = f"deliver {self.number} ended by itself with status {process.status}"
            self._site.event(what)
            self.crashes.append(what)
            await asyncio.sleep(0.5)
            process.start()


async def _suspend(pids: Sequence[int], outage: PlannedOutage) -> None:
    """Stop processes, which know nothing of it, and let them go on."""
    for number, pause in ((signal.SIGSTOP, outage.pause), (signal.SIGCONT, 0.0)):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        await asyncio.sleep(pause)
