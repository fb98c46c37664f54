"""Two hosts with one file system: each mailbox is opened by its home, and reached through both."""

from __future__ import annotations

import imaplib
import shutil
import smtplib
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from postal_plexus.config.lists import read_stack
from postal_plexus.directory import TABLES, Host
from service.certificates import Authority
from service.container_engine import Network, images
from service.mail_host import PASSWORD, MailHost
from wire import await_true

pytestmark = pytest.mark.timeout(600)

ANN, BEN = "ann@example.org", "ben@example.org"
NAMES = ("mail.example.org", "mail-2.example.org")
_HASH = "{ARGON2ID}" + PasswordHasher(time_cost=5, memory_cost=7168, parallelism=1).hash(PASSWORD)
STACK = {
    "hosts": 2,
    "domains": ["example.org"],
    "mailboxes": [
        {"address": ANN, "password-hash": _HASH},
        {"address": BEN, "password-hash": _HASH, "host": 2},
    ],
}


@pytest.fixture(scope="module")
def hosts(
    network: Network, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[MailHost]]:
    """Ann's home and Ben's, with Dovecot running on both."""
    root = tmp_path_factory.mktemp("hosts")
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
                    f"--volume={authority.file}:/etc/ssl/certs/ca-certificates.crt:ro",
                ],
            )
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


def deliver(host: MailHost, recipient: str, subject: str) -> None:
    """By LMTP on the host's socket, as Postfix does."""
    with host.lmtp() as lmtp:
        content = f"Subject: {subject}\r\n\r\n".encode()
        assert {} == lmtp.sendmail("a@b.example", [recipient], content)


def subjects(client: imaplib.IMAP4_SSL) -> list[str]:
    """The subjects in the inbox."""
    client.select("INBOX", readonly=True)
    found = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
    return [part[1].decode().strip() for part in found if isinstance(part, tuple)]


def test_mail_and_clients_reach_the_home_through_either_host(
    hosts: list[MailHost], authority: Authority
) -> None:
    """LMTP to both mailboxes on each host, and IMAP of both on each: each message once."""
    for number, host in enumerate(hosts, 1):
        for address in (ANN, BEN):
            deliver(host, address, subject=f"by host {number}")
    for host in hosts:
        for address in (ANN, BEN):
            with imap(host, authority.file, address, PASSWORD) as client:
                assert ["Subject: by host 1", "Subject: by host 2"] == subjects(client)


def test_nothing_but_the_home_opens_a_mailbox(hosts: list[MailHost]) -> None:
    """Each host has indexes of its own mailboxes only, also after the other's client was there."""
    assert [["ann"], ["ben"]] == [
        sorted(path.name for path in (host.root / "indexes/example.org").iterdir())
        for host in hosts
    ]
    with pytest.raises(AssertionError, match="Auth USER lookup failed"):
        hosts[0].containers["dovecot"].exec("doveadm", "mailbox", "list", "-u", BEN)


def test_passwords_are_checked_at_home(hosts: list[MailHost], authority: Authority) -> None:
    """A wrong one is refused there, and counted for the client's address."""
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        imap(hosts[0], authority.file, BEN, "wrong")
    guesses = [
        sorted(path.name for path in (host.root / "run/dovecot/guesses").iterdir())
        for host in hosts
    ]
    assert [] == guesses[0]
    assert f"user-{BEN}" in guesses[1]
    gateway = hosts[0].network.gateway
    assert f"address-{gateway}" in guesses[1], guesses


def test_unknown_recipients_are_refused_for_good(hosts: list[MailHost]) -> None:
    """Whoever lives nowhere gets 550, on each host."""
    for host in hosts:
        with host.lmtp() as lmtp, pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            lmtp.sendmail("a@b.example", ["nobody@example.org"], b"Subject: a\r\n\r\n")
        assert 550 == refused.value.recipients["nobody@example.org"][0]


def test_a_home_that_is_away_delays_its_own_users(
    hosts: list[MailHost], authority: Authority
) -> None:
    """Mail for them is to be tried again, never refused; the other host's users notice nothing."""
    second = hosts[1].containers["dovecot"]
    second.engine("stop", "--time", "100", second.id)
    try:
        with hosts[0].lmtp() as lmtp, pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            lmtp.sendmail("a@b.example", [BEN], b"Subject: a\r\n\r\n")
        assert 451 == refused.value.recipients[BEN][0]
        deliver(hosts[0], ANN, subject="meanwhile")
        with imap(hosts[0], authority.file, ANN, PASSWORD) as client:
            assert "Subject: meanwhile" in subjects(client)
    finally:
        second.engine("start", second.id)
    await_true("the home to be back", second.healthy)
    deliver(hosts[0], BEN, subject="after")
