"""The people of the load: each is a thread that does what a person's program does, at that pace.

All come from one network address, so together they stay below what the front lets one network ask
for (nginx.conf: five clicks and twenty requests a second).
"""

from __future__ import annotations

import base64
import contextlib
import imaplib
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from service.web_client import WebClient

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

CLICK_SECONDS, SYNC_SECONDS = 3.0, 2.5


@dataclass
class Load:
    """The running people, what they did, and what went wrong."""

    tls: ssl.SSLContext
    https: int
    imaps: int
    over: threading.Event = field(default_factory=threading.Event)
    done: Counter[str] = field(default_factory=Counter[str])
    faults: list[str] = field(default_factory=list[str])
    threads: list[threading.Thread] = field(default_factory=list[threading.Thread])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, person: Callable[[], None]) -> None:
        """Start a person; an error ends that one and is noted."""

        def live() -> None:
            try:
                person()
            except Exception as error:  # noqa: BLE001  any fault counts
                self.faults.append(f"{type(error).__name__}: {error}"[:200])

        thread = threading.Thread(target=live, daemon=True)
        self.threads.append(thread)
        thread.start()

    def count(self, what: str) -> None:
        """Count an act that succeeded."""
        with self._lock:
            self.done[what] += 1

    def end(self) -> None:
        """End all people."""
        self.over.set()
        for thread in self.threads:
            thread.join(90)

    def _demand(self, what: str, status: int, wanted: set[int]) -> None:
        if status in wanted:
            self.count(what)
        else:
            self.faults.append(f"{what}: HTTP {status}")

    # The people ---------------------------------------------------------------------------------

    def webmail(self, address: str, password: str) -> None:
        """Log in, then list, read, search and save drafts in turn."""
        visitor = WebClient(self.https, self.tls)
        self._demand("login", visitor.log_in(address, password).status, {302})
        token = visitor.token("/?_task=mail")
        headers = {"X-Requested-With": "XMLHttpRequest", "X-Roundcube-Request": token}
        listed = "_task=mail&_mbox=INBOX&_remote=1"
        acts = (
            f"/?{listed}&_action=list",
            "/?_task=mail&_action=preview&_mbox=INBOX&_uid=1&_framed=1",
            f"/?{listed}&_action=search&_q=load&_headers=subject,text",
            "/?_task=settings&_action=plugin.managesieve",
            "/?_task=mail&_action=get&_mbox=INBOX&_uid=1&_part=2&_download=1",
        )
        turn = 0
        while not self.over.wait(CLICK_SECONDS):
            path = acts[turn % len(acts)]
            self._demand("click", visitor.ask(path, headers=headers).status, {200})
            turn += 1

    def calendar(self, address: str, password: str, number: int) -> None:
        """Write an event, then look what is new, as a telephone does."""
        visitor = WebClient(self.https, self.tls)
        given = base64.b64encode(f"{address}:{password}".encode()).decode()
        headers = {"Authorization": f"Basic {given}", "Depth": "1"}
        at = f"/dav/{address}/calendar/"
        found = visitor.ask(f"/dav/{address}/", method="PROPFIND", headers=headers)
        self._demand("first look", found.status, {207})
        turn = 0
        while not self.over.wait(SYNC_SECONDS):
            turn += 1
            if turn % 2:
                uid = f"load-{number}-{turn}"
                put = visitor.ask(f"{at}{uid}.ics", method="PUT", body=event(uid), headers=headers)
                self._demand("event", put.status, {201, 204})
            else:
                found = visitor.ask(at, method="PROPFIND", headers=headers)
                self._demand("look", found.status, {207})

    def mail_client(self, address: str, password: str) -> None:
        """Stay in IDLE, and hear of each mail."""
        client = imaplib.IMAP4_SSL("localhost", self.imaps, ssl_context=self.tls, timeout=90)
        client.authenticate("PLAIN", lambda _: f"\0{address}\0{password}".encode())
        client.select()
        self.count("session")
        client.send(b"idle IDLE\r\n")
        client.readline()
        client.sock.settimeout(1)
        while not self.over.is_set():
            with contextlib.suppress(TimeoutError):
                told = client.sock.recv(65536)
                if not told:
                    raise ConnectionError("IMAP ended the session")
                if b"EXISTS" in told:
                    self.count("notice")
        client.shutdown()


def event(uid: str) -> bytes:
    """An event of one hour (RFC 5545)."""
    text = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//load//EN", "BEGIN:VEVENT", f"UID:{uid}"]
    text += ["DTSTAMP:20261101T000000Z", "DTSTART:20261201T120000Z", "DTEND:20261201T130000Z"]
    text += [f"SUMMARY:{uid}", "END:VEVENT", "END:VCALENDAR", ""]
    return "\r\n".join(text).encode()
