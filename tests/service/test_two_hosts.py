"""Two hosts with one file system: each mailbox is opened by its home, and reached through both."""

from __future__ import annotations

import imaplib
import smtplib
import ssl
from collections.abc import Iterator

import pytest

from service.certificates import Authority
from service.container_engine import Network
from service.mail_host import PASSWORD, MailHost
from service.managesieve import ManageSieve
from service.two_hosts import ANN, BEN, Load, found, imap, publish, record, two_hosts
from wire import await_true

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def hosts(
    network: Network, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[MailHost]]:
    """Ann's home and Ben's, with Dovecot running on both."""
    with two_hosts(network, authority, tmp_path_factory.mktemp("hosts")) as made:
        yield made


def deliver(host: MailHost, recipient: str, subject: str) -> None:
    """By LMTP on the host's socket, as Postfix does."""
    with host.lmtp() as lmtp:
        content = f"Subject: {subject}\r\n\r\n".encode()
        assert {} == lmtp.sendmail("a@b.example", [recipient], content)


def delivered(host: MailHost, recipient: str, subject: str) -> bool:
    """Whether it was taken; otherwise it is to be tried again."""
    try:
        deliver(host, recipient, subject)
    except smtplib.SMTPRecipientsRefused as refused:
        assert {451} == {code for code, _ in refused.recipients.values()}
        return False
    return True


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


def test_filters_are_set_at_home_through_either_host(
    hosts: list[MailHost], authority: Authority
) -> None:
    """ManageSieve of both mailboxes on each host: the home's Dovecot files by what was set."""
    for number, host in enumerate(hosts, 1):
        for address in (ANN, BEN):
            script = f'require ["fileinto", "mailbox"]; fileinto :create "By{number}";'
            client = filters(host, authority, address, PASSWORD)
            client.activate(f"by{number}", script)
            assert script in client.get(f"by{number}")
            deliver(hosts[2 - number], address, subject="filed")
            client.deactivate()
            client.close()
            with imap(host, authority.file, address, PASSWORD) as reader:
                assert "OK" == reader.select(f"By{number}", readonly=True)[0]
                assert [b"1"] == reader.search(None, "ALL")[1]
    with pytest.raises(AssertionError, match="NO"):
        filters(hosts[0], authority, BEN, "wrong")


def filters(host: MailHost, authority: Authority, address: str, password: str) -> ManageSieve:
    """A ManageSieve client of that host, logged in."""
    context = ssl.create_default_context(cafile=str(authority.file))
    context.check_hostname = False
    return ManageSieve(host.containers["dovecot"].port(4190), context, address, password)


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
    # Host 1's proxy asks again after some time only.
    await_true("mail to be taken again", lambda: delivered(hosts[0], BEN, subject="after"))


def test_a_mailbox_moves_there_and_back_under_load(
    hosts: list[MailHost], authority: Authority
) -> None:
    """With the directory's change seen by one host before the other: 0 lost, 0 doubled, all flags."""
    load = Load(hosts, authority.file, ANN)
    await_true("the load to begin", lambda: len(load.accepted) > 20 and len(load.flagged) > 5)
    for home, first in ((2, 2), (1, 2), (2, 1)):
        before = len(load.accepted)
        publish(hosts[first - 1], {ANN: home, BEN: 2})
        if first == home:
            # The new home can do nothing before the old one has left it, where work goes on.
            await_true("work", lambda n=before: len(load.accepted) > n + 5)
            assert f"{3 - home} has\n" == record(hosts[0], ANN)
        else:
            await_true("the old home to leave it", lambda: "takes" in record(hosts[0], ANN))
        publish(hosts[2 - first], {ANN: home, BEN: 2})
        await_true("it to have moved", lambda to=home: f"{to} has\n" == record(hosts[0], ANN))
        moved = len(load.accepted)
        await_true("work there", lambda n=moved: len(load.accepted) > n + 30)
    load.end()
    for host in hosts:
        with imap(host, authority.file, ANN, PASSWORD) as client:
            there, flagged = found(client)
        assert sorted(load.accepted) == sorted(n for n in there if n in set(load.accepted))
        # What was appended while its connection ended may be there without an answer.
        assert len(there) == len(set(there))
        assert load.flagged <= flagged
    assert not (hosts[0].root / "indexes/example.org/ann").exists()
    for host in hosts:
        assert "Corrupt" not in host.containers["dovecot"].logs()


@pytest.mark.parametrize(("home", "killed"), [(1, 2), (2, 2)])
def test_a_killed_host_finishes_the_move_when_it_is_back(
    hosts: list[MailHost], authority: Authority, home: int, killed: int
) -> None:
    """Killed as the old home and as the new one: the mailbox arrives, with its flags."""
    with imap(hosts[2 - home], authority.file, ANN, PASSWORD) as client:
        before = found(client)
    dovecot = hosts[killed - 1].containers["dovecot"]
    for host in hosts:
        publish(host, {ANN: home, BEN: 2})
    dovecot.engine("kill", dovecot.id)
    dovecot.engine("start", dovecot.id)
    await_true("it to be back", dovecot.healthy)
    await_true("it to have moved", lambda: f"{home} has\n" == record(hosts[0], ANN))
    # The other host's proxy asks again after some time only, so this asks the home.
    with imap(hosts[home - 1], authority.file, ANN, PASSWORD) as client:
        assert before == found(client)
