"""A mailbox moves between two NFS clients: nothing that a client remembers outlives the moment.

Too long for each run of CI: `make test-nfs`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from host.nfs_clients import ANN, BEN, NfsClients, OneClient
from service.two_hosts import Load, found
from wire import await_true

pytestmark = pytest.mark.timeout(1800)

# Not of the indexer: a mailbox that leaves ends its work, with an error.
_INDEX_ERROR = re.compile("Corrupt|Broken|Stale|unexpectedly|Error: .*dbox")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NfsClients]:
    """Provide the machine, with both mailboxes at home."""
    with NfsClients(tmp_path_factory.mktemp("clients")) as made:
        await_true("ben to be at home", lambda: "2 has\n" == made.record(BEN), 120)
        yield made


def move(machine: NfsClients, home: int) -> None:
    """Let ann's mailbox move, and wait for it."""
    for number in (1, 2):
        machine.publish(number, {ANN: home, BEN: 2})
    machine.leases(on=True)
    try:
        await_true("the move", lambda: f"{home} has\n" == machine.record(ANN), 400)
    except AssertionError:
        print(*(machine.log(number)[-3000:] for number in (1, 2)), sep="\n")
        raise
    machine.leases(on=False)


def deliver(host: OneClient, subject: str) -> None:
    """Deliver to ann."""
    with host.lmtp() as client:
        client.sendmail("a@b.example", [ANN], f"Subject: {subject}\r\n\r\n".encode())


def test_moves_under_load(machine: NfsClients) -> None:
    """There, back, and there again: 0 lost, 0 doubled, all flags, no index error."""
    hosts = machine.hosts()
    load = Load(hosts, ANN)
    await_true("the load", lambda: len(load.accepted) > 10 and len(load.flagged) > 3, 120)
    for home in (2, 1, 2):
        move(machine, home)
        moved = len(load.accepted)
        await_true("work there", lambda n=moved: len(load.accepted) > n + 15, 180)
    load.end()
    for host in hosts:
        client = host.imap(ANN)
        there, flagged = found(client)
        client.logout()
        assert sorted(load.accepted) == sorted(n for n in there if n in set(load.accepted))
        assert len(there) == len(set(there))
        assert load.flagged <= flagged
    assert {1: [], 2: []} == {
        number: _INDEX_ERROR.findall(machine.log(number)) for number in (1, 2)
    }


def test_nothing_is_read_from_memory_after_the_moment(machine: NfsClients) -> None:
    """What the first host remembers of names, it asks anew when the mailbox is back within seconds.

    Meanwhile the other host has made a folder that was not there, flagged a message in it, deleted
    another folder, and replaced the subscriptions.
    """
    first, second = machine.hosts()
    move(machine, 1)
    client = first.imap(ANN)
    client.create("Old")
    client.subscribe("Old")
    # The answer that it is not there is remembered.
    assert "NO" == client.status("Later", "(MESSAGES)")[0]
    client.logout()
    move(machine, 2)
    client = second.imap(ANN)
    assert "OK" == client.create("Later")[0]
    client.append("Later", r"(\Seen kept)", "", b"Subject: later\r\n\r\n")
    assert "OK" == client.delete("Old")[0]
    client.unsubscribe("Old")
    client.subscribe("Later")
    client.logout()
    deliver(second, "while away")
    move(machine, 1)
    client = first.imap(ANN)
    assert "while away" in found(client)[0]
    assert "OK" == client.select("Later", readonly=True)[0]
    assert rb"\Seen" in client.fetch("1", "(FLAGS)")[1][0]
    assert b"kept" in client.fetch("1", "(FLAGS)")[1][0]
    folders = b" ".join(client.list()[1])
    assert b"Later" in folders
    assert b"Old" not in folders
    subscribed = b" ".join(client.lsub()[1])
    assert b"Later" in subscribed
    assert b"Old" not in subscribed
    client.logout()
    assert {1: [], 2: []} == {
        number: _INDEX_ERROR.findall(machine.log(number)) for number in (1, 2)
    }
