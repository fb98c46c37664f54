"""A system in a virtual machine: its mail and its queue are on a disk whose cache forgets.

The peers are started by the same scripts as their containers, ours by those of `host.nfs_host`,
without NFS. The root disk is a new one at each boot, so that only what a system writes to its own
disk is at stake.
Needs `tests` in the Python path. Fails by AssertionError.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shlex
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Protocol, Self

from benchmarks.mailhost.engine import ROOT
from benchmarks.peers.definitions import COMMON, Peer
from benchmarks.peers.smtp import Smtp
from benchmarks.peers.systems import FILTER, START
from host.guest import Card, Guest, Volume
from host.guest_image import RootFiles, guest_image
from host.namespace import Namespace
from host.nfs_host import PASSWD, PASSWORD, START_CONTAINER, image_disk, subjects
from mail_sockets import imap_on

if TYPE_CHECKING:
    import imaplib
    from pathlib import Path
    from types import TracebackType

GATEWAY, ADDRESS = "10.9.0.1", "10.9.0.5"
USERS = 4
DISK_MB = 512
PATIENCE = 600.0  # seconds for services to answer, and for a queue to be empty
SENDER = "someone@sender.example"
# Nothing starts by itself: the start script does it, as in the container.
_UNITS = (
    *("postfix", "dovecot", "dovecot.socket", "exim4", "opensmtpd", "cyrus-imapd", "saslauthd"),
    *("courier", "courier-authdaemon", "courier-imap", "courier-imap-ssl", "courier-mta"),
    *("courier-mta-ssl", "courier-msa", "courierfilter"),
)
_DISK = """#!/bin/bash
set -eu
ip address replace 10.9.0.5/24 dev ens5
ip link set ens5 up
hostname mail.example.org
mountpoint -q /srv || mount /dev/disk/by-id/virtio-data /srv
mkdir -p /srv/mail
"""
_PEER = (
    _DISK
    + """
mkdir -p /srv/kept
echo nameserver 10.9.0.1 >/etc/resolv.conf
systemd-run -q --unit=bench -E PASSWORD=@PASSWORD@ -E USERS=@USERS@ -E GATEWAY=10.9.0.1 \\
    -E RELAY=relay.example.net -E RELAY_PORT=25 sh /bench/start/@NAME@
"""
)
_OURS = (
    _DISK
    + """
C=/container
if ! mountpoint -q $C; then
    mkdir -p $C /indexes /srv/indexes
    mount --bind /srv/indexes /indexes
    chown 5000:5000 /srv/mail /srv/indexes && chmod 0700 /srv/mail /srv/indexes
    mount /dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_image $C
fi
"""
    + START_CONTAINER.replace("@STORE@", "mount --bind /srv/mail $C/srv/mail")
)
# By a program's package: what makes its queue run now, and what prints how many messages are in it.
_QUEUES = {
    "postfix": ("postqueue -f", "postqueue -j | wc -l"),
    "exim4-daemon-light": ("exim4 -qff", "exim4 -bpc"),
    "opensmtpd": ("smtpctl schedule all", "smtpctl show queue | wc -l"),
    "courier-mta": ("courier flush", "find /var/lib/courier/msgq -type f -name 'C*' | wc -l"),
}


class RefusedError(Exception):
    """A mailbox cannot be opened."""


class Machine(Protocol):
    """What a cut needs of a system."""

    guest: Guest

    async def open(self) -> Smtp:
        """Return a greeted connection that takes mail."""
        ...

    def start(self) -> None:
        """Start the system; wait until it takes mail and serves IMAP."""
        ...

    def queued(self) -> int:
        """Return how many messages are still in its queue, after it was told to try them."""
        ...

    def recipient(self, number: int) -> str:
        """Return the address of a user, from 0."""
        ...

    def subjects(self) -> list[str]:
        """Return the subjects of all messages in all mailboxes."""
        ...


class _Machine:
    """What both kinds share: a guest with the disk `data`, on a network of its own."""

    port = 25
    hello = b"EHLO"

    def __init__(self, directory: Path, root: RootFiles, volumes: list[Volume]) -> None:
        self.directory = directory
        self.network = Namespace()
        self.guest = Guest(
            guest_image(root),
            directory / "guest",
            self.network,
            [Card("tap5", "02:00:00:00:00:05", 5)],
            volumes,
            memory_mb=768,  # one processor: with two, emulated, the kernel panics now and then
        )
        self._nameserver: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.network.__enter__()
        try:
            self.network.ip("link add br0 type bridge")
            self.network.ip("link set br0 up")
            self.network.ip(f"address add {GATEWAY}/24 dev br0")
            self.network.tap("tap5", "br0")
            with (self.directory / "dnsmasq.log").open("w") as log:
                self._nameserver = subprocess.Popen(
                    self.network.inside(
                        *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null"),
                        *("--no-resolv", "--no-hosts", "--user=root", "--pid-file="),
                        f"--host-record=mail.sender.example,sender.example,example.org,{GATEWAY}",
                        *("--mx-host=sender.example,mail.sender.example,10", "--address=/#/"),
                    ),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            self.guest.__enter__()
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.guest.__exit__()
        if self._nameserver:
            self._nameserver.kill()
            self._nameserver.wait()
        self.network.__exit__()

    def start(self) -> None:
        """Start the system; wait until it takes mail and serves IMAP."""
        raise NotImplementedError

    def user(self, number: int) -> str:
        """Return the name that a user logs in with."""
        raise NotImplementedError

    def connected(self, port: int, timeout: float) -> socket.socket:
        """Return a connection to the guest."""
        made = self.network.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.settimeout(timeout)
        try:
            made.connect((ADDRESS, port))
        except BaseException:
            made.close()
            raise
        return made

    def await_ports(self) -> None:
        """Wait until both services greet."""
        end = time.monotonic() + PATIENCE
        for port in (self.port, 993):
            while True:
                with contextlib.suppress(OSError), self.connected(port, 30) as made:
                    if port == 993 or made.recv(1):
                        break
                assert time.monotonic() < end, f"port {port}: {self.guest.journal()[-3000:]}"
                time.sleep(0.5)

    async def open(self) -> Smtp:
        """Return a greeted connection that takes mail."""

        async def opened() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            made = self.network.socket(socket.AF_INET, socket.SOCK_STREAM)
            made.settimeout(0)
            await asyncio.get_running_loop().sock_connect(made, (ADDRESS, self.port))
            return await asyncio.open_connection(sock=made, limit=2**20)

        return await Smtp.open(opened, hello=self.hello)

    def subjects(self) -> list[str]:
        """Return the subjects of all messages in all mailboxes. Raise RefusedError."""
        found: list[str] = []
        for number in range(USERS):
            client: imaplib.IMAP4
            with imap_on(self.connected(993, 180), self.user(number), PASSWORD) as client:
                status, said = client.select("INBOX", readonly=True)
                if status != "OK":
                    raise RefusedError(f"{self.user(number)}: {said}")
                if int(said[0] or 0):
                    found += subjects(client)
        return found


class PeerMachine(_Machine):
    """A peer."""

    def __init__(self, peer: Peer, directory: Path, disk: Volume) -> None:
        self.peer = peer
        packages = (*COMMON, *peer.packages)
        units = f"systemctl mask {' '.join(_UNITS)}"
        root = RootFiles(packages=packages, commands=(units,), suite="trixie")
        super().__init__(directory, root, [disk])

    def start(self) -> None:
        """Start the script of its container."""
        for path in (START / "common", START / "features.conf", START / self.peer.name):
            self.guest.write(f"/bench/start/{path.name}", path.read_text())
        self.guest.write("/bench/junk.sieve", FILTER.read_text())
        for name in ("certificate.pem", "key.pem"):
            self.guest.write(f"/bench/{name}", (self.directory / name).read_text(), "0640")
        script = _PEER.replace("@NAME@", self.peer.name).replace("@USERS@", str(USERS))
        self.guest.write("/root/start", script.replace("@PASSWORD@", shlex.quote(PASSWORD)), "0755")
        self.guest.run("/root/start")
        self.await_ports()

    def user(self, number: int) -> str:
        """Return the name that a user logs in with."""
        return f"user{number + 1:02d}"

    def recipient(self, number: int) -> str:
        """Return the address of a user, from 0."""
        return f"{self.user(number)}@example.org"

    def queued(self) -> int:
        """Return how many messages are still in its queue, after it was told to try them."""
        flush, count = _QUEUES[self.peer.packages[0]]
        self.guest.run(flush, check=False)
        return int(self.guest.run(count).strip().splitlines()[-1])

    def versions(self) -> dict[str, str]:
        """Return those of its packages and its kernel."""
        shown = "dpkg-query -W -f '${Package} ${Version}\\n' " + " ".join(self.peer.versions)
        return dict(line.split(" ", 1) for line in self.guest.run(shown).splitlines())


class OurMachine(_Machine):
    """Our Dovecot, which `deliver` passes mail to: what it takes, SES's queue forgets."""

    port = 24
    hello = b"LHLO"

    def __init__(self, directory: Path, disk: Volume) -> None:
        image = directory / "image.img"
        volume = Volume(image if image.exists() else image_disk(directory), "image")
        root = RootFiles(packages=("socat", "procps"), suite="trixie")
        super().__init__(directory, root, [disk, volume])

    def start(self) -> None:
        """Start Dovecot's image."""
        self.guest.write("/root/passwd", PASSWD)
        self.guest.write("/root/start", _OURS, "0755")
        self.guest.run("/root/start")
        self.guest.await_output(
            "chroot /container /usr/local/bin/healthy && echo well; journalctl -u mail -n 20",
            "well",
            PATIENCE,
        )
        self.await_ports()

    def user(self, number: int) -> str:
        """Return the name that a user logs in with."""
        return self.recipient(number)

    def recipient(self, number: int) -> str:
        """Return the address of a user, from 0."""
        return f"u{number + 1}@example.org"

    def queued(self) -> int:
        """Return 0: what is queued is in SQS, not here."""
        return 0

    def versions(self) -> dict[str, str]:
        """Return Dovecot's."""
        said = self.guest.run("chroot /container /usr/sbin/dovecot --version")
        return {"dovecot": said.split()[0]}


def on_disk(guest: Guest, label: str) -> set[str]:
    """Return the subjects that are in any file of the system's disk, listed or not."""
    said = guest.run(f"grep -rhoaE 'Subject: {re.escape(label)}-[0-9]+' /srv || :")
    return {line.removeprefix("Subject: ") for line in said.splitlines()}


def certificate(directory: Path) -> None:
    """Make the peers' certificate."""
    files = ("-keyout", directory / "key.pem", "-out", directory / "certificate.pem")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-noenc", "-days", "9", "-subj", "/CN=mail.example.org", *files),
        ],
        check=True,
        capture_output=True,
        cwd=ROOT,
    )
