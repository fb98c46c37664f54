"""Connections before login, from one or many addresses, affect neither sessions nor other logins."""

from __future__ import annotations

import imaplib
from collections.abc import Iterator

import pytest

from service.crowds import Strangers, idle_sessions
from service.mail_host import ODD_ADDRESS, PASSWORD, MailHost
from service.managesieve import ManageSieve
from wire import await_true

pytestmark = pytest.mark.timeout(300)

USERS = ("ann@example.org", "ben@example.org", ODD_ADDRESS)
# Of login-limits.c: connections before login from one network, and of all together.
NETWORK, ALL = 60, 120
SIEVE_NETWORK = 10


@pytest.fixture(scope="module")
def inside(host: MailHost) -> Iterator[list[imaplib.IMAP4_SSL]]:
    """Fifty-one clients that have logged in and wait in IDLE."""
    with idle_sessions(host, USERS * 17) as clients:
        yield clients


def all_are_in(host: MailHost, clients: list[imaplib.IMAP4_SSL]) -> None:
    """Check that every client can end its IDLE and begin another, and nothing was killed."""
    for client in clients:
        client.send(b"DONE\r\nidle IDLE\r\n")
    for client in clients:
        while not (line := client.readline()).startswith(b"+"):
            assert line, "cut off"
    assert host.containers["dovecot"].usage().killed() == 0


@pytest.mark.parametrize(
    ("how", "count"),
    [("auth", 444), ("more", 70), ("line", 70), ("tls", 70), ("half", 70), ("silent", 70)],
)
def test_one_address_holds_the_door(
    host: MailHost, inside: list[imaplib.IMAP4_SSL], how: str, count: int
) -> None:
    """One address keeps its newest sixty connections; sessions stay, and other addresses can log in."""
    with Strangers(host, 993, how, ["127.0.1.1"] * count) as strangers:
        assert strangers.tried == count
        rest = {"127.0.1.1": NETWORK}
        await_true("the oldest to be sent away", lambda: strangers.still_open() == rest)
        with host.imap(USERS[0]) as client:
            assert client.noop()[0] == "OK"
    all_are_in(host, inside)


def test_many_addresses_hold_the_door(host: MailHost, inside: list[imaplib.IMAP4_SSL]) -> None:
    """All addresses together have 120; the one with the most loses the oldest, so others can log in."""
    crowd = [f"127.0.2.{number}" for number in range(1, 101)]
    with Strangers(host, 993, "tls", ["127.0.1.1"] * 50 + crowd) as strangers:
        assert strangers.tried == 150
        rest = {"127.0.1.1": ALL - len(crowd)} | dict.fromkeys(crowd, 1)
        await_true("the busiest to give way", lambda: strangers.still_open() == rest)
        with host.imap(USERS[0]) as client:
            assert client.noop()[0] == "OK"
    all_are_in(host, inside)


def test_an_ipv6_network_is_one_stranger(host: MailHost, inside: list[imaplib.IMAP4_SSL]) -> None:
    """The addresses of an IPv6 network count together; another network's do not."""
    near = [f"2001:db8:1:1::{number}" for number in range(1, 5)]
    far = [f"2001:db8:1:{number}::1" for number in range(2, 5)]
    with Strangers(host, 993, "tls", far + near * 20) as strangers:
        assert strangers.tried == 83
        rest = dict.fromkeys(near, NETWORK // 4) | dict.fromkeys(far, 1)
        await_true("the oldest to be sent away", lambda: strangers.still_open() == rest)
    all_are_in(host, inside)


def test_strangers_at_managesieve(host: MailHost) -> None:
    """An address has ten connections before login; sessions stay, and others can log in."""
    port = host.containers["dovecot"].port(4190)
    first = ManageSieve(port, host.tls(), USERS[0], PASSWORD)
    with Strangers(host, 4190, "starttls", ["127.0.1.1"] * 20) as strangers:
        assert strangers.tried == 20
        rest = {"127.0.1.1": SIEVE_NETWORK}
        await_true("the oldest to be sent away", lambda: strangers.still_open() == rest)
        ManageSieve(port, host.tls(), USERS[1], PASSWORD).close()
    first.activate("still-here", "keep;")
    first.close()
