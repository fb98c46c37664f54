"""The three containers under what a busy hour brings, within limits, and what they use of them.

Fifty clients in IDLE; messages to all fifty at once through `deliver`, filtered by Sieve and
indexed; body searches in a mailbox of thousands; mail submitted with a password and relayed;
messages of 40 MB in and out; open ManageSieve connections.
"""

from __future__ import annotations

import asyncio
import smtplib
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from benchmarks.aws_stub.process import Stub
from benchmarks.deliver.bed import HEAD, SENDER, named
from benchmarks.host import mails
from benchmarks.host.bed import BIG, USERS, directory, user
from benchmarks.host.mailbox import await_indexer, fill
from benchmarks.host.relay import Source
from benchmarks.host.watch import Watch
from benchmarks.mailhost.deliver_service import BUCKET, DIRECTORY_KEY, Boxed, environment
from benchmarks.mailhost.host import PASSWORD, trusting

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.host.bed import Bed
    from benchmarks.mailhost.engine import Container

LIMITS = {"dovecot": 128, "postfix": 64, "deliver": 40}  # MB
AMPLE = 1024  # MB: what stands beside ours may use all it wants
LARGE = 39 * 1024 * 1024
LARGE_MAILS = 5
SEARCHING = 1  # clients, one search after the other
FILTER = """require ["fileinto", "mailbox", "envelope", "subaddress"];
if header :contains "subject" "hundred" { fileinto :create "Lists"; }
elsif envelope :detail "to" "shop" { fileinto :create "Shops"; }
"""


def measure(
    bed: Bed, limits: dict[str, int], *, size: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure the memory of each container, and the number of its processes that were killed."""
    box = bed.dovecot(f"{limits['dovecot']}m")
    relay = bed.postfix(f"{limits['postfix']}m")
    source = Source(bed)
    source.prepare(2000)
    with Stub("--delay", "0.015", "--visibility", "600") as stub:
        stub.put_object(f"{BUCKET}/{DIRECTORY_KEY}", directory().to_json())
        # The tables that are there hold other hashes of the same password.
        service = Boxed(
            named("deliver"), bed.place, environment(stub), memory=f"{limits['deliver']}m"
        )
        bed.made.append(service.container)
        service.start()
        fill(bed, box, size)
        await_indexer(box)
        script = bed.place.dovecot / "filter.sieve"
        script.write_text(FILTER)
        # A glance at each mailbox makes it, its script stands ready then.
        box.execute(
            *("doveadm", "sieve", "put", "-A", "-a", "filter"),
            "/run/plexus/dovecot/filter.sieve",
            timeout=120,
        )
        with Watch(dovecot=box, postfix=relay, deliver=service.container) as watch:
            asyncio.run(_hour(bed, box, relay, source, stub, say))
            await_indexer(box)
        used = watch.used
    logs = box.logs() + relay.logs()
    bed.close()
    for name, each in used.items():
        say(
            f"memory, {bed.which}, {name}: {each.peak} MB peak, {each.anonymous} MB anonymous, "
            f"limit {limits[name]}, killed {each.killed}"
        )
    trouble = [line for line in logs.splitlines() if "signal 9" in line or "ut of memory" in line]
    for line in trouble[:5]:
        say(line)
    return {
        name: each.in_json() | {"limit": limits[name], "trouble": len(trouble)}
        for name, each in used.items()
    }


async def _hour(
    bed: Bed,
    box: Container,
    relay: Container,
    source: Source,
    stub: Stub,
    say: Callable[[str], None],
) -> None:
    sessions = await bed.idling(box)
    filters = [_managesieve(box) for _ in range(3)]
    await asyncio.sleep(3)  # the clients hibernate
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(8) as threads:
        over = asyncio.Event()
        searches = [asyncio.create_task(_search(bed, box, over)) for _ in range(SEARCHING)]
        work = [
            loop.run_in_executor(threads, _incoming, stub),
            loop.run_in_executor(threads, source.send),
            *(loop.run_in_executor(threads, _submit, bed, relay, n) for n in range(1, 5)),
        ]
        try:
            await asyncio.gather(*work)
            await loop.run_in_executor(threads, bed.sink.await_more, 2000 + 4)
        finally:
            over.set()
        answered = sum(await asyncio.gather(*searches))
    say(f"memory, {bed.which}: {answered} body searches meanwhile")
    for session in sessions:
        await asyncio.wait_for(session.notice(), 60)  # still there, and told
        session.close()
    for connection in filters:
        connection.close()


def _incoming(stub: Stub) -> None:
    """Queue incoming messages, large ones first: their transfer then lasts while others arrive."""
    for count, size in ((LARGE_MAILS, LARGE), (40 * USERS, 4096)):
        stub.post(
            "prefill",
            queue="mail",
            run=f"memory{size}",
            count=count,
            size=size,
            recipients=[user(n) for n in range(1, USERS + 1)],
            sender=SENDER,
            bucket=BUCKET,
            head=HEAD,
        )
    stub.get(f"wait?queue=mail&deleted={LARGE_MAILS + 40 * USERS}", 600)


def _submit(bed: Bed, relay: Container, number: int) -> None:
    content = mails.mail(number) if number > 1 else mails.mail(1, 39 * 1024 * 1024)
    content = content.replace(b"From: Person", b"X-From: Person", 1)
    with smtplib.SMTP_SSL(
        "127.0.0.1", relay.port(465), context=_any_name(bed), timeout=300
    ) as client:
        client.login(user(number), PASSWORD)
        client.sendmail(user(number), ["someone@elsewhere.example"], content)


def _any_name(bed: Bed) -> Any:
    context = trusting(bed.place)
    context.check_hostname = False  # 127.0.0.1
    return context


async def _search(bed: Bed, box: Container, over: asyncio.Event) -> int:
    session = await bed.session(box, BIG)
    await session.command("SELECT INBOX")
    answered = 0
    while not over.is_set():
        await session.command(f"UID SEARCH BODY {mails.word(50 + answered % 500)}")
        answered += 1
        await asyncio.sleep(0.2)
    session.close()
    return answered


def _managesieve(box: Container) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", box.port(4190)), timeout=30)
    connection.recv(1024)
    return connection
