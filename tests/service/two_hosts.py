"""Two hosts with one file system, for tests: each is the home of one mailbox."""

from __future__ import annotations

import contextlib
import imaplib
import shutil
import smtplib
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from argon2 import PasswordHasher

from postal_plexus.config.lists import read_stack
from postal_plexus.directory import TABLES, Host
from service.certificates import Authority
from service.container_engine import Network, images
from service.mail_host import PASSWORD, MailHost
from wire import await_true

ANN, BEN = "ann@example.org", "ben@example.org"
NAMES = ("mail.example.org", "mail-2.example.org")
_HASH = "{ARGON2ID}" + PasswordHasher(time_cost=5, memory_cost=7168, parallelism=1).hash(PASSWORD)
STACK: dict[str, Any] = {
    "hosts": 2,
    "domains": ["example.org"],
    "mailboxes": [
        {"address": ANN, "password-hash": _HASH},
        {"address": BEN, "password-hash": _HASH, "host": 2},
    ],
}


@contextmanager
def two_hosts(network: Network, authority: Authority, root: Path) -> Iterator[list[MailHost]]:
    """Ann's home and Ben's, with Dovecot running on both."""
    prefix = network.gateway.rpartition(".")[0]
    addresses = [f"{prefix}.{number}" for number in (201, 202)]
    directory = read_stack(STACK).on_hosts(tuple(map(Host, NAMES, addresses)))
    made: list[MailHost] = []
    try:
        for number, (name, address) in enumerate(zip(NAMES, addresses, strict=True), 1):
            host = MailHost(network.engine, images("dovecot"), network, root / str(number))
            made.append(host)
            if number > 1:
                (host.root / "mail").rmdir()
                (host.root / "mail").symlink_to(made[0].root / "mail")
            for table, render in TABLES.items():
                host.write_table(table, render(directory))
            for file, to in zip(authority.issue(name), ("certificate", "key"), strict=True):
                shutil.copy(file, host.root / f"tls/{to}.pem")
                shutil.chown(host.root / f"tls/{to}.pem", 5004, 5003)
            host.start(
                "dovecot",
                {
                    "PLEXUS_HOSTNAME": name,
                    "PLEXUS_SHARD": str(number),
                    "PLEXUS_PEERS": " ".join(addresses),
                },
                [
                    f"--ip={address}",
                    # As an interface of EC2, which keeps its own whatever instance has it.
                    f"--mac-address=02:00:00:00:02:{number:02x}",
                    f"--volume={authority.file}:/etc/ssl/certs/ca-certificates.crt:ro",
                ],
            )
        # A new mailbox is host 1's, until that has left it to its home.
        await_true("Ben's home to have him", lambda: record(made[0], BEN) == "2 has\n")
        yield made
    finally:
        for host in made:
            host.close()


def imap(host: MailHost, authority_file: Path, address: str, password: str) -> imaplib.IMAP4_SSL:
    """A client of that host, logged in."""
    port = host.containers["dovecot"].port(993)
    context = ssl.create_default_context(cafile=str(authority_file))
    context.check_hostname = False  # clients of this test say 127.0.0.1
    client = imaplib.IMAP4_SSL("127.0.0.1", port, ssl_context=context, timeout=60)
    client.authenticate("PLAIN", lambda _: f"\0{address}\0{password}".encode())
    return client


def publish(host: MailHost, homes: dict[str, int]) -> None:
    """Write a host's tables with these homes."""
    prefix = host.network.gateway.rpartition(".")[0]
    stack = STACK | {
        "mailboxes": [m | {"host": homes[str(m["address"])]} for m in STACK["mailboxes"]]
    }
    directory = read_stack(stack).on_hosts(
        tuple(Host(name, f"{prefix}.{at}") for at, name in zip((201, 202), NAMES, strict=True))
    )
    for table, render in TABLES.items():
        host.write_table(table, render(directory))


def record(host: MailHost, address: str) -> str:
    """Who has a mailbox."""
    path = host.root / "mail/.homes" / address
    return path.read_text() if path.exists() else ""


class Served(Protocol):
    """A host, as its clients and deliveries see it."""

    def lmtp(self) -> smtplib.LMTP:
        """An LMTP client."""
        ...

    def imap(self, address: str) -> imaplib.IMAP4:
        """A client of a mailbox, logged in."""
        ...


@dataclass(frozen=True)
class InContainer:
    """A host of this file."""

    host: MailHost
    authority: Path

    def lmtp(self) -> smtplib.LMTP:
        return self.host.lmtp()

    def imap(self, address: str) -> imaplib.IMAP4:
        return imap(self.host, self.authority, address, PASSWORD)


class Load:
    """A client that appends and flags, and deliveries through both hosts, until `end`."""

    def __init__(self, hosts: Sequence[Served], address: str) -> None:
        self.accepted: list[str] = []
        self.flagged: set[str] = set()
        self.problems: list[str] = []
        self._ending = threading.Event()
        self._hosts, self._address = hosts, address
        work: list[Callable[[], None]] = [self._client, *(self._deliverer(h) for h in hosts)]
        self._threads = [threading.Thread(target=each, daemon=True) for each in work]
        for each in self._threads:
            each.start()

    def end(self) -> None:
        self._ending.set()
        for each in self._threads:
            each.join(60)
            assert not each.is_alive()
        assert not self.problems, self.problems[:5]

    def _deliverer(self, host: Served) -> Callable[[], None]:
        def run() -> None:
            number, by = 0, self._hosts.index(host)
            while not self._ending.is_set():
                number += 1
                name = f"delivery-{by}-{number}"
                content = f"Subject: {name}\r\n\r\n".encode()
                # Until it is taken, as `deliver` and Postfix do.
                while True:
                    try:
                        with host.lmtp() as lmtp:
                            lmtp.sendmail("a@b.example", [self._address], content)
                    except smtplib.SMTPRecipientsRefused as refused:
                        code, text = refused.recipients[self._address]
                        if code != 451:
                            self.problems.append(f"{code} {text!r}")
                    except smtplib.SMTPDataError as refused:
                        if refused.smtp_code != 451:
                            self.problems.append(str(refused))
                    except (OSError, smtplib.SMTPException) as error:
                        self.problems.append(f"{name}: {error!r}")
                        return
                    else:
                        break
                    time.sleep(0.2)
                self.accepted.append(name)
                time.sleep(0.05)

        return run

    def _client(self) -> None:
        number = 0
        while not self._ending.is_set():
            with contextlib.suppress(imaplib.IMAP4.abort, imaplib.IMAP4.error, OSError):
                client = self._hosts[number % 2].imap(self._address)
                client.select("INBOX")
                while not self._ending.is_set():
                    number += 1
                    name = f"appended-{number}"
                    content = f"Subject: {name}\r\n\r\n".encode()
                    answer = client.append("INBOX", "", "", content)
                    if answer[0] != "OK":
                        continue
                    self.accepted.append(name)
                    uid = str(answer[1][0]).partition("APPENDUID ")[2].split()[1].split("]")[0]
                    if client.uid("STORE", uid, "+FLAGS", r"(\Flagged kept)")[0] == "OK":
                        self.flagged.add(name)
                    time.sleep(0.02)
            number += 1
            time.sleep(0.1)


def found(client: imaplib.IMAP4) -> tuple[list[str], set[str]]:
    """The subjects in the inbox, and those of the flagged messages."""
    client.select("INBOX", readonly=True)
    answer = client.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
    every = [
        (part[1].decode().strip().removeprefix("Subject: "), part[0])
        for part in answer
        if isinstance(part, tuple)
    ]
    return [name for name, _ in every], {
        name for name, line in every if rb"\Flagged" in line and b"kept" in line
    }
