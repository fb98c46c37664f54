"""The hosts of a run and what they share: AWS, the mail store, the directory, and who is down.

With several hosts each has its own address in a network, a certificate for its name, queues, and a
`deliver` that knows its number. A mailbox moves when a version of the directory with another home is
stored, as `pulumi up` does it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.aws_stub.process import Stub
from benchmarks.mailhost.deliver_service import BUCKET, DIRECTORY_KEY
from benchmarks.mailhost.engine import Network
from benchmarks.mailhost.host import HOSTNAME, start_dovecot, trusting
from tests.chaos.client import Door
from tests.chaos.outages import Host, HostError
from tests.chaos.plan import DIRECTORY, directory
from tests.service.certificates import Authority

from postal_plexus.directory import Host as MailHost

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Sequence
    from pathlib import Path

    from tests.chaos.plan import Plan

VISIBILITY = 120  # seconds, as deliver asks for; shortened like every other wait
HURRY = 60  # SQS's waits beyond PATIENT seconds pass so many times faster
PATIENT = 3
_LONG_AGO = 1000.0  # seconds since the first version of the directory


@dataclass(frozen=True, slots=True)
class Between:
    """What several hosts have between them."""

    network: Network
    authority: Authority
    hosts: tuple[MailHost, ...]


class Site:
    """All hosts of one run below `root`."""

    def __init__(self, plan: Plan, root: Path, name: str, arguments: Sequence[str]) -> None:
        self.plan = plan
        self.root = root
        self.name = name
        self.homes = plan.homes
        self.stub = Stub(
            *("--state", str(root / "aws"), "--visibility", str(VISIBILITY)),
            *("--hurry", str(HURRY), "--patient", str(PATIENT)),
            queues=tuple(
                queue for kind in ("mail", "dead-letters", "events") for queue in self.queues(kind)
            ),
        )
        self.between: Between | None = None
        self.down: set[str] = set()  # parts that an outage has at this moment
        self._tasks: set[asyncio.Task[None]] = set()
        self._broken: BaseException | None = None
        self._begun = time.monotonic()
        self._log = (root / "events.log").open("w")
        self.hosts = [Host(self, number, arguments) for number in range(1, plan.hosts + 1)]

    def queues(self, kind: str) -> list[str]:
        """Return the names of all hosts' queues of a kind."""
        return [kind + suffix(number) for number in range(1, self.plan.hosts + 1)]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Everything is up inside, and gone afterwards. Raises EngineError, StubError."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._log.close)
            if self.plan.hosts > 1:
                self.between = self._make_between(stack)
            for host in self.hosts:
                host.make(stack)
            starts = (asyncio.to_thread(start_dovecot, each.box, each.place) for each in self.hosts)
            await asyncio.gather(*starts)
            stack.enter_context(self.stub)
            self._store_directory(time.time() - _LONG_AGO)
            for host in self.hosts:
                await host.open(stack)
            yield

    def _make_between(self, stack: contextlib.ExitStack) -> Between:
        network = Network(self.name)
        stack.callback(network.remove)
        prefix = network.gateway.rpartition(".")[0]
        folder = self.root / "authority"
        folder.mkdir()
        hosts = tuple(
            MailHost(HOSTNAME.replace("mail", f"mail{suffix(each.number)}", 1), address)
            for each in self.hosts
            for address in [f"{prefix}.{200 + each.number}"]
        )
        return Between(network, Authority(folder), hosts)

    def door(self, number: int) -> Door:
        """Return where a host's clients connect."""
        host = self.hosts[number - 1]
        if self.between is None:
            return Door(host.box.port(993), trusting(host.place), HOSTNAME)
        context = ssl.create_default_context(cafile=str(self.between.authority.file))
        return Door(host.box.port(993), context, self.between.hosts[number - 1].name)

    # --- the directory

    def move(self, mailbox: str) -> None:
        """Give a mailbox another home, as soon as AWS takes the directory."""
        self.homes[mailbox] = self.homes[mailbox] % self.plan.hosts + 1
        self.later("directory", self._publish())

    async def _publish(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self._store_directory, time.time())
            except OSError:
                await asyncio.sleep(0.1)
            else:
                return

    def _store_directory(self, moment: float) -> None:
        key = f"{BUCKET}/{DIRECTORY_KEY}"
        if self.between is None:
            self.stub.put_object(key, DIRECTORY.to_json())
        else:
            made = directory(self.homes, self.between.hosts)
            self.stub.put_object(f"{key}?modified={moment}", made.to_json())

    def away(self) -> list[str]:
        """Return the mailboxes that are not at home yet."""
        found: list[str] = []
        for mailbox, home in self.homes.items():
            record = self.hosts[0].place.mail / ".homes" / mailbox
            text = record.read_text() if record.exists() else "1 has\n"
            if text != f"{home} has\n":
                found.append(f"{mailbox}: {text.rstrip()}, home {home}")
        return found

    # --- outages

    def check(self) -> None:
        """Raise HostError if a part did not come back."""
        if self._broken is not None:
            raise HostError(f"an outage went wrong: {self._broken!r}") from self._broken

    def event(self, text: str) -> None:
        """Note something that happened, with its time."""
        self._log.write(f"{time.monotonic() - self._begun:9.3f} {text}\n")
        self._log.flush()

    def later(self, part: str, work: Coroutine[Any, Any, None]) -> None:
        """Do the rest of an outage; nothing else strikes the same part meanwhile."""
        self.down.add(part)
        task = asyncio.create_task(work)
        self._tasks.add(task)

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            self.down.discard(part)
            if not task.cancelled() and task.exception() is not None:
                self._broken = task.exception()

        task.add_done_callback(done)

    async def restart_aws(self, pause: float) -> None:
        """Start AWS again."""
        await asyncio.sleep(pause)
        await asyncio.to_thread(self.stub.start)

    async def all_well(self) -> None:
        """Wait until no outage lasts."""
        await asyncio.gather(*self._tasks)

    def certify(self, host: Host) -> None:
        """Give a host the certificate for its name."""
        assert self.between is not None
        files = self.between.authority.issue(self.between.hosts[host.number - 1].name)
        for file, to in zip(files, ("certificate.pem", "key.pem"), strict=True):
            shutil.copy(file, host.place.tls / to)
            os.chown(host.place.tls / to, 5004, 5003)


def suffix(number: int) -> str:
    """Return what a host's names have at their end."""
    return "" if number == 1 else f"-{number}"
