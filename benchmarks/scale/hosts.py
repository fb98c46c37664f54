"""Messages a second with 1, 2 and 4 hosts whose processors are capped, and what each part costs.

Four hosts with the product's containers share a mail store and a stand-in for AWS with a queue for
each. A run with k hosts is to the mailboxes of the first k, whose queues each get a copy of every
notification, as SNS makes them. Beside it the proxied way: all messages to the first host's LMTP,
whose Dovecot proxies what is at home elsewhere.

Other work on the machine takes time from the containers before they reach their caps. Processor
time a message does not depend on that, so both are reported, and the runs take turns.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.aws_stub.objects import mail_of
from benchmarks.aws_stub.process import Stub
from benchmarks.deliver.bed import HEAD, SENDER, named
from benchmarks.mailhost.deliver_service import BUCKET, DIRECTORY_KEY, Boxed, environment
from benchmarks.mailhost.engine import command, wait_until
from benchmarks.mailhost.host import PASSWORD, Place
from benchmarks.mailhost.lmtp import Lmtp
from postal_plexus.directory import TABLES, Directory, Domain, Host, Mailbox
from service.certificates import Authority
from service.container_engine import Network, engine, images
from service.mail_host import MailHost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HOSTS = (1, 2, 4)
MOST = max(HOSTS)
MAILBOXES = 5  # of each host
SIZE = 4096
# Of one processor. Four hosts together take less than half of the two that the machine has: stub,
# kernel and client must never be what limits them.
DOVECOT_CPUS, DELIVER_CPUS = "0.15", "0.06"
# One of Dovecot's four LMTP processes stays for the client that measures.
SESSIONS = 4


def queue(number: int) -> str:
    """Return the name of a host's queue."""
    return f"mail-{number}"


def mailbox(host: int, number: int) -> str:
    """Return the address of one of a host's mailboxes."""
    return f"user{number}@host{host}.example"


def recipients(hosts: int) -> list[str]:
    """Return the mailboxes of the first hosts in turn, so that each gets as many messages."""
    return [mailbox(h, n) for n in range(MAILBOXES) for h in range(1, hosts + 1)]


@dataclass(slots=True)
class Runs:
    """The runs of one way with one number of hosts.

    `first_ms` and `all_ms`: processor time of a message at the first host, and at all of them
    together, of Dovecot and `deliver`; `deliver_ms`: of the latter alone, at all hosts.
    """

    per_second: list[float] = field(default_factory=list[float])
    first_ms: list[float] = field(default_factory=list[float])
    all_ms: list[float] = field(default_factory=list[float])
    deliver_ms: list[float] = field(default_factory=list[float])

    def in_json(self) -> dict[str, Any]:
        """For the results."""
        return {
            name: [round(each, 3) for each in getattr(self, name)] for name in self.__slots__
        } | {
            f"{name}_median": round(statistics.median(getattr(self, name)), 3)
            for name in self.__slots__
        }


@dataclass(frozen=True, slots=True)
class Served:
    """One running host."""

    mail_host: MailHost
    service: Boxed

    @property
    def lmtp(self) -> Path:
        """Dovecot's socket."""
        return self.mail_host.root / "run/dovecot/lmtp.sock"

    def processor_seconds(self) -> tuple[float, float]:
        """Processor time so far of Dovecot and of `deliver`."""
        dovecot = self.mail_host.containers["dovecot"].usage().processor_seconds()
        return dovecot, self.service.processor_seconds()


@contextmanager
def running(root: Path) -> Iterator[tuple[list[Served], Stub]]:
    """Provide four hosts and the stub; `root` must not exist, and does not afterwards."""
    root.mkdir(parents=True)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, root)
        network = Network(engine())
        stack.callback(network.remove)
        queues = tuple(queue(n) for n in range(1, MOST + 1))
        stub = stack.enter_context(Stub("--visibility", "600", queues=(*queues, "dead-letters")))
        prefix = network.gateway.rpartition(".")[0]
        hosts = tuple(Host(f"mail-{n}.example", f"{prefix}.{200 + n}") for n in range(1, MOST + 1))
        made = Directory(
            tuple(Domain(f"host{n}.example", None, n) for n in range(1, MOST + 1)),
            tuple(
                Mailbox(mailbox(h, n), f"{{PLAIN}}{PASSWORD}", home=h)
                for h in range(1, MOST + 1)
                for n in range(MAILBOXES)
            ),
            (),
            hosts,
        )
        stub.request("PUT", f"/{BUCKET}/{DIRECTORY_KEY}?modified=1000", made.to_json())
        authority = Authority(root)
        served: list[Served] = []
        for number, host in enumerate(hosts, 1):
            mail_host = _dovecot(root, network, authority, made, number, host)
            stack.callback(mail_host.close)
            if number > 1:
                _await_homes(root, number)
            settings = environment(stub) | {
                "PLEXUS_QUEUE_URL": stub.queue_url(queue(number)),
                "PLEXUS_SHARD": str(number),
            }
            place, name = Place(mail_host.root), named(f"deliver-{number}")
            service = Boxed(name, place, settings, options=("--cpus", DELIVER_CPUS))
            stack.callback(service.container.remove)
            service.start()
            command("update", "--cpus", DOVECOT_CPUS, mail_host.containers["dovecot"].id)
            served.append(Served(mail_host, service))
        yield served, stub


def _dovecot(
    root: Path, network: Network, authority: Authority, made: Directory, number: int, host: Host
) -> MailHost:
    """Start one host's Dovecot, with the first one's mail store."""
    mail_host = MailHost(network.engine, images("dovecot"), network, root / str(number))
    if number > 1:
        (mail_host.root / "mail").rmdir()
        (mail_host.root / "mail").symlink_to(root / "1/mail")
    for table, render in TABLES.items():
        mail_host.write_table(table, render(made))
    for file, to in zip(authority.issue(host.name), ("certificate", "key"), strict=True):
        shutil.copy(file, mail_host.root / f"tls/{to}.pem")
        shutil.chown(mail_host.root / f"tls/{to}.pem", 5004, 5003)
    mail_host.start(
        "dovecot",
        {
            "PLEXUS_HOSTNAME": host.name,
            "PLEXUS_SHARD": str(number),
            "PLEXUS_PEERS": " ".join(each.address for each in made.hosts_by_number),
            "PLEXUS_FOLLOW_SECONDS": "60",
        },
        [
            f"--ip={host.address}",
            f"--mac-address=02:00:00:00:03:{number:02x}",
            f"--volume={authority.file}:/etc/ssl/certs/ca-certificates.crt:ro",
        ],
    )
    return mail_host


def _await_homes(root: Path, number: int) -> None:
    """Wait until host 1 has left a host's new mailboxes to it."""
    records = root / "1/mail/.homes"

    def there() -> bool:
        paths = [records / mailbox(number, n) for n in range(MAILBOXES)]
        return all(p.exists() and p.read_text() == f"{number} has\n" for p in paths)

    wait_until(f"the mailboxes of host {number}", there, 120)


def measure(
    root: Path, rounds: int, each: int, say: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """Return the runs by way and number of hosts, `each` messages for each host, in turns."""
    found = {way: {n: Runs() for n in HOSTS} for way in ("queues", "proxy")}
    with running(root) as (served, stub):
        # The first message of a mailbox costs several times as much.
        _by_queues(stub, MOST, MAILBOXES, "first")
        _settle(served)
        for turn in range(rounds):
            for hosts in HOSTS[turn % len(HOSTS) :] + HOSTS[: turn % len(HOSTS)]:
                count = hosts * each
                run = f"run{turn}of{hosts}"
                for way in ("queues", "proxy"):
                    before = [host.processor_seconds() for host in served[:hosts]]
                    if way == "queues":
                        took = _by_queues(stub, hosts, each, run)
                    else:
                        took = _by_proxy(served[0], hosts, each)
                    now = [host.processor_seconds() for host in served[:hosts]]
                    dovecot, deliver = (
                        [after[n] - first[n] for after, first in zip(now, before, strict=True)]
                        for n in (0, 1)
                    )
                    runs = found[way][hosts]
                    runs.per_second.append(count / took)
                    runs.first_ms.append((dovecot[0] + deliver[0]) / count * 1000)
                    runs.all_ms.append((sum(dovecot) + sum(deliver)) / count * 1000)
                    runs.deliver_ms.append(sum(deliver) / count * 1000)
                    say(
                        f"{hosts} hosts by {way}: {count / took:.1f} messages/s, processor time a "
                        f"message {runs.all_ms[-1]:.2f} ms, of it at the first host "
                        f"{runs.first_ms[-1]:.2f}"
                    )
                    _settle(served)
    return {
        way: {str(n): runs.in_json() for n, runs in by_hosts.items()}
        for way, by_hosts in found.items()
    }


def _by_queues(stub: Stub, hosts: int, each: int, run: str) -> float:
    """Return the seconds until all queues of the first hosts are empty."""
    count = hosts * each
    before = stub.get("stats")["queues"]
    begun = 0.0
    for number in range(1, hosts + 1):
        answer = stub.post(
            "prefill",
            queue=queue(number),
            run=run,
            count=count,
            size=SIZE,
            recipients=recipients(hosts),
            sender=SENDER,
            bucket=BUCKET,
            head=HEAD,
        )
        begun = begun or answer["clock"]
    ended = begun
    for number in range(1, hosts + 1):
        name = queue(number)
        wanted = before[name]["deleted"] + count
        figures = stub.get(f"wait?queue={name}&deleted={wanted}", 600)["queues"][name]
        ended = max(ended, figures["last_deleted_at"])
    return ended - begun


def _by_proxy(first: Served, hosts: int, each: int) -> float:
    """Return the seconds until the first host's LMTP has taken messages for all hosts."""
    content = b"".join(mail_of(SIZE, HEAD.encode()).blocks(0, SIZE))
    there = recipients(hosts)
    waiting = iter([there[n % len(there)] for n in range(hosts * each)])

    async def work() -> None:
        connection = await Lmtp.open(first.lmtp)
        try:
            for recipient in waiting:
                await connection.deliver(recipient, content)
        finally:
            connection.close()

    async def run() -> float:
        begun = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for _ in range(SESSIONS):
                group.create_task(work())
        return time.monotonic() - begun

    return asyncio.run(run())


def _settle(served: list[Served]) -> None:
    """Wait until Dovecot has indexed what came, for ten seconds at most."""
    end = time.monotonic() + 10
    before = [host.processor_seconds()[0] for host in served]
    while time.monotonic() < end:
        time.sleep(0.3)
        now = [host.processor_seconds()[0] for host in served]
        if sum(now) - sum(before) < 0.02:
            return
        before = now
