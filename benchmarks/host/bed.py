"""The bed: one host's directories, fifty users, and its containers with our settings or defaults.

Passwords are hashed as `plexus password` does it: a login costs what it does in production.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.deliver.bed import named
from benchmarks.host import defaults
from benchmarks.host.sink import Sink
from benchmarks.mailhost.engine import ROOT, Network
from benchmarks.mailhost.host import (
    GROUP,
    PASSWORD,
    POSTFIX_FILES,
    SES_HOST,
    Place,
    dovecot,
    postfix,
    start_dovecot,
    start_postfix,
    trusting,
)
from benchmarks.mailhost.imap import Session
from postal_plexus.cli.password import hashed
from postal_plexus.directory import Directory, Domain, Mailbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.mailhost.engine import Container

USERS = 50
BIG = "big@example.org"
CONFIGURATIONS = ("ours", "defaults")


def user(number: int) -> str:
    """Return the address of the user with this number, from 1."""
    return f"user{number:02d}@example.org"


def directory() -> Directory:
    """Fifty mailboxes of one domain, and the big one."""
    password = hashed(PASSWORD)
    addresses = [*(user(n) for n in range(1, USERS + 1)), BIG]
    return Directory(
        (Domain("example.org"),), tuple(Mailbox(address, password) for address in addresses)
    )


def configuration(folder: Path, which: str) -> tuple[Path, Path]:
    """dovecot.conf, and the directory of main.cf and master.cf; ours, or with defaults."""
    containers = ROOT / "containers"
    if which == "ours":
        return containers / "dovecot" / "dovecot.conf", containers / "postfix"
    folder.mkdir(exist_ok=True)
    ours = (containers / "dovecot" / "dovecot.conf").read_text()
    (folder / "dovecot.conf").write_text(defaults.dovecot(ours))
    main, master = ((containers / "postfix" / name).read_text() for name in POSTFIX_FILES)
    for name, text in zip(POSTFIX_FILES, defaults.postfix(main, master), strict=True):
        (folder / name).write_text(text)
    return folder / "dovecot.conf", folder


@dataclass
class Bed:
    """A place, and what runs on it."""

    place: Place
    network: Network
    sink: Sink
    trusted: Path
    which: str
    made: list[Container] = field(default_factory=list)

    def dovecot(self, memory: str, conf: Path | None = None) -> Container:
        """Provide a running Dovecot with this bed's settings, or with those of a file."""
        own, _ = configuration(self.place.root / "defaults", self.which)
        box = dovecot(named("dovecot"), self.place, memory=memory, configuration=conf or own)
        self.made.append(box)
        start_dovecot(box, self.place)
        return box

    def restart(self, box: Container) -> None:
        """Start a Dovecot again, stopped or not; its messages stay."""
        box.stop()
        start_dovecot(box, self.place)

    def postfix(self, memory: str) -> Container:
        """Provide a running Postfix with this bed's settings."""
        _, own = configuration(self.place.root / "defaults", self.which)
        box = postfix(
            named(f"postfix-{self.which}"),
            self.place,
            self.network,
            self.sink.port,
            self.trusted,
            memory=memory,
            configuration=own,
        )
        self.made.append(box)
        start_postfix(box, self.place)
        return box

    async def session(self, box: Container, address: str) -> Session:
        """Provide a client that has logged in."""
        return await Session.open(box.port(993), trusting(self.place), address, PASSWORD)

    async def idling(self, box: Container) -> list[Session]:
        """Provide a client in IDLE for each user; each logs in after the one before sleeps."""
        sessions: list[Session] = []
        for number in range(1, USERS + 1):
            sessions.append(await self.session(box, user(number)))
            await sessions[-1].idle()
        return sessions

    def close(self) -> None:
        """Remove the containers."""
        for box in self.made:
            box.remove()
        self.made.clear()


@contextmanager
def laid(*which: str) -> Iterator[tuple[Bed, ...]]:
    """Provide a bed for each named configuration, on one network with one endpoint."""
    base = ROOT / ".build"
    base.mkdir(exist_ok=True)
    network = Network(named("host"))
    directories = directory()
    with tempfile.TemporaryDirectory(dir=base, prefix="bench-host-") as scratch:
        root = Path(scratch)
        root.chmod(0o755)
        certificate, key = _certificate(root, SES_HOST)
        sink = Sink(network.gateway, certificate, key)
        beds: list[Bed] = []
        try:
            for each in which:
                place = Place(root / each)
                place.make()
                place.keep(directories)
                _own_certificate(place, root)
                beds.append(Bed(place, network, sink, certificate, each))
            yield tuple(beds)
        finally:
            for bed in beds:
                bed.close()
            sink.close()
            network.remove()


def _certificate(folder: Path, host: str) -> tuple[Path, Path]:
    certificate, key = folder / f"{host}.pem", folder / f"{host}.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-noenc", "-days", "2", "-subj", f"/CN={host}"),
            *("-addext", f"subjectAltName=DNS:{host}", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


def _own_certificate(place: Place, folder: Path) -> None:
    for made, name in zip(
        _certificate(folder, "mail.example.org"), ("certificate", "key"), strict=True
    ):
        shutil.copy(made, place.tls / f"{name}.pem")
        shutil.chown(place.tls / f"{name}.pem", 0, GROUP)
        (place.tls / f"{name}.pem").chmod(0o640)
