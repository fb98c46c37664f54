"""IMAP clients of a run: one that reads everything at the end, others that flag messages meanwhile.

Who flags goes on through every kill and move, through one host after the other. What a server has
answered with OK holds: the flags, and which mail a UID is.
"""

from __future__ import annotations

import contextlib
import imaplib
import random
import re
import ssl
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.chaos.plan import MARK, PASSWORD

if TYPE_CHECKING:
    from collections.abc import Sequence

FLAG = "Chaos"
_UID = re.compile(rb"UID (\d+)")
_NUMBER = re.compile(MARK + rb"(\d+)")
_AT_ONCE = 40  # of the newest messages, that a session looks at


class Imap(imaplib.IMAP4_SSL):
    """imaplib, verifying the certificate's name while it connects to loopback."""

    def __init__(self, door: Door) -> None:
        self._hostname = door.hostname
        super().__init__("127.0.0.1", door.port, ssl_context=door.context, timeout=120)

    def _create_socket(self, timeout: float | None) -> ssl.SSLSocket:
        plain = imaplib.IMAP4._create_socket(self, timeout)  # type: ignore[attr-defined]  # noqa: SLF001
        return self.ssl_context.wrap_socket(plain, server_hostname=self._hostname)


@dataclass(frozen=True, slots=True)
class Door:
    """Where a host's clients connect."""

    port: int
    context: ssl.SSLContext
    hostname: str

    def enter(self, address: str) -> Imap:
        """Return a client that is logged in. Raises OSError, imaplib's errors."""
        client = Imap(self)
        try:
            client.login(address, PASSWORD)
        except BaseException:
            client.shutdown()
            raise
        return client


@dataclass
class Reader:
    """A client that flags the messages of one mailbox, until `end`."""

    address: str
    doors: Sequence[Door]
    flagged: set[int] = field(default_factory=set[int])  # numbers of messages
    problems: list[str] = field(default_factory=list[str])
    sessions: int = 0
    _numbers: dict[int, int] = field(default_factory=dict[int, int])  # by UID
    _validity: str = ""

    def __post_init__(self) -> None:
        self._ending = threading.Event()
        self._chance = random.Random(self.address)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop."""
        self._ending.set()
        self._thread.join(180)
        if self._thread.is_alive():
            self.problems.append(f"{self.address}: a client still waits after 180 s")

    def _run(self) -> None:
        turn = 0
        while not self._ending.is_set():
            turn += 1
            # A host that is killed or moves the mailbox ends the session; that is no problem.
            with contextlib.suppress(OSError, imaplib.IMAP4.error):
                client = self.doors[turn % len(self.doors)].enter(self.address)
                try:
                    self._session(client)
                finally:
                    client.shutdown()
            self._ending.wait(0.3)

    def _session(self, client: Imap) -> None:
        self.sessions += 1
        while not self._ending.is_set():
            status, answer = client.select("INBOX")
            if status != "OK":
                return
            validity = str(client.response("UIDVALIDITY")[1][0])
            if self._validity and validity != self._validity:
                self.problems.append(
                    f"{self.address}: UIDVALIDITY {self._validity} has become {validity}"
                )
            self._validity = validity
            count = int(answer[0] or b"0")
            if count:
                self._flag(client, max(1, count - _AT_ONCE), count)
            self._ending.wait(0.2)

    def _flag(self, client: Imap, first: int, last: int) -> None:
        field = MARK.decode().rstrip(": ")
        items = f"(UID BODY.PEEK[HEADER.FIELDS ({field})])"
        status, parts = client.fetch(f"{first}:{last}", items)
        if status != "OK":
            return
        found: dict[int, int] = {}
        for part in filter(lambda each: isinstance(each, tuple), parts):
            uid, number = _UID.search(part[0]), _NUMBER.search(part[1])
            if uid and number:
                found[int(uid[1])] = int(number[1])
        for uid, number in found.items():
            before = self._numbers.setdefault(uid, number)
            if before != number:
                self.problems.append(f"{self.address}: UID {uid} was mail {before}, is {number}")
        left = [uid for uid, number in found.items() if number not in self.flagged]
        for uid in self._chance.sample(left, min(3, len(left))):
            if client.uid("STORE", str(uid), "+FLAGS", rf"(\Flagged {FLAG})")[0] == "OK":
                self.flagged.add(found[uid])
