"""Ten sessions at once in one mailbox, each checking what the server says against the protocol.

What imaptest does, in small: each session keeps the state that a client would keep (UIDs and flags by
sequence number), built only from what the server tells it, and every answer must fit it.
"""

from __future__ import annotations

import random
import re
import select
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientError

from service.mail_host import PASSWORD, MailHost

pytestmark = pytest.mark.timeout(300)

ANN = "ann@example.org"
SESSIONS = 10
COMMANDS = 30  # of each session
DELIVERIES = 40
KEEP_BELOW = 60  # messages
FLAGS = (r"\Seen", r"\Flagged", r"\Answered", "$Forwarded", "$Work")


@pytest.fixture(scope="module")
def host(idle_host: MailHost) -> MailHost:
    """Provide a host with Dovecot running, in 64 MB."""
    idle_host.start("dovecot", options=["--memory=64m", "--memory-swap=64m"])
    return idle_host


@dataclass
class Known:
    """A mail as one session knows it; `None` where the server has not told yet."""

    uid: int | None = None
    flags: frozenset[bytes] | None = None


@dataclass
class View:
    """The mailbox as one session sees it, by sequence number. Each method raises on what cannot be."""

    mails: list[Known] = field(default_factory=list)
    # RFC 3501, 7.4.1: no EXPUNGE while FETCH, STORE or SEARCH by sequence number is in progress.
    expunge_forbidden: bool = False
    told: list[str] = field(default_factory=list)

    def exists(self, count: int) -> None:
        """`* count EXISTS`: messages may only be added; only EXPUNGE takes away."""
        assert count >= len(self.mails), f"EXISTS shrinks from {len(self.mails)} to {count}"
        self.mails += [Known() for _ in range(count - len(self.mails))]

    def expunge(self, number: int) -> None:
        """`* number EXPUNGE`."""
        assert not self.expunge_forbidden, "EXPUNGE within FETCH or STORE by sequence number"
        assert 1 <= number <= len(self.mails), f"EXPUNGE {number} of {len(self.mails)}"
        del self.mails[number - 1]

    def fetch(self, number: int, items: bytes) -> None:
        """`* number FETCH (...)`, the part before any literal."""
        assert 1 <= number <= len(self.mails), f"FETCH {number} of {len(self.mails)}"
        mail = self.mails[number - 1]
        if found := re.search(rb"\bUID (\d+)", items):
            uid = int(found[1])
            assert mail.uid in {None, uid}, f"UID of {number} changes from {mail.uid} to {uid}"
            mail.uid = uid
            known = [each.uid for each in self.mails if each.uid is not None]
            assert known == sorted(set(known)), f"UIDs do not increase: {known}"
        if found := re.search(rb"\bFLAGS \(([^)]*)\)", items):
            mail.flags = frozenset(found[1].split()) - {rb"\Recent"}

    def hear(self, kind: str, about: bytes | tuple[bytes, bytes] | None) -> None:
        """Take one untagged response, as imaplib splits it."""
        text = about[0] if isinstance(about, tuple) else about or b""
        self.told.append(f"{kind} {text.decode(errors='replace')[:120]}")
        number = int(digits[0]) if (digits := re.match(rb"\d+", text)) else 0
        if kind == "EXISTS":
            self.exists(number)
        elif kind == "EXPUNGE":
            self.expunge(number)
        elif kind == "FETCH" and number:  # else what follows a literal
            self.fetch(number, text)


class Session:
    """A client in the inbox, doing things by chance."""

    def __init__(self, host: MailHost, chance: random.Random) -> None:
        port = host.containers["dovecot"].port(993)
        self.client = IMAPClient("127.0.0.1", port, ssl_context=host.tls(), timeout=60)
        self.client.login(ANN, PASSWORD)
        self.chance, self.view = chance, View()
        keep = self.client._imap._append_untagged  # noqa: SLF001 - the one place all answers pass

        def hear(kind: str, about: Any) -> None:
            self.view.hear(kind, about)
            keep(kind, about)

        self.client._imap._append_untagged = hear  # noqa: SLF001
        self.client.select_folder("INBOX")

    def learn(self) -> None:
        """Ask for what is not known of messages that came."""
        unknown = [n for n, mail in enumerate(self.view.mails, 1) if not mail.uid]
        if unknown:
            self._by_number(lambda: self.client.fetch(unknown, ["UID", "FLAGS"]))

    def _by_number(self, command: Callable[[], object]) -> None:
        self.client.use_uid, self.view.expunge_forbidden = False, True
        try:
            command()
        finally:
            self.client.use_uid, self.view.expunge_forbidden = True, False

    def some(self) -> list[int]:
        """Up to five UIDs that the session knows; some may be gone already."""
        uids = [mail.uid for mail in self.view.mails if mail.uid]
        return self.chance.sample(uids, min(len(uids), self.chance.randint(1, 5)))

    def act(self) -> None:
        """Send one command, or stay in IDLE for a while."""
        self.learn()
        choices = (self._append, self._store, self._store_by_number, self._fetch, self._copy)
        weights = [4, 4, 2, 3, 1]
        action = self.chance.choices((*choices, self._expunge, self._idle), [*weights, 2, 1])[0]
        if len(self.view.mails) > KEEP_BELOW and action in {self._append, self._copy}:
            action = self._expunge
        action()

    def _append(self) -> None:
        body = "x" * self.chance.randint(10, 20_000)
        flags = self.chance.sample(FLAGS, self.chance.randint(0, 2))
        content = b"Subject: load\r\n\r\n%b\r\n" % body.encode()
        self.client.append("INBOX", content, flags)

    def _store(self) -> None:
        if uids := self.some():
            change = self.chance.choice((self.client.add_flags, self.client.remove_flags))
            change(uids, [self.chance.choice(FLAGS)])

    def _store_by_number(self) -> None:
        if self.view.mails:
            numbers = [self.chance.randint(1, len(self.view.mails))]
            self._by_number(lambda: self.client.set_flags(numbers, [self.chance.choice(FLAGS)]))

    def _fetch(self) -> None:
        if uids := self.some():
            self.client.fetch(uids, ["FLAGS", "ENVELOPE", "BODY.PEEK[]"])

    def _copy(self) -> None:
        if uids := self.some():
            try:
                self.client.copy(uids, "INBOX")
            except IMAPClientError as error:
                # RFC 5530: another session was faster.
                assert "[EXPUNGEISSUED]" in str(error)

    def _expunge(self) -> None:
        if uids := self.some():
            self.client.add_flags(uids, [r"\Deleted"])
            self.client.uid_expunge(uids)

    def _idle(self) -> None:
        self.client.idle()
        # Until there is news; long enough for some to hibernate. What came is heard with DONE.
        select.select([self.client.socket()], [], [], self.chance.uniform(0, 1.5))
        self.client.idle_done()

    def run(self) -> None:
        """Do all, then let the server tell the rest."""
        for _ in range(COMMANDS):
            self.act()

    def close(self) -> None:
        """End the session."""
        self.client.logout()


def test_ten_sessions_agree_on_one_mailbox(host: MailHost) -> None:
    """After 300 commands and 40 deliveries all know the same messages with the same flags."""
    seed = random.randrange(2**32)
    sessions = [Session(host, random.Random(f"{seed} {each}")) for each in range(SESSIONS)]
    start = threading.Barrier(SESSIONS + 1)

    def work(session: Session) -> None:
        start.wait(30)
        session.run()

    def deliver() -> None:
        start.wait(30)
        with host.lmtp() as lmtp:
            for number in range(DELIVERIES):
                content = f"Subject: number {number}\r\n\r\nHello\r\n".encode()
                assert lmtp.sendmail("s@elsewhere.example", [ANN], content) == {}

    with ThreadPoolExecutor(SESSIONS + 1) as pool:
        tasks = [pool.submit(work, session) for session in sessions] + [pool.submit(deliver)]
    container = host.containers["dovecot"]
    for session, task in zip(sessions, tasks, strict=False):
        if error := task.exception():
            log = "\n".join(re.findall(r".*(?:Error|Panic|Fatal|Warning):.*", container.logs()))
            said = f"seed {seed}, last heard: {session.view.told[-20:]}\n{log}"
            raise AssertionError(said) from error
    tasks[-1].result()

    views: list[list[tuple[int | None, frozenset[bytes] | None]]] = []
    for session in sessions:
        session.client.noop()
        session.learn()
        views.append([(mail.uid, mail.flags) for mail in session.view.mails])
    fresh = Session(host, random.Random())
    fresh.learn()
    truth = [(mail.uid, mail.flags) for mail in fresh.view.mails]
    assert truth, "nothing is left to compare"
    for number, view in enumerate(views):
        assert view == truth, f"seed {seed}, session {number}"
    contents = fresh.client.fetch([uid for uid, _ in truth], ["BODY.PEEK[]"])
    assert sorted(contents) == [uid for uid, _ in truth]
    assert all(
        content[b"BODY[]"].startswith(b"Subject: ") or b"\nSubject: " in content[b"BODY[]"]
        for content in contents.values()
    )
    for session in (*sessions, fresh):
        session.close()
    assert container.inspect("{{.State.OOMKilled}}") == "false"
    assert not re.findall(r".*(?:Panic:|Fatal:|killed with signal|import).*", container.logs())
