"""The parts of a run's mail host, and what strikes them.

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
from typing import TYPE_CHECKING, Any

from benchmarks.aws_stub.process import Stub
from benchmarks.mailhost.courier import BUCKET, DIRECTORY_KEY, Process, environment
from benchmarks.mailhost.engine import ControlGroup
from benchmarks.mailhost.host import VMAIL, Place, dovecot, start_dovecot
from tests.chaos.disks import Disk
from tests.chaos.filters import SCRIPTS
from tests.chaos.plan import DIRECTORY, Outage, Plan, PlannedOutage, Stage
from tests.chaos.postfix import Postfix
from tests.chaos.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Sequence

VISIBILITY = 120  # seconds, as deliver asks for; shortened like every other wait
HURRY = 60  # SQS's waits beyond PATIENT seconds pass so many times faster
PATIENT = 3
SETTINGS = {
    # An unknown outcome is asked about after this; Dovecot is never that slow here.
    "PLEXUS_UNKNOWN_SECONDS": "4",
    "PLEXUS_DIRECTORY_SECONDS": "5",
}
PARTS = {
    Outage.KILL_DELIVER: "deliver",
    Outage.STOP_DELIVER: "deliver",
    Outage.KILL_DOVECOT: "dovecot",
    Outage.KILL_LMTP: "dovecot",
    Outage.KILL_AWS: "aws",
    Outage.KILL_POSTFIX: "postfix",
    Outage.FILL_MAIL: "mail store",
    Outage.FILL_STATE: "deliver's disk",
}


class HostError(Exception):
    """A part did not come back after an outage, so the run cannot go on."""


class Host:
    """Stub, Dovecot, proxy, Postfix, disks and `deliver` of one run below `root`."""

    def __init__(self, plan: Plan, root: Path, name: str, arguments: Sequence[str]) -> None:
        self._plan = plan
        self._root = root
        self._arguments = arguments
        self.place = Place(root / "host")
        self.place.make()
        self.place.keep(DIRECTORY)
        self._log = (root / "events.log").open("w")
        self._begun = time.monotonic()
        self.stub = Stub(
            *("--state", str(root / "aws"), "--visibility", str(VISIBILITY)),
            *("--hurry", str(HURRY), "--patient", str(PATIENT)),
            queues=("mail", "dead-letters", "events"),
        )
        self.postfix = Postfix(self.place.postfix / "inject.sock")
        self.filters = Postfix(self.place.sieve / "sieve.sock")
        self.box = dovecot(name, self.place)
        mails = {mail.number: mail for mail in plan.mails}
        self.proxy = Proxy(self.place.root / "lmtp.sock", self.place.lmtp, mails, self._reached)
        self._disks: dict[Outage, Disk] = {}
        self._process: Process | None = None
        self._dovecot_pid = 0
        self._waiting: dict[Stage, deque[PlannedOutage]] = defaultdict(deque)
        for outage in plan.outages:
            self._waiting[outage.stage].append(outage)
        self._down: set[str] = set()  # parts that an outage has at this moment
        self._tasks: set[asyncio.Task[None]] = set()
        self._broken: BaseException | None = None
        self.outages: Counter[str] = Counter()
        self.crashes: list[str] = []
        self.stops: list[float] = []  # seconds that SIGTERM took

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Everything is up inside, and gone afterwards. Raises EngineError, StubError."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._log.close)
            stack.callback(self.box.remove)
            try:
                self._mount(stack)
                self._write_filters()
                await asyncio.to_thread(start_dovecot, self.box, self.place)
                self._dovecot_pid = self.box.pid
                stack.enter_context(self.stub)
                await self.proxy.open()
                await self.postfix.open()
                stack.callback(self.postfix.kill)
                await self.filters.open()
                stack.callback(self.filters.kill)
                self.stub.put_object(f"{BUCKET}/{DIRECTORY_KEY}", DIRECTORY.to_json())
                self._process = self._courier()
                self._deliver.start()
                stack.callback(self._deliver.kill)
                watch = asyncio.create_task(self._watch())
                stack.callback(watch.cancel)
                yield
            finally:
                (self._root / "dovecot.log").write_text(self.box.logs())

    def check(self) -> None:
        """Raise HostError if a part did not come back."""
        if self._broken is not None:
            raise HostError(f"an outage went wrong: {self._broken!r}") from self._broken

    def event(self, text: str) -> None:
        """Note something that happened, with its time."""
        self._log.write(f"{time.monotonic() - self._begun:9.3f} {text}\n")
        self._log.flush()

    async def end_deliver(self) -> None:
        """Once all outages are over, SIGTERM; nothing comes to Dovecot any more."""
        await asyncio.gather(*self._tasks)
        self._down.add("deliver")
        begun = time.monotonic()
        await asyncio.to_thread(self._deliver.stop)
        self.stops.append(time.monotonic() - begun)
        await self.proxy.close()

    def _mount(self, stack: contextlib.ExitStack) -> None:
        kinds = {outage.what for outage in self._plan.outages}
        if Outage.FILL_MAIL in kinds:
            volume = sum(mail.size * len(mail.expected) for mail in self._plan.mails)
            megabytes = 64 + 3 * volume // 2**20
            self._disks[Outage.FILL_MAIL] = Disk(self.place.mail, megabytes)
            # What lies on a tmpfs counts as memory of whoever wrote it.
            self.box = dovecot(self.box.name, self.place, memory=f"{96 + megabytes}m")
        if Outage.FILL_STATE in kinds:
            self._disks[Outage.FILL_STATE] = Disk(self.place.deliver, 64)
        for disk in self._disks.values():
            stack.callback(disk.unmount)

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
        return Process(
            self.place,
            {
                **environment(self.stub),
                "PLEXUS_EVENTS_QUEUE_URL": self.stub.queue_url("events"),
                "PLEXUS_CONFIGURATION_SET": "chaos",
                **SETTINGS,
            },
            lmtp=self.place.root / "lmtp.sock",
            log=self._root / "deliver.log",
            arguments=self._arguments,
        )

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
        part = PARTS[outage.what]
        if part in self._down or (part == "deliver" and not self._deliver.running):
            return False
        match outage.what:
            case Outage.KILL_DELIVER:
                os.kill(self._deliver.pid, signal.SIGKILL)
                self._later(part, self._restart_deliver(outage))
            case Outage.STOP_DELIVER:
                os.kill(self._deliver.pid, signal.SIGTERM)
                self._later(part, self._restart_deliver(outage))
            case Outage.KILL_DOVECOT:
                os.kill(self._dovecot_pid, signal.SIGKILL)
                self._later(part, self._restart_dovecot(outage))
            case Outage.KILL_LMTP:
                self._kill_lmtp()
            case Outage.KILL_AWS:
                self.stub.kill()
                self._later(part, self._restart_aws(outage))
            case Outage.KILL_POSTFIX:
                self.postfix.kill()
                self.filters.kill()
                self._later(part, self._restart_postfix(outage))
            case Outage.FILL_MAIL | Outage.FILL_STATE:
                disk = self._disks[outage.what]
                disk.fill()
                self._later(part, self._give_room(disk, outage))
        self.outages[outage.what.value] += 1
        self.event(str(outage))
        return True

    def _later(self, part: str, work: Coroutine[Any, Any, None]) -> None:
        """Do the rest of an outage; nothing else strikes the same part meanwhile."""
        self._down.add(part)
        task = asyncio.create_task(work)
        self._tasks.add(task)

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            self._down.discard(part)
            if not task.cancelled() and task.exception() is not None:
                self._broken = task.exception()

        task.add_done_callback(done)

    async def _restart_deliver(self, outage: PlannedOutage) -> None:
        process = self._deliver
        begun = time.monotonic()
        end = process.stop if outage.what is Outage.STOP_DELIVER else process.kill
        await asyncio.to_thread(end)
        if outage.what is Outage.STOP_DELIVER:
            self.stops.append(time.monotonic() - begun)
        await asyncio.sleep(outage.pause)
        process.start()

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

    async def _restart_aws(self, outage: PlannedOutage) -> None:
        await asyncio.sleep(outage.pause)
        await asyncio.to_thread(self.stub.start)

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
            if "deliver" in self._down or process.running:
                continue
            self.event(f"deliver ended by itself with status {process.status}")
            self.crashes.append(f"deliver ended by itself with status {process.status}")
            await asyncio.sleep(0.5)
            process.start()
