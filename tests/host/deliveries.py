"""Deliveries that something ends, and what must be there afterwards."""

from __future__ import annotations

import smtplib
import threading
import time
from typing import TYPE_CHECKING

from host.nfs_host import deliver

if TYPE_CHECKING:
    from collections.abc import Callable

    from host.nfs_host import NfsHost

_USERS = (2, 3)
_FEWEST = 12


def ended_by(host: NfsHost, label: str, end: Callable[[], None]) -> list[str]:
    """Deliver to two users at once until `end` has ended it; give the subjects that were taken."""
    taken: list[str] = []
    over = threading.Event()
    threads = [
        threading.Thread(target=_delivering, args=(host, user, label, taken, over))
        for user in _USERS
    ]
    for each in threads:
        each.start()
    deadline = time.monotonic() + 60
    while len(taken) < _FEWEST and time.monotonic() < deadline:
        time.sleep(0.05)
    end()
    over.set()
    for each in threads:
        each.join()
    assert len(taken) >= _FEWEST
    return taken


def found_of(host: NfsHost, taken: list[str]) -> list[str]:
    """Return those subjects that are there, each as often as it is; sorted."""
    found = [subject for user in _USERS for subject in host.subjects(user)]
    return sorted(subject for subject in found if subject in taken)


def _delivering(
    host: NfsHost, user: int, label: str, taken: list[str], over: threading.Event
) -> None:
    number = 0
    try:
        client = host.lmtp(timeout=20)
        while not over.is_set():
            subject = f"{label} {user} {number}"
            deliver(client, user, subject)
            taken.append(subject)
            number += 1
    except (OSError, smtplib.SMTPException):
        pass
