"""The systems side by side on one network and one disk: each takes mail, serves IMAP, relays."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from benchmarks.aws_stub.notification import Accepted, in_sns_envelope, notification
from benchmarks.aws_stub.process import Stub
from benchmarks.deliver.bed import named
from benchmarks.host import bed as host_bed
from benchmarks.host import mails
from benchmarks.host.mailbox import fill_at_once, imported, maildir, write_like
from benchmarks.mailhost.deliver_service import BUCKET, DIRECTORY_KEY, Boxed, environment
from benchmarks.mailhost.engine import (
    ROOT,
    Container,
    EngineError,
    Mount,
    command,
    engine,
    wait_until,
)
from benchmarks.mailhost.host import PASSWORD, SES_HOST, trusting
from benchmarks.mailhost.imap import Session
from benchmarks.peers.definitions import NAMESERVER, OURS, PEERS, TITLES, Peer
from benchmarks.peers.smtp import Smtp, send_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.host.bed import Bed
    from benchmarks.host.sink import Sink

USERS = host_bed.USERS
SENDER = "someone@sender.example"
LOCAL = "user01@example.org"
OUTSIDE = "someone@elsewhere.example"
START = Path(__file__).parent / "start"
FILTER = ROOT / "containers/dovecot/junk.sieve"
SUBMITTING = 2  # connections of a local user: ours takes three from one address
EACH = 10  # messages of a connection: after more, Exim leaves them for its next queue run
AWS_DELAY = 0.015  # seconds added to every AWS call
SESSIONS = 4  # of whoever sends: Courier allows five from one address, Dovecot has four here
LIMITS = {"dovecot": "128m", "postfix": "64m", "deliver": "40m"}

Mails = list[tuple[str, bytes]]  # local part, content


class Ending(Protocol):
    """A message under way."""

    def end(self) -> None:
        """Pass the sender's last octet."""
        ...

    async def accepted(self) -> None:
        """Read the reply."""
        ...

    async def close(self) -> None:
        """End the connection."""
        ...


class System(Protocol):
    """What is measured of a system."""

    name: str
    containers: dict[str, Container]
    folders: tuple[Path, ...]  # where its mailboxes and their indexes are

    async def session(self, user: str) -> Session:
        """Return a client that has logged in; `user` is a local part."""
        ...

    def prepare(self, run: str, mails: Mails) -> object:
        """Prepare what `send` needs, before the clock runs."""
        ...

    def marked(self, run: str, mails: Mails) -> object:
        """Prepare as `prepare` does, but messages that the filter must file as Junk."""
        ...

    async def send(self, prepared: object) -> None:
        """Send all messages; return when all are accepted."""
        ...

    async def submit(self, mails: Mails) -> None:
        """Submit messages of a local user to the world; return when all are accepted."""
        ...

    async def last_octet(self, prepared: object) -> Ending:
        """Return a connection that has passed all of one message except its end."""
        ...

    def fill(self, count: int) -> None:
        """Fill the big mailbox with `count` messages, indexed as the system does it."""
        ...


class PeerSystem:
    """A peer's container."""

    def __init__(self, peer: Peer, bed: Bed, root: Path, resolver: Path) -> None:
        self.name = peer.name
        self._peer = peer
        self._place = bed.place
        self.mail, self.kept = root / "mail", root / "kept"
        for folder in (self.mail, self.kept):
            folder.mkdir(parents=True)
        self.folders = (self.mail, *(self.kept / f"var/{at}/cyrus" for at in ("spool", "lib")))
        tls = bed.place.root.parent
        box = Container(
            named(peer.name),
            built(peer),
            mounts=[
                Mount(self.mail, "/srv/mail"),
                Mount(self.kept, "/srv/kept"),
                Mount(START, "/bench/start", read_only=True),
                Mount(FILTER, "/bench/junk.sieve", read_only=True),
                Mount(tls / "mail.example.org.pem", "/bench/certificate.pem", read_only=True),
                Mount(tls / "mail.example.org.key", "/bench/key.pem", read_only=True),
                Mount(resolver, "/etc/resolv.conf", read_only=True),
                # Exim verifies a smarthost's certificate.
                Mount(bed.trusted, "/etc/ssl/certs/ca-certificates.crt", read_only=True),
            ],
            environment={
                "PASSWORD": PASSWORD,
                "GATEWAY": bed.network.gateway,
                "RELAY": SES_HOST,
                "RELAY_PORT": str(bed.sink.port),
            },
            options=[
                *("--init", "--network", bed.network.name, "--cap-add", "SYS_ADMIN"),
                *("--hostname", "mail.example.org", "--memory", "1024m"),
            ],
            arguments=[f"/bench/start/{peer.name}"],
        )
        self.containers = {"whole": box}
        bed.made.append(box)
        box.start()
        self.host = address(box)
        wait_until(
            f"{peer.name}: {box.logs()[-500:]}",
            lambda: _answers(self.host, 25) and _answers(self.host, 993),
            60,
        )

    async def session(self, user: str) -> Session:
        """Return a client that has logged in."""
        return await Session.open(993, trusting(self._place), user, PASSWORD, self.host)

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open an SMTP connection."""
        return await asyncio.open_connection(self.host, 25, limit=2**20)

    def prepare(self, run: str, mails: Mails) -> object:
        """Return the messages with their envelopes."""
        del run  # nothing is kept that needs a name
        return [(SENDER, f"{user}@example.org", content) for user, content in mails]

    def marked(self, run: str, mails: Mails) -> object:
        """Return them with the mark that `deliver` sets for ours."""
        mark = b"X-Plexus-Verdicts: spam=FAIL\r\n"
        return self.prepare(run, [(user, mark + content) for user, content in mails])

    async def send(self, prepared: object) -> None:
        """Send them by SMTP."""
        assert isinstance(prepared, list)
        await send_all(self.open, prepared, SESSIONS)

    async def last_octet(self, prepared: object) -> Ending:
        """Send everything of one message except its end."""
        assert isinstance(prepared, list)
        client = await Smtp.open(self.open)
        await client.begin(*prepared[0])
        return client

    async def submit(self, mails: Mails) -> None:
        """Submit by SMTP from an address that may relay."""
        work = [(LOCAL, OUTSIDE, content) for _, content in mails]
        await send_all(self.open, work, SUBMITTING, EACH)

    def fill(self, count: int) -> None:
        """Write files as its delivery does, then let it index them."""
        if self._peer.store == "cyrus":
            asyncio.run(self.send(self.prepare("big", [("big", mails.mail(0))])))
            wait_until("the big mailbox", lambda: self._cyrus("mbpath", "user.big"), 60)
            home = self.kept / self._cyrus("mbpath", "user.big").lstrip("/")
            wait_until("its first message", (home / "1.").exists)
            for number in range(1, count):
                write_like(home / f"{number + 1}.", mails.mail(number), home)
            self._cyrus("reconstruct", "user.big")
        elif self._peer.store == "sdbox":
            box = self.containers["whole"]
            maildir(self.mail / "big" / "import", count, self.mail / "big")
            imported(box, "big", "/srv/mail/big/import")
            shutil.rmtree(self.mail / "big" / "import")
        else:
            maildir(self.mail / "big" / "Maildir", count, self.mail / "big")
        asyncio.run(self._opened())

    def _cyrus(self, *words: str) -> str:
        """Return what an administrator's command prints; nothing if it fails."""
        try:
            return self.containers["whole"].execute(
                "runuser", "-u", "cyrus", "--", "cyrus", *words, timeout=900
            )
        except EngineError:
            return ""

    async def _opened(self) -> None:
        session = await self.session("big")
        await session.command("SELECT INBOX")
        session.close()


class OurSystem:
    """The three containers, and the stub of SQS and S3 in front of them."""

    name = OURS

    def __init__(self, bed: Bed, stub: Stub) -> None:
        self._bed = bed
        self._stub = stub
        self._submitter = 0
        box = bed.dovecot(LIMITS["dovecot"])
        relay = bed.postfix(LIMITS["postfix"])
        stub.put_object(f"{BUCKET}/{DIRECTORY_KEY}", host_bed.directory().to_json())
        courier = Boxed(named("deliver"), bed.place, environment(stub), memory=LIMITS["deliver"])
        bed.made.append(courier.container)
        courier.start()
        self.containers = {"dovecot": box, "postfix": relay, "deliver": courier.container}
        self.folders = (bed.place.mail, bed.place.indexes)

    async def session(self, user: str) -> Session:
        """Return a client that has logged in."""
        return await self._bed.session(self.containers["dovecot"], f"{user}@example.org")

    def prepare(self, run: str, mails: Mails) -> object:
        """Put the content into S3, as SES does; return the notifications."""
        return self._told_of(run, mails, {})

    def marked(self, run: str, mails: Mails) -> object:
        """Return notifications of what SES considers spam."""
        return self._told_of(run, mails, {"spam": "FAIL"})

    def _told_of(self, run: str, mails: Mails, verdicts: Mapping[str, str]) -> list[bytes]:
        told: list[bytes] = []
        self._stub.post("settings", delay=0)
        for number, (user, content) in enumerate(mails):
            key = f"incoming/{run}-{number}"
            self._stub.put_object(f"{BUCKET}/{key}", content)
            to = [f"{user}@example.org"]
            named = f"{run}{number:06d}"
            mail = Accepted(named, SENDER, to, BUCKET, key, verdicts=verdicts)
            text = in_sns_envelope(notification(mail), f"sns-{run}-{number}")
            body = json.dumps({"QueueUrl": self._stub.queue_url("mail"), "MessageBody": text})
            told.append(_request(body.encode()))
        self._stub.post("settings", delay=AWS_DELAY)
        return told

    async def send(self, prepared: object) -> None:
        """Put the notifications into the queue."""
        assert isinstance(prepared, list)
        waiting = iter(prepared)

        async def work() -> None:
            client = await self._told()
            for message in waiting:
                client.message = message
                client.end()
                await client.accepted()
            await client.close()

        async with asyncio.TaskGroup() as group:
            for _ in range(16):  # SES is no bottleneck: a call takes 15 ms
                group.create_task(work())

    async def _told(self) -> Told:
        return Told(*await asyncio.open_connection(self._stub.host, self._stub.port))

    async def last_octet(self, prepared: object) -> Ending:
        """Return a connection to the queue."""
        assert isinstance(prepared, list)
        client = await self._told()
        client.message = prepared[0]
        return client

    async def submit(self, mails: Mails) -> None:
        """Submit over TLS with a password: ours accepts it in no other way."""
        port = self.containers["postfix"].port(465)
        trust = trusting(self._bed.place)
        trust.check_hostname = False  # 127.0.0.1
        groups = iter([mails[at : at + EACH] for at in range(0, len(mails), EACH)])

        async def work() -> None:
            for group in groups:
                # Ours takes a hundred messages an hour of each user.
                self._submitter = self._submitter % USERS + 1
                local = host_bed.user(self._submitter)
                await send_all(
                    lambda: asyncio.open_connection("127.0.0.1", port, ssl=trust, limit=2**20),
                    [
                        (local, OUTSIDE, text.replace(LOCAL.encode(), local.encode(), 1))
                        for _, text in group
                    ],
                    1,
                    EACH,
                    (local, PASSWORD),
                )

        async with asyncio.TaskGroup() as tasks:
            for _ in range(SUBMITTING):
                tasks.create_task(work())

    def fill(self, count: int) -> None:
        """Import with Dovecot's own command, then index."""
        fill_at_once(self._bed.place, self.containers["dovecot"], count)


class Told:
    """A connection to the queue, over which SES's topic tells it of a message."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.message = b""

    def end(self) -> None:
        """Put the notification into the queue."""
        self._writer.write(self.message)

    async def accepted(self) -> None:
        """Read the queue's reply."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(f"the queue said {head!r}")
        length = int(head.lower().split(b"content-length:")[1].split()[0])
        await self._reader.readexactly(length)

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()


def _request(body: bytes) -> bytes:
    head = (
        "POST / HTTP/1.1\r\nHost: stub\r\nX-Amz-Target: AmazonSQS.SendMessage\r\n"
        f"Content-Type: application/x-amz-json-1.0\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def address(box: Container) -> str:
    """Return a container's address on its network."""
    shown = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return command("inspect", "--format", shown, box.name)


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=2):
            return True
    except OSError:
        return False


def built(peer: Peer) -> str:
    """Return the peer's image, built if it is missing. Raise EngineError."""
    if not subprocess.run(
        [engine(), "image", "inspect", peer.image], capture_output=True, check=False
    ).returncode:
        return peer.image
    print(f"building {peer.image}", flush=True)
    options = ("--isolation=chroot", "--network=host", "--pull=never", "--format=docker")
    done = subprocess.run(
        [engine(), "build", *(options if engine() == "podman" else ()), "-t", peer.image, "-"],
        input=peer.recipe,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    if done.returncode:
        raise EngineError(f"{peer.image}: {(done.stdout + done.stderr)[-800:]}")
    return peer.image


def versions(peer: Peer) -> dict[str, str]:
    """Return the versions of the image's packages."""
    shown = command(
        "run",
        "--rm",
        "--network",
        "none",
        built(peer),
        "dpkg-query",
        "-W",
        "-f",
        "${Package} ${Version}\\n",
        *peer.versions,
    )
    return dict(line.split(" ", 1) for line in shown.splitlines())


@contextmanager
def side_by_side(wanted: Sequence[str]) -> Iterator[tuple[list[System], Sink]]:
    """Start the systems named; remove them afterwards."""
    for peer in (NAMESERVER, *PEERS):
        if peer is NAMESERVER or peer.name in wanted:
            built(peer)
    with ExitStack() as stack:
        (bed,) = stack.enter_context(host_bed.laid("ours"))
        scratch = bed.place.root.parent
        resolver = scratch / "resolv.conf"
        resolver.write_text(f"nameserver {_nameserver(bed)}\n")
        found: list[System] = []
        for name in TITLES:
            if name not in wanted:
                continue
            if name == OURS:
                stub = stack.enter_context(Stub("--delay", str(AWS_DELAY), "--visibility", "600"))
                found.append(OurSystem(bed, stub))
            else:
                peer = next(each for each in PEERS if each.name == name)
                found.append(PeerSystem(peer, bed, scratch / name, resolver))
            print(f"{name} runs", flush=True)
        yield found, bed.sink


def _nameserver(bed: Bed) -> str:
    """Serve an address and a name for the sender's domain: Exim and Courier look for both."""
    gateway = bed.network.gateway
    box = Container(
        named("nameserver"),
        built(NAMESERVER),
        options=["--network", bed.network.name],
        arguments=[
            *("dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--user=root"),
            f"--host-record=mail.sender.example,sender.example,example.org,{gateway}",
            "--mx-host=sender.example,mail.sender.example,10",
            f"--host-record={SES_HOST},{gateway}",
            "--address=/#/",
        ],
    )
    bed.made.append(box)
    box.start()
    return address(box)
