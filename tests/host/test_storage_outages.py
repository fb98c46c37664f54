"""Dovecot's image on real NFS 4.1: a server that is away, twenty clients at once.

Too long for each run of CI: `make test-nfs`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from host.nfs_host import USERS, NfsHost, deliver, mail

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NfsHost]:
    """Provide the machine, with Dovecot running."""
    with NfsHost(tmp_path_factory.mktemp("storage")) as made:
        yield made


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
