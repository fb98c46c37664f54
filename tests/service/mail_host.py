"""A mail host for tests: its directories as on EC2, and our Dovecot and Postfix on them.

The directories' owners and modes, mounts, environment, capabilities, memory limits and health
checks are those of the task definitions.
"""

from __future__ import annotations

import imaplib
import os
import smtplib
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from argon2 import PasswordHasher

from postal_plexus.config.lists import read_stack
from postal_plexus.directory import TABLES
from service.container_engine import Container, Engine, Network, images
from wire import await_true

HOSTNAME = "mail.example.org"
SES_HOST = "email-smtp.us-east-1.amazonaws.com"
ODD_ADDRESS = "a!#$%&*=?^_`{|}~-b@example.org"
PASSWORD = "correct horse battery staple"
_HASH = "{ARGON2ID}" + PasswordHasher(time_cost=5, memory_cost=7168, parallelism=1).hash(PASSWORD)

# Path on the host below the test's directory: owner, group, mode.
HOST_DIRECTORIES = {
    "run/dovecot": (0, 0, 0o755),
    "run/postfix": (5002, 5002, 0o755),
    "run/sieve": (5002, 5002, 0o755),
    "run/directory": (5001, 5003, 0o755),
    "run/web": (5002, 5005, 0o750),
    "tls": (0, 5003, 0o750),
    "queue": (0, 0, 0o755),
    "deliver": (5001, 5003, 0o700),
    "mail": (5000, 5000, 0o750),
    "indexes": (5000, 5000, 0o700),
    "webmail": (0, 0, 0o711),
    "calendars": (5007, 5005, 0o750),
}
# What each container mounts, as a task definition says.
MOUNTS = {
    "dovecot": (
        ("run/dovecot", "/run/plexus/dovecot", "rw"),
        ("run/sieve", "/run/plexus/sieve", "ro"),
        ("run/directory", "/run/plexus/directory", "ro"),
        ("tls", "/etc/plexus/tls", "rw"),
        ("mail", "/srv/mail", "rw"),
        ("indexes", "/srv/indexes", "rw"),
    ),
    "postfix": (
        ("run/dovecot", "/run/plexus/dovecot", "ro"),
        ("run/postfix", "/run/plexus/postfix", "rw"),
        ("run/sieve", "/run/plexus/sieve", "rw"),
        ("run/directory", "/run/plexus/directory", "ro"),
        ("tls", "/etc/plexus/tls", "ro"),
        ("queue", "/var/spool/postfix", "rw"),
    ),
    "web": (
        ("run/web", "/run/plexus/web", "ro"),
        ("tls", "/etc/plexus/tls", "ro"),
        ("webmail", "/var/lib/webmail", "rw"),
        ("calendars", "/srv/calendars", "rw"),
    ),
}
CAPABILITIES = {
    "dovecot": "CHOWN,DAC_OVERRIDE,FOWNER,KILL,NET_BIND_SERVICE,SETGID,SETUID,SYS_CHROOT",
    "postfix": "CHOWN,DAC_OVERRIDE,FOWNER,KILL,NET_BIND_SERVICE,SETGID,SETUID",
    "web": "CHOWN,KILL,NET_BIND_SERVICE,SETGID,SETUID",
}
MEMORY = {"dovecot": "128m", "postfix": "64m", "web": "80m"}
PORTS = {"dovecot": (993, 4190), "postfix": (465, 587), "web": (443,)}

STACK = {
    "domains": ["example.org", {"name": "example.net", "catch-all": "ann@example.org"}],
    "mailboxes": [
        {"address": "ann@example.org", "password-hash": _HASH},
        {"address": "ben@example.org", "password-hash": _HASH, "send-as": ["away@example.org"]},
        {"address": ODD_ADDRESS, "password-hash": _HASH},
    ],
    "aliases": [
        {"address": "info@example.org", "destinations": ["ann@example.org", "ben@example.org"]},
        {"address": "away@example.org", "destinations": ["someone@elsewhere.example"]},
    ],
}


@dataclass
class MailHost:
    """The host's directories and the containers on them; `close` ends all."""

    engine: Engine
    images: Mapping[str, str]
    network: Network
    root: Path
    containers: dict[str, Container] = field(default_factory=dict)
    # Other servers on the network, for tasks: name -> address. The engine's DNS forgets names for a
    # moment while containers come and go.
    names: dict[str, str] = field(default_factory=dict[str, str])
    # Whether Dovecot and Postfix have the web container beside them.
    has_web: bool = False

    def __post_init__(self) -> None:
        for name, (owner, group, mode) in HOST_DIRECTORIES.items():
            path = self.root / name
            path.mkdir(parents=True, exist_ok=True)
            os.chown(path, owner, group)
            path.chmod(mode)

    # The directory ------------------------------------------------------------------------------

    def write_directory(self, stack: Mapping[str, object] = STACK) -> None:
        """Write the directory's files as `deliver` does: each replaced atomically."""
        directory = read_stack(stack)
        for name, render in TABLES.items():
            self.write_table(name, render(directory))

    def write_table(self, name: str, text: str) -> None:
        """Replace one of the directory's files."""
        path = self.root / "run/directory" / name
        fresh = path.with_name(f".{name}.new")
        fresh.write_text(text)
        os.chown(fresh, 5001, 5003)
        fresh.chmod(0o640 if name == "dovecot-passwd" else 0o644)
        fresh.rename(path)

    # Containers ---------------------------------------------------------------------------------

    def start(
        self,
        name: str,
        environment: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
        *,
        await_health: bool = True,
        await_resync: bool = True,
    ) -> Container:
        """Start Dovecot or Postfix; by default wait until its health check passes.

        And until Dovecot has compared indexes of a copy with their messages: this ends the
        sessions of clients that have such a folder open.
        """
        given = {"PLEXUS_HOSTNAME": HOSTNAME, "PLEXUS_FOLLOW_SECONDS": "1"} | dict(
            environment or {}
        )
        if old := self.containers.pop(name, None):
            old.remove()
        mounts = [*MOUNTS[name]]
        if self.has_web and name != "web":
            mounts.append(("run/web", "/run/plexus/web", "rw"))
        container = Container.run(
            self.engine,
            self.images[name],
            [
                *("--network", self.network.name, "--read-only", "--tmpfs=/run", "--tmpfs=/tmp"),
                *("--cap-drop=all", f"--cap-add={CAPABILITIES[name]}"),
                *("--security-opt=no-new-privileges",),
                *(f"--memory={MEMORY[name]}", f"--memory-swap={MEMORY[name]}"),
                *(f"--env={key}={value}" for key, value in given.items()),
                *(f"--publish=127.0.0.1::{port}" for port in PORTS[name]),
                *(f"--volume={self.root / host}:{to}:{mode}" for host, to, mode in mounts),
                *options,
            ],
        )
        self.containers[name] = container
        if await_health:
            await_true(f"{name} to be healthy", lambda: self._healthy(container))
            if name == "dovecot" and await_resync:
                self.await_resync()
        return container

    def await_resync(self) -> None:
        """Wait until no index of a copy is left to be compared with its messages."""
        left = self.root / "indexes/.resync"
        await_true("the indexes to be compared with the mails", lambda: not left.exists())

    def _healthy(self, container: Container) -> bool:
        if container.healthy():
            return True
        assert container.running(), container.logs()
        return False

    def start_postfix(
        self,
        ses_port: int,
        ca_file: Path,
        *,
        ses_host: str = SES_HOST,
        limits: str = "",
        await_health: bool = True,
    ) -> Container:
        """Start Postfix with an SES endpoint on this machine, which `ca_file` vouches for."""
        return self.start(
            "postfix",
            {
                "SES_SMTP_ENDPOINT": f"{ses_host}:{ses_port}",
                "SES_SMTP_USERNAME": "AKIDEXAMPLE",
                "SES_SMTP_PASSWORD": "BPa55word+/=",
                "PLEXUS_SUBMISSION_LIMITS": limits,
            },
            [
                f"--add-host={ses_host}:{self.network.gateway}",
                f"--volume={ca_file}:/etc/ssl/certs/ca-certificates.crt:ro",
            ],
            await_health=await_health,
        )

    def close(self) -> None:
        """End all containers; their directories stay."""
        for container in self.containers.values():
            container.remove()
        self.containers.clear()

    # Clients ------------------------------------------------------------------------------------

    def tls(self) -> ssl.SSLContext:
        """A client's TLS settings that trust exactly the host's certificate."""
        context = ssl.create_default_context(cafile=str(self.root / "tls/certificate.pem"))
        context.check_hostname = False  # clients of this test say 127.0.0.1
        return context

    def imap(self, address: str, password: str = PASSWORD) -> imaplib.IMAP4_SSL:
        """A logged-in IMAP client."""
        port = self.containers["dovecot"].port(993)
        client = imaplib.IMAP4_SSL("127.0.0.1", port, ssl_context=self.tls(), timeout=60)
        client.authenticate("PLAIN", lambda _: f"\0{address}\0{password}".encode())
        return client

    def lmtp(self) -> smtplib.LMTP:
        """An LMTP client on Dovecot's socket."""
        return smtplib.LMTP(str(self.root / "run/dovecot/lmtp.sock"))

    def submission(self, login: str | None = None, *, port: int = 587) -> smtplib.SMTP:
        """An SMTP client inside TLS, logged in if a login is given."""
        published = self.containers["postfix"].port(port)
        client = smtplib.SMTP_SSL if port == 465 else smtplib.SMTP
        options = {"context": self.tls()} if port == 465 else {}
        smtp = client("127.0.0.1", published, timeout=60, **options)
        if port != 465:
            smtp.starttls(context=self.tls())
        if login:
            smtp.login(login, PASSWORD)
        return smtp


@contextmanager
def prepared(
    network: Network, root: Path, *names: str, has_web: bool = False
) -> Iterator[MailHost]:
    """A host with a directory, on which nothing runs yet; what was started ends with the block."""
    made = MailHost(network.engine, images(*names), network, root, has_web=has_web)
    try:
        made.write_directory()
        yield made
    finally:
        made.close()
