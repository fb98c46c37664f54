"""One mail host: its directories as the containers expect them, users, and the Dovecot container.

Needs root, as the host's directories belong to several users. Fails by `EngineError`.
"""

from __future__ import annotations

import os
import shutil
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.mailhost.engine import Container, Mount, image, wait_until
from postal_plexus.directory.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.mailhost.engine import Network
    from postal_plexus.directory import Directory

HOSTNAME = "mail.example.org"
SES_HOST = "email-smtp.us-east-1.amazonaws.com"
POSTFIX_FILES = ("main.cf", "master.cf")
VMAIL, DELIVER, POSTFIX, GROUP = 5000, 5001, 5002, 5003
PASSWORD = "a-password-of-no-worth"

# As the task definition confines it.
CONFINED = (
    "--read-only",
    *("--tmpfs", "/run", "--tmpfs", "/tmp"),
    *("--security-opt", "no-new-privileges"),
    *("--cap-drop", "ALL"),
    *(
        part
        for name in (
            "CHOWN",
            "DAC_OVERRIDE",
            "FOWNER",
            "KILL",
            "NET_BIND_SERVICE",
            "SETGID",
            "SETUID",
            "SYS_CHROOT",
        )
        for part in ("--cap-add", name)
    ),
)


@dataclass(frozen=True, slots=True)
class Place:
    """The host's directories below one root."""

    root: Path

    @property
    def dovecot(self) -> Path:
        """Sockets of Dovecot."""
        return self.root / "run" / "dovecot"

    @property
    def directory(self) -> Path:
        """The directory object and its tables."""
        return self.root / "run" / "directory"

    @property
    def postfix(self) -> Path:
        """Sockets of Postfix."""
        return self.root / "run" / "postfix"

    @property
    def sieve(self) -> Path:
        """Postfix's socket for what filters send."""
        return self.root / "run" / "sieve"

    @property
    def tls(self) -> Path:
        """Certificate and key."""
        return self.root / "tls"

    @property
    def mail(self) -> Path:
        """The mail store."""
        return self.root / "mail"

    @property
    def indexes(self) -> Path:
        """The mailboxes' indexes."""
        return self.root / "indexes"

    @property
    def deliver(self) -> Path:
        """What `deliver` remembers."""
        return self.root / "deliver"

    @property
    def queue(self) -> Path:
        """Postfix's queue."""
        return self.root / "queue"

    @property
    def lmtp(self) -> Path:
        """Dovecot's LMTP socket."""
        return self.dovecot / "lmtp.sock"

    def make(self) -> None:
        """Make the directories with the owners and modes of the contract."""
        for path, user, group, mode in (
            (self.root, 0, 0, 0o755),
            (self.root / "run", 0, 0, 0o755),
            (self.dovecot, 0, 0, 0o755),
            (self.postfix, POSTFIX, POSTFIX, 0o755),
            (self.sieve, POSTFIX, POSTFIX, 0o755),
            (self.queue, 0, 0, 0o755),
            (self.directory, DELIVER, GROUP, 0o755),
            (self.tls, 0, GROUP, 0o750),
            (self.mail, VMAIL, VMAIL, 0o750),
            (self.indexes, VMAIL, VMAIL, 0o700),
            (self.deliver, DELIVER, GROUP, 0o700),
        ):
            path.mkdir(parents=True, exist_ok=True)
            os.chown(path, user, group)
            path.chmod(mode)

    def keep(self, directory: Directory) -> None:
        """Put the directory's tables where an earlier `deliver` would have left them."""
        files = {name: render(directory).encode() for name, render in TABLES.items()}
        for name, content in (files | {"directory.json": directory.to_json()}).items():
            path = self.directory / name
            path.write_bytes(content)
            os.chown(path, DELIVER, GROUP)
            path.chmod(0o640 if "passwd" in name or name.endswith("json") else 0o644)

    def empty_mailboxes(self) -> None:
        """Drop every mail; the next delivery makes a mailbox anew.

        Dovecot may still write an index that belongs to the last one: then once more.
        """
        wait_until("the mailboxes to be empty", self._empty)

    def _empty(self) -> bool:
        """Remove what is in both; return whether both were empty, names with a dot excepted."""
        left = [
            path
            for directory in (self.mail, self.indexes)
            for path in directory.iterdir()
            if not path.name.startswith(".")
        ]
        for path in left:
            shutil.rmtree(path, ignore_errors=True)
        return not left

    def record_bytes(self) -> int:
        """Return the bytes of `deliver`'s journal on disk."""
        return sum(path.stat().st_size for path in self.deliver.rglob("*") if path.is_file())


def dovecot(
    name: str,
    place: Place,
    *,
    memory: str = "128m",
    configuration: Path | None = None,
    environment: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
) -> Container:
    """Return the Dovecot container of this checkout on a place, not started.

    `configuration` takes the place of its own file: to measure one setting against another.
    `environment` has what a host of several is told besides.
    """
    own = "/etc/dovecot/dovecot.conf"
    return Container(
        name,
        image("dovecot"),
        mounts=[
            Mount(place.dovecot, "/run/plexus/dovecot"),
            Mount(place.postfix, "/run/plexus/postfix", read_only=True),
            Mount(place.sieve, "/run/plexus/sieve", read_only=True),
            Mount(place.directory, "/run/plexus/directory", read_only=True),
            Mount(place.tls, "/etc/plexus/tls"),
            Mount(place.mail, "/srv/mail"),
            Mount(place.indexes, "/srv/indexes"),
            *([Mount(configuration, own, read_only=True)] if configuration else []),
        ],
        environment={"PLEXUS_HOSTNAME": HOSTNAME, **(environment or {})},
        options=[
            *("--memory", memory, "--memory-swap", memory),
            *("--publish", "127.0.0.1::993", "--publish", "127.0.0.1::4190"),
            *CONFINED,
            *options,
        ],
    )


def start_dovecot(container: Container, place: Place) -> None:
    """Start it; returns when LMTP greets. Raises EngineError with its log."""
    container.start()
    wait_until(f"LMTP of {container.name}: {container.logs()[-500:]}", lambda: greets(place.lmtp))


def postfix(
    name: str,
    place: Place,
    network: Network,
    endpoint: int,
    trusted: Path,
    *,
    memory: str = "64m",
    configuration: Path | None = None,
) -> Container:
    """Return the Postfix container of this checkout on a place, not started.

    SES is at port `endpoint` of the network's gateway, and `trusted` vouches for it. A directory
    `configuration` with main.cf and master.cf takes the place of its own.
    """
    own = "/usr/local/share/plexus/postfix"
    replaced = POSTFIX_FILES if configuration else ()
    return Container(
        name,
        image("postfix"),
        mounts=[
            Mount(place.dovecot, "/run/plexus/dovecot", read_only=True),
            Mount(place.postfix, "/run/plexus/postfix"),
            Mount(place.sieve, "/run/plexus/sieve"),
            Mount(place.directory, "/run/plexus/directory", read_only=True),
            Mount(place.tls, "/etc/plexus/tls", read_only=True),
            Mount(place.queue, "/var/spool/postfix"),
            Mount(trusted, "/etc/ssl/certs/ca-certificates.crt", read_only=True),
            *(
                Mount(configuration / file, f"{own}/{file}", read_only=True)
                for file in replaced
                if configuration
            ),
        ],
        environment={
            "PLEXUS_HOSTNAME": HOSTNAME,
            "SES_SMTP_ENDPOINT": f"{SES_HOST}:{endpoint}",
            "SES_SMTP_USERNAME": "AKIDEXAMPLE",
            "SES_SMTP_PASSWORD": "BPa55word",
            # Fifty users send more in an hour of measurements than people do.
            "PLEXUS_SUBMISSION_LIMITS": " ".join(
                f"{kind}{what}-{window}=1000000"
                for kind in ("", "automatic-")
                for what in ("messages", "recipients")
                for window in ("hour", "day")
            ),
        },
        options=[
            *("--memory", memory, "--memory-swap", memory, "--network", network.name),
            *("--publish", "127.0.0.1::465", "--add-host", f"{SES_HOST}:{network.gateway}"),
            *CONFINED,
        ],
    )


def start_postfix(container: Container, place: Place) -> None:
    """Start it; returns when it takes mail from its neighbours. Raises EngineError with its log."""
    container.start()
    wait_until(f"Postfix: {container.logs()[-500:]}", lambda: greets(place.postfix / "inject.sock"))


def greets(path: Path) -> bool:
    """Return whether an LMTP or SMTP server answers on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(2)
        try:
            client.connect(str(path))
            return client.recv(3) == b"220"
        except OSError:
            return False


def trusting(place: Place) -> ssl.SSLContext:
    """Return a TLS context that trusts this host's own certificate."""
    return ssl.create_default_context(cafile=str(place.tls / "certificate.pem"))
