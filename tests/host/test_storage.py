"""Dovecot's image on real NFS 4.1, mounted as EFS is: what each action costs, and what a crash loses."""

from __future__ import annotations

import smtplib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from host.nfs_host import USERS, NfsHost, counted, deliver, mail

pytestmark = pytest.mark.timeout(1800)

# The most that an action may take, in operations on the mail store. Before the indexes were on the
# host's volume: 121, 380, 214, 115, 125, 12, 17.
MOST = {
    "delivery, first mail of a mailbox": 110,
    "delivery, steady": 16,
    "MOVE to Trash, steady": 22,
    "EXPUNGE": 12,
    "APPEND": 12,
    # None; or a GETATTR where the machine is so slow that attributes are no longer believed.
    "STORE of a flag": 1,
    "SELECT": 3,
}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NfsHost]:
    """The machine, with Dovecot running."""
    with NfsHost(tmp_path_factory.mktemp("storage")) as made:
        yield made


def test_operations_on_the_store(host: NfsHost) -> None:
    """Each action asks EFS for no more than it may."""
    found = {action: sum(counts.values()) for action, counts in counted(host).items()}
    print(found)
    assert {action: most for action, most in MOST.items() if found[action] > most} == {}


def delivering(
    host: NfsHost, user: int, label: str, taken: list[str], over: threading.Event
) -> None:
    """Deliver until the connection breaks or it is over; keep the subjects that were taken."""
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


@pytest.mark.parametrize("end", ["kill", "power_cut"])
def test_what_was_taken_is_there_after_the_end(host: NfsHost, end: str) -> None:
    """Dovecot is killed, or the host loses power, amid deliveries: each acknowledged mail is there."""
    taken: list[str] = []
    over = threading.Event()
    label = f"{end} {time.monotonic()}"
    threads = [
        threading.Thread(target=delivering, args=(host, user, label, taken, over))
        for user in (2, 3)
    ]
    for each in threads:
        each.start()
    deadline = time.monotonic() + 60
    while len(taken) < 12 and time.monotonic() < deadline:
        time.sleep(0.05)
    getattr(host, end)()
    over.set()
    for each in threads:
        each.join()
    if end == "kill":
        host.start()
    assert len(taken) >= 12
    found = [subject for user in (2, 3) for subject in host.subjects(user)]
    assert sorted(subject for subject in found if subject in taken) == sorted(taken)


def test_a_server_that_is_away_loses_and_doubles_nothing(host: NfsHost) -> None:
    """While the store is away for 60 s a delivery waits; afterwards it is there, once."""
    with host.lmtp() as client:
        deliver(client, 4, "before")
        host.server_away(away=True)
        done = threading.Thread(target=deliver, args=(client, 4, "while away"))
        done.start()
        time.sleep(60)
        host.server_away(away=False)
        done.join(180)
        assert not done.is_alive()
    assert host.subjects(4) == ["before", "while away"]


def test_twenty_clients(host: NfsHost) -> None:
    """Twenty users read and write at once, while mail comes for all of them: nobody is refused."""

    def work(user: int) -> list[str]:
        with host.imap(user) as client:
            client.append("Drafts", None, None, mail("draft"))
            client.select("INBOX")
            client.store("1:*", "+FLAGS", r"(\Flagged)")
            found = client.search(None, "SUBJECT", "all")[1][0].split()
            assert client.uid("MOVE", "1:*", "Trash")[0] == "OK"
            return found

    with host.lmtp() as client:
        for user in range(1, USERS + 1):
            deliver(client, user, "for all")
    with ThreadPoolExecutor(USERS) as pool:
        found = list(pool.map(work, range(1, USERS + 1)))
    assert [len(each) for each in found] == [1] * USERS
