"""Dovecot's image on real NFS 4.1, mounted as EFS is: what each action costs, and what a kill loses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from host.deliveries import ended_by, found_of
from host.nfs_host import NfsHost, counted, deliver

pytestmark = pytest.mark.timeout(1800)

# The most that an action may take, in operations on the mail store. Before the indexes were on the
# host's volume: 121, 380, 214, 115, 125, 12, 17. Before deliveries trusted the list of folders, the
# one among 30 took 173.
MOST = {
    "delivery, first message of a mailbox": 110,
    "delivery, steady": 13,
    "MOVE to Trash, steady": 22,
    "EXPUNGE": 12,
    "APPEND": 12,
    # None; or a GETATTR where the machine is so slow that attributes are no longer believed.
    "STORE of a flag": 1,
    "SELECT": 3,
    "delivery among 30 folders, nothing remembered": 32,
}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NfsHost]:
    """Provide the machine, with Dovecot running."""
    with NfsHost(tmp_path_factory.mktemp("storage")) as made:
        yield made


def test_operations_on_the_store(host: NfsHost) -> None:
    """Each action asks EFS for no more than it may."""
    found = {action: sum(counts.values()) for action, counts in counted(host).items()}
    print(found)
    assert {action: most for action, most in MOST.items() if found[action] > most} == {}


def test_what_was_taken_is_there_after_a_kill(host: NfsHost) -> None:
    """Dovecot is killed amid deliveries: each acknowledged mail is there, once."""
    taken = ended_by(host, "killed", host.kill)
    host.start()
    assert found_of(host, taken) == sorted(taken)


@pytest.mark.parametrize("number", range(2))
def test_what_was_taken_is_there_after_a_power_cut(host: NfsHost, number: int) -> None:
    """The host loses power amid deliveries: each acknowledged mail and flag is there, once."""
    with host.lmtp() as client:
        deliver(client, 5, f"flagged {number}")
    reader = host.imap(5)
    reader.select("INBOX")

    def cut() -> None:
        assert reader.store(str(number + 1), "+FLAGS", rf"(\Flagged cut{number})")[0] == "OK"
        host.power_cut()

    taken = ended_by(host, f"power cut {number}", cut)
    assert found_of(host, taken) == sorted(taken)
    with host.imap(5) as client:
        client.select("INBOX", readonly=True)
        for earlier in range(number + 1):
            found = client.search(None, "FLAGGED", "KEYWORD", f"cut{earlier}")[1]
            assert found == [str(earlier + 1).encode()]
