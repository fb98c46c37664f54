"""One run: feed the mails, let the faults happen, restart what was killed, count at the end.

What happened is written to `events.log` in the run's directory, beside the logs of `deliver` and
Dovecot. Fails by `RunError` where the harness itself cannot go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections import Counter, defaultdict, deque
from dataclasses import astuple, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.aws_stub.notification import Accepted, event, in_sns_envelope, notification
from benchmarks.aws_stub.process import Stub
from benchmarks.mailhost.courier import BUCKET, DIRECTORY_KEY, Process, environment
from benchmarks.mailhost.engine import ControlGroup
from benchmarks.mailhost.host import HOSTNAME, Place, dovecot, greets, start_dovecot, trusting
from tests.chaos import ledger
from tests.chaos.disks import Disk
from tests.chaos.plan import (
    DIRECTORY,
    Outage,
    Plan,
    PlannedEcho,
    PlannedMail,
    PlannedOutage,
    Stage,
)
from tests.chaos.postfix import Postfix
from tests.chaos.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

BACKLOG = 300  # mails queued at most ahead of what is settled
AT_ONCE = 50  # mails fed in one call
VISIBILITY = 120  # seconds, as deliver asks for; shortened like every other wait
HURRY = 20  # SQS's waits beyond PATIENT seconds pass so many times faster
PATIENT = 4
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


class RunError(Exception):
    """The harness cannot go on: something did not start or did not end."""


@dataclass(slots=True)
class Report:
    """What a run came to."""

    judgement: ledger.Judgement
    seconds: float
    transactions: int
    chunked: int
    outages: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)
    crashes: list[str] = field(default_factory=list)
    stops: list[float] = field(default_factory=list)
    most_receives: int = 0
    told: Counter[str] = field(default_factory=Counter)
    told_twice: int = 0  # a lost answer may repeat a dead letter or a bounce: counted, not wrong

    @property
    def good(self) -> bool:
        """Nothing lost, nothing doubled, nothing else wrong."""
        return not self.judgement.faults() and not self.crashes

    def faults_met(self) -> int:
        """Faults that really happened."""
        return sum(self.outages.values()) + sum(self.met.values())


class Run:
    """One plan on one mail host below `root`, which must not exist yet."""

    def __init__(
        self,
        plan: Plan,
        root: Path,
        *,
        name: str = "plexus-chaos-dovecot",
        arguments: Sequence[str] = ("-m", "postal_plexus.deliver"),
        say: Callable[[str], None] = print,
        patience: float = 120,
    ) -> None:
        root.mkdir(parents=True)
        self._plan = plan
        self._root = root
        self._say = say
        self._patience = patience
        self._place = Place(root / "host")
        self._place.make()
        self._place.keep(DIRECTORY)
        self._events = (root / "events.log").open("w")
        self._begun = time.monotonic()
        self._stub = Stub(
            *("--state", str(root / "aws"), "--visibility", str(VISIBILITY)),
            *("--hurry", str(HURRY), "--patient", str(PATIENT)),
            queues=("mail", "dead-letters", "events"),
        )
        self._postfix = Postfix(self._place.postfix / "inject.sock")
        self._box = dovecot(name, self._place)
        self._disks: dict[Outage, Disk] = {}
        self._arguments = arguments
        self._deliver: Process | None = None
        self._down: set[str] = set()  # parts that an outage has at this moment
        self._dovecot_pid = 0
        self._waiting: dict[Stage, deque[PlannedOutage]] = defaultdict(deque)
        for outage in plan.outages:
            self._waiting[outage.stage].append(outage)
        self._tasks: set[asyncio.Task[None]] = set()
        self._broken: BaseException | None = None
        self._report = Report(ledger.Judgement(), 0, 0, 0)
        mails = {mail.number: mail for mail in plan.mails}
        self._proxy = Proxy(self._place.root / "lmtp.sock", self._place.lmtp, mails, self._reached)

    # --- from start to end

    async def go(self) -> Report:
        """Do it all. Raises RunError."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._events.close)
            stack.callback(self._box.remove)
            try:
                self._mount(stack)
                await asyncio.to_thread(start_dovecot, self._box, self._place)
                self._dovecot_pid = self._box.pid
                stack.enter_context(self._stub)
                await self._proxy.open()
                await self._postfix.open()
                stack.callback(self._postfix.kill)
                self._stub.put_object(f"{BUCKET}/{DIRECTORY_KEY}", DIRECTORY.to_json())
                self._deliver = self._process()
                self._deliver.start()
                stack.callback(self._deliver.kill)
                watch = asyncio.create_task(self._watch())
                await self._feed()
                await self._settled()
                watch.cancel()
                await self._stop_deliver()
                await self._proxy.close()
                self._count()
            finally:
                (self._root / "dovecot.log").write_text(self._box.logs())
        self._report.seconds = time.monotonic() - self._begun
        return self._report

    def _mount(self, stack: contextlib.ExitStack) -> None:
        kinds = {outage.what for outage in self._plan.outages}
        if Outage.FILL_MAIL in kinds:
            volume = sum(mail.size * len(mail.expected) for mail in self._plan.mails)
            self._disks[Outage.FILL_MAIL] = Disk(self._place.mail, 64 + 3 * volume // 2**20)
        if Outage.FILL_STATE in kinds:
            self._disks[Outage.FILL_STATE] = Disk(self._place.deliver, 64)
        for disk in self._disks.values():
            stack.callback(disk.unmount)

    def _process(self) -> Process:
        return Process(
            self._place,
            {
                **environment(self._stub),
                "PLEXUS_EVENTS_QUEUE_URL": self._stub.queue_url("events"),
                "PLEXUS_CONFIGURATION_SET": "chaos",
                **SETTINGS,
            },
            lmtp=self._place.root / "lmtp.sock",
            log=self._root / "deliver.log",
            arguments=self._arguments,
        )

    def _event(self, text: str) -> None:
        self._events.write(f"{time.monotonic() - self._begun:9.3f} {text}\n")
        self._events.flush()

    # --- mails

    async def _feed(self) -> None:
        mails, echoes = deque(self._plan.mails), deque(self._plan.echoes)
        share = -(-len(echoes) * AT_ONCE // max(1, len(mails)))
        while mails:
            self._check()
            if await self._remaining() > BACKLOG:
                await asyncio.sleep(0.1)
                continue
            chunk = [mails.popleft() for _ in range(min(AT_ONCE, len(mails)))]
            entries: list[dict[str, Any]] = []
            for mail in chunk:
                entries += await self._store(mail)
            await self._persist(partial(self._stub.post, "send", queue="mail", entries=entries))
            some = [echoes.popleft() for _ in range(min(share, len(echoes)))]
            entries = [entry for echo in some for entry in _echo_entries(echo)]
            await self._persist(partial(self._stub.post, "send", queue="events", entries=entries))
        self._event("all mails are fed")

    async def _store(self, mail: PlannedMail) -> list[dict[str, Any]]:
        """Put a mail's objects into the archive; its queue entries."""
        entries: list[dict[str, Any]] = []
        parts = [mail.recipients]
        if mail.split:
            half = len(mail.recipients) // 2
            parts = [mail.recipients[:half], mail.recipients[half:]]
        for index, recipients in enumerate(parts):
            key = f"incoming/{mail.ses_message_id}-{index}"
            await self._persist(partial(self._stub.put_object, f"{BUCKET}/{key}", mail.content()))
            if mail.in_archive and not index:
                faults = list(mail.in_archive)
                await self._persist(
                    partial(self._stub.post, "faults", key=f"{BUCKET}/{key}", faults=faults)
                )
            accepted = Accepted(
                mail.ses_message_id,
                mail.sender,
                recipients,
                BUCKET,
                key,
                subject=f"chaos {mail.number}",
                verdicts=mail.verdicts,
            )
            text = notification(accepted, _now())
            body = text if mail.number % 2 else in_sns_envelope(text, f"sns-{mail.number}-{index}")
            entries.append({"body": body, "faults": mail.in_queue if not index else []})
            if mail.doubled:
                entries.append({"body": body, "delay": (mail.number % 7) / 3})
        return entries

    async def _persist(self, call: Callable[[], object]) -> None:
        """A call to the stub, repeated over its restarts. What SNS repeats, deliver must bear."""
        while True:
            self._check()
            try:
                await asyncio.to_thread(call)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                return

    async def _remaining(self) -> int:
        figures: dict[str, Any] = {}

        def look() -> None:
            figures.update(self._stub.get("stats"))

        await self._persist(look)
        queue = figures["queues"]["mail"]
        self._report.most_receives = max(self._report.most_receives, queue["most_receives"])
        return queue["remaining"] + figures["queues"]["events"]["remaining"]

    async def _settled(self) -> None:
        """Until the queue is empty, or nothing has moved for so long that nothing will."""
        last, since = -1, time.monotonic()
        while (remaining := await self._remaining()) > 0:
            self._check()
            if remaining != last:
                last, since = remaining, time.monotonic()
            if time.monotonic() - since > self._patience:
                self._event(f"gave up with {remaining} mails in the queue")
                return
            await asyncio.sleep(0.2)
        # What was handed out twice is back after this at the latest, were it not deleted.
        await asyncio.sleep(1)
        self._event("the queue is empty")

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
        assert self._deliver is not None
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
                self._stub.kill()
                self._later(part, self._restart_aws(outage))
            case Outage.KILL_POSTFIX:
                self._postfix.kill()
                self._later(part, self._restart_postfix(outage))
            case Outage.FILL_MAIL | Outage.FILL_STATE:
                disk = self._disks[outage.what]
                disk.fill()
                self._later(part, self._give_room(disk, outage))
        self._report.outages[outage.what.value] += 1
        self._event(str(outage))
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

    def _check(self) -> None:
        if self._broken is not None:
            raise RunError(f"an outage went wrong: {self._broken!r}") from self._broken

    async def _restart_deliver(self, outage: PlannedOutage) -> None:
        process = self._deliver
        assert process is not None
        begun = time.monotonic()
        end = process.stop if outage.what is Outage.STOP_DELIVER else process.kill
        await asyncio.to_thread(end)
        if outage.what is Outage.STOP_DELIVER:
            self._report.stops.append(time.monotonic() - begun)
        await asyncio.sleep(outage.pause)
        process.start()

    async def _restart_dovecot(self, outage: PlannedOutage) -> None:
        # A killed server's socket refuses connections; every other time it hangs up at once.
        refuses = outage.transaction % 2 == 0
        if refuses:
            await self._proxy.close()
        await asyncio.to_thread(self._box.wait)
        await asyncio.sleep(outage.pause)
        await asyncio.to_thread(start_dovecot, self._box, self._place)
        self._dovecot_pid = self._box.pid
        if refuses:
            await self._proxy.open()

    def _kill_lmtp(self) -> None:
        for pid in ControlGroup.of(self._dovecot_pid).processes():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text().strip() == "lmtp":
                    os.kill(pid, signal.SIGKILL)

    async def _restart_aws(self, outage: PlannedOutage) -> None:
        await asyncio.sleep(outage.pause)
        await asyncio.to_thread(self._stub.start)

    async def _restart_postfix(self, outage: PlannedOutage) -> None:
        await asyncio.sleep(outage.pause)
        await self._postfix.open()

    async def _give_room(self, disk: Disk, outage: PlannedOutage) -> None:
        await asyncio.sleep(outage.pause * 2)
        disk.empty()

    async def _watch(self) -> None:
        """Start `deliver` again when it ends by itself, as ECS would, and remember that it did."""
        while True:
            await asyncio.sleep(0.2)
            process = self._deliver
            if process is None or "deliver" in self._down or process.running:
                continue
            self._event(f"deliver ended by itself with status {process.status}")
            self._report.crashes.append(f"deliver ended by itself with status {process.status}")
            await asyncio.sleep(0.5)
            process.start()

    async def _stop_deliver(self) -> None:
        await asyncio.gather(*self._tasks)
        assert self._deliver is not None
        begun = time.monotonic()
        await asyncio.to_thread(self._deliver.stop)
        self._report.stops.append(time.monotonic() - begun)

    # --- the count

    def _count(self) -> None:
        if not greets(self._place.lmtp):
            raise RunError("Dovecot does not answer at the end")
        kept = ledger.mailboxes(self._box.port(993), trusting(self._place), HOSTNAME)
        dump = self._stub.get("dump")
        left = [
            f"{letter['receives']} receives: {letter['body'][:300]}"
            for letter in dump["queues"]["mail"] + dump["queues"]["events"]
        ]
        accounts = ledger.accounts(dump)
        report = self._report
        report.told_twice = len(accounts) - len({one[:2] for one in map(astuple, accounts)})
        report.told = Counter(account.how for account in accounts)
        report.judgement = ledger.judge(self._plan, kept, accounts, left, self._postfix.taken)
        report.transactions = self._proxy.transactions
        report.chunked = self._proxy.chunked
        report.met["two rules"] = sum(mail.split for mail in self._plan.mails)
        report.met["notified twice"] = sum(
            one.doubled for one in (*self._plan.mails, *self._plan.echoes)
        )
        for line in self._proxy.met:
            report.met[f"proxy {line.partition(': ')[2]}"] += 1
        with (self._root / "aws" / "journal").open() as journal:
            for line in journal:
                entry = json.loads(line)
                if entry["do"] == "met":
                    report.met[f"aws {entry['fault']}"] += 1
        (self._root / "dump.json").write_text(json.dumps(dump, indent=1))


def _echo_entries(echo: PlannedEcho) -> list[dict[str, Any]]:
    body = event(
        echo.kind,
        f"echo{echo.seed:08x}{echo.number:06d}",
        echo.mailbox,
        echo.message_id,
        "stranger@outside.example",
        _now(),
    )
    entries: list[dict[str, Any]] = [{"body": body, "faults": list(echo.in_queue)}]
    return [*entries, {"body": body, "delay": 0.5}] if echo.doubled else entries


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
