"""Two hosts with one file system: each mailbox is opened by its home, and reached through both."""

from __future__ import annotations

import contextlib
import imaplib
import os
import smtplib
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from postal_plexus.deliver.doveadm import Doveadm
from service.auth_client import AuthClient
from service.certificates import Authority
from service.container_engine import Network
from service.mail_host import PASSWORD, MailHost
from service.managesieve import ManageSieve
from service.two_hosts import ANN, BEN, InContainer, Load, found, imap, publish, record, two_hosts
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


def indexed(host: MailHost) -> list[str]:
    """The mailboxes whose indexes a host has. Of those that left it there is an empty directory."""
    return sorted({path.parent.name for path in host.root.glob("indexes/example.org/*/*")})


def test_nothing_but_the_home_opens_a_mailbox(hosts: list[MailHost]) -> None:
    """Each host has indexes of its own mailboxes only, also after the other's client was there."""
    assert [["ann"], ["ben"]] == [indexed(host) for host in hosts]
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


def test_a_home_answers_whether_an_interrupted_delivery_arrived(hosts: list[MailHost]) -> None:
    """Asked on either host, as `deliver` does after a crash, also if the mailbox moved since."""
    for address in (ANN, BEN):
        with hosts[0].lmtp() as lmtp:
            content = f"X-Plexus-Receipt: asked-{address}\r\nSubject: asked\r\n\r\n".encode()
            assert {} == lmtp.sendmail("a@b.example", [address], content)
    for host in hosts:
        question = Doveadm(str(host.root / "run/dovecot/question.sock"))
        for address in (ANN, BEN):
            assert question.holds(address, f"asked-{address}") is True
            assert question.holds(address, "another") is False
        assert question.holds("nobody@example.org", "another") is None


def test_guessing_is_limited_at_home_and_for_submission_on_each_host(
    hosts: list[MailHost], authority: Authority
) -> None:
    """IMAP through both hosts: ten guesses in all. Submission: ten on each, as docs/shards.md says."""
    forget_guesses(hosts)

    def refusals(*attempts: tuple[int, str]) -> list[str]:
        """Return the refusals of logins on hosts, side by side: each is answered after seconds."""

        def refusal(attempt: tuple[int, str]) -> str:
            number, password = attempt
            with pytest.raises(imaplib.IMAP4.error) as no:
                imap(hosts[number % 2], authority.file, BEN, password)
            return str(no.value)

        with ThreadPoolExecutor(len(attempts)) as side_by_side:
            return list(side_by_side.map(refusal, attempts))

    try:
        guesses = [(number, f"guess {number}") for number in range(12)]
        wrong = refusals(*guesses[:10])
        assert all("AUTHENTICATIONFAILED" in each for each in wrong), wrong
        too_many = refusals(*guesses[10:], (0, PASSWORD), (1, PASSWORD))
        assert all("UNAVAILABLE" in each for each in too_many), too_many
        forget_guesses(hosts)
        for host in hosts:
            asked = [(BEN, password) for _, password in guesses]
            with AuthClient(host) as client:
                assert ["wrong"] * 10 == client.ask("192.0.2.9", *asked[:10])
                assert ["later"] * 2 == client.ask("192.0.2.9", *asked[10:])
    finally:
        forget_guesses(hosts)


def forget_guesses(hosts: list[MailHost]) -> None:
    """Let nobody have guessed."""
    for host in hosts:
        for notes in (host.root / "run/dovecot/guesses").iterdir():
            notes.unlink()


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
    load = Load([InContainer(each, authority.file) for each in hosts], ANN)
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
    assert [False, True] == ["ann" in indexed(host) for host in hosts]
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


def test_a_new_home_that_cannot_unpack_the_index_waits_and_says_so(
    hosts: list[MailHost], authority: Authority
) -> None:
    """Nobody has the mailbox until it can; only a folder whose copy is damaged loses its flags."""
    home = int(record(hosts[0], ANN).split()[0])
    old, new = hosts[home - 1], hosts[2 - home]
    with imap(old, authority.file, ANN, PASSWORD) as client:
        client.create("Torn")
        client.append("Torn", r"(\Flagged)", "", b"Subject: torn\r\n\r\n")
        client.append("INBOX", r"(\Flagged kept)", "", b"Subject: whole\r\n\r\n")
        before = found(client)
    # As a full or broken volume: nothing can be unpacked there.
    place = new.root / "indexes/example.org"
    place.mkdir(exist_ok=True)
    place.chmod(0o500)
    os.chown(place, 0, 0)
    for host in hosts:
        publish(host, {ANN: 3 - home, BEN: 2})
    takes = f"{3 - home} takes\n"
    await_true("the old home to leave it", lambda: takes == record(hosts[0], ANN))
    log = new.containers["dovecot"].logs
    await_true("the new home to try", lambda: "indexes: cannot" in log())
    assert takes == record(hosts[0], ANN)
    assert not any(delivered(host, ANN, subject="early") for host in hosts)
    torn = old.root / "mail/example.org/ann/sdbox/mailboxes/Torn/dbox-Mails/dovecot.index.copy"
    torn.write_bytes(torn.read_bytes()[:40])
    os.chown(place, 5000, 5000)
    place.chmod(0o700)
    await_true("it to have moved", lambda: f"{3 - home} has\n" == record(hosts[0], ANN), 60)
    assert f"{torn.name} is damaged (40 bytes)" in log()
    with imap(new, authority.file, ANN, PASSWORD) as client:
        assert before == found(client)
        client.select("Torn", readonly=True)
        assert [b"1"] == client.search(None, "SUBJECT", "torn", "UNFLAGGED")[1]


def test_neither_a_thief_nor_a_slow_delivery_lets_two_hosts_have_a_mailbox(
    hosts: list[MailHost], authority: Authority
) -> None:
    """With the password one cannot prevent a move; a delivery that has begun ends before it.

    A second process that moves mailboxes on each host does no harm.
    """
    home = int(record(hosts[0], ANN).split()[0])
    old = hosts[home - 1]
    thief = Thief(hosts, authority)
    lmtp = old.lmtp()
    try:
        assert 250 == lmtp.mail("a@b.example")[0]
        assert 250 == lmtp.rcpt(ANN)[0]
        await_true("the thief to be in", lambda: thief.sessions > 5)
        for host in hosts:
            publish(host, {ANN: 3 - home, BEN: 2})
        dovecot = old.containers["dovecot"]
        others = [second_process(host) for host in hosts]
        await_true("it to wait", lambda: f"{ANN} cannot move yet: sessions" in dovecot.logs(), 60)
        assert f"{home} has\n" == (record(hosts[0], ANN) or "1 has\n")
        assert 250 == lmtp.data(b"Subject: slow\r\n\r\n")[0]
        await_true("the move", lambda: f"{3 - home} has\n" == record(hosts[0], ANN), 60)
        assert {0, 1} >= {each.wait(60) for each in others}
    finally:
        lmtp.close()
        thief.end()
    with imap(hosts[2 - home], authority.file, ANN, PASSWORD) as client:
        assert 1 == subjects(client).count("Subject: slow")


def second_process(host: MailHost) -> subprocess.Popen[bytes]:
    """Start what moves mailboxes beside the one that does it already."""
    container = host.containers["dovecot"]
    return subprocess.Popen([container.engine.command, "exec", container.id, "homes"])


class Thief:
    """Has ann's password, and clings to her mailbox in every way, through both hosts."""

    def __init__(self, hosts: list[MailHost], authority: Authority) -> None:
        self.sessions = 0
        self._hosts, self._authority = hosts, authority
        self._ending = threading.Event()
        ways = (self._append, self._idle, self._read_nothing, self._filters)
        self._threads = [
            threading.Thread(target=self._cling, args=(way, number), daemon=True)
            for way in ways
            for number in (0, 1)
        ]
        for each in self._threads:
            each.start()

    def _cling(self, way: Callable[[imaplib.IMAP4_SSL], None], number: int) -> None:
        while not self._ending.is_set():
            with contextlib.suppress(imaplib.IMAP4.error, OSError, AssertionError):
                if way == self._filters:
                    held = filters(self._hosts[number], self._authority, ANN, PASSWORD)
                    self.sessions += 1
                    held.get("nothing")
                client = imap(self._hosts[number], self._authority.file, ANN, PASSWORD)
                self.sessions += 1
                client.select("INBOX")
                way(client)
            self._ending.wait(0.1)

    def _append(self, client: imaplib.IMAP4_SSL) -> None:
        """A message that never comes."""
        client.send(b"a APPEND INBOX {1000000}\r\n")
        client.readline()
        client.send(b"Subject: half")
        client.readline()

    def _idle(self, client: imaplib.IMAP4_SSL) -> None:
        client.send(b"a IDLE\r\n")
        while client.readline():
            pass

    def _read_nothing(self, client: imaplib.IMAP4_SSL) -> None:
        """Answers without end, which are not read until the move."""
        for number in range(2000):
            client.send(b"a%d FETCH 1:* (FLAGS BODY.PEEK[])\r\n" % number)
        self._ending.wait(20)

    def _filters(self, client: imaplib.IMAP4_SSL) -> None:
        client.noop()

    def end(self) -> None:
        self._ending.set()


def test_a_process_that_comes_too_late_cannot_open_the_mailbox(hosts: list[MailHost]) -> None:
    """It asked before the fence closed, and opens the mailbox after that has left: it must fail."""
    home = int(record(hosts[0], ANN).split()[0])
    before = {path for path in hosts[0].root.glob("mail/example.org/ann/**/*") if path.is_file()}
    # An LDA for a home directory, without a look at who lives there.
    late = (
        *("setpriv", "--reuid=5000", "--regid=5000", "--clear-groups"),
        *("env", "HOME=/srv/mail/example.org/ann", "USER=ann@example.org"),
        *("/usr/lib/dovecot/dovecot-lda", "-e", "-o", "mail_home=/srv/mail/example.org/ann"),
    )
    for number, host in enumerate(hosts, 1):
        container = host.containers["dovecot"]
        done = subprocess.run(
            [container.engine.command, "exec", "-i", container.id, *late],
            input=b"Subject: late\r\n\r\n",
            capture_output=True,
            check=False,
        )
        # At home it shows that this is a way to deliver.
        assert (done.returncode == 0) is (number == home), done.stderr
    after = {path for path in hosts[0].root.glob("mail/example.org/ann/**/*") if path.is_file()}
    assert 1 == len({path for path in after - before if path.name.startswith("u.")})
