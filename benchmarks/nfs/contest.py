"""Two deliverers and two clients on one mailbox: how much gets done, and who waits the longest."""

from __future__ import annotations

import imaplib
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from host.nfs_host import NfsHost, deliver

if TYPE_CHECKING:
    from collections.abc import Callable

USER = 1


@dataclass
class Work:
    """What one of them did: how often, and the longest that it waited for an answer, in seconds."""

    done: int = 0
    longest: float = 0.0

    def timed(self, act: Callable[[], object]) -> None:
        """Do it once."""
        begun = time.monotonic()
        act()
        self.longest = max(self.longest, time.monotonic() - begun)
        self.done += 1


@dataclass(frozen=True)
class Contest:
    """Deliveries and commands of `seconds`, and the longest wait of each kind in seconds."""

    seconds: float
    deliverers: list[Work] = field(default_factory=lambda: [Work(), Work()])
    clients: list[Work] = field(default_factory=lambda: [Work(), Work()])

    def figures(self) -> dict[str, float]:
        """Return the reported figures."""
        return {
            "deliveries": sum(each.done for each in self.deliverers),
            "commands": sum(each.done for each in self.clients),
            "longest_delivery_s": round(max(each.longest for each in self.deliverers), 2),
            "longest_command_s": round(max(each.longest for each in self.clients), 2),
        }


def contest(host: NfsHost, seconds: float) -> Contest:
    """Run it. Raises what a deliverer or a client was refused with."""
    made = Contest(seconds)
    with host.lmtp() as client:
        for number in range(20):
            deliver(client, USER, f"before {number}")
    over = threading.Event()
    failures: list[Exception] = []

    def kept(act: Callable[[Work], None], work: Work) -> None:
        try:
            act(work)
        except (OSError, AssertionError, imaplib.IMAP4.error) as error:
            failures.append(error)

    def delivering(work: Work) -> None:
        with host.lmtp() as client:
            while not over.is_set():
                work.timed(lambda: deliver(client, USER, "contested"))

    def reading(work: Work) -> None:
        with host.imap(USER) as client:
            client.select("INBOX")
            while not over.is_set():
                work.timed(client.noop)
                work.timed(lambda: client.uid("STORE", "1:5", "+FLAGS", r"(\Seen)"))
                work.timed(lambda: client.uid("FETCH", "*", "(BODY.PEEK[])"))
                work.timed(lambda: client.uid("STORE", "1:5", "-FLAGS", r"(\Seen)"))
                work.timed(lambda: client.uid("MOVE", "*", "Trash"))

    threads = [threading.Thread(target=kept, args=(delivering, work)) for work in made.deliverers]
    threads += [threading.Thread(target=kept, args=(reading, work)) for work in made.clients]
    for each in threads:
        each.start()
    over.wait(seconds)
    over.set()
    for each in threads:
        each.join()
    if failures:
        raise failures[0]
    return made
