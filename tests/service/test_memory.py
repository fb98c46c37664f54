"""Fifty clients in IDLE, messages for all, a search and submissions: nothing is killed for memory.

And a container that is short of it says so, before it is killed.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from service.container_engine import engine, images
from service.crowds import idle_sessions
from service.mail_host import PASSWORD, MailHost
from service.ses_endpoint import SesEndpoint
from wire import await_true

pytestmark = pytest.mark.timeout(300)

USERS = ("ann@example.org", "ben@example.org", "a!#$%&*=?^_`{|}~-b@example.org")
EACH = 17  # sessions of a user; 24 are allowed
MAILS = 40


def test_fifty_idle_clients_and_mail_for_all_fit_the_limits(
    host: MailHost, ses: SesEndpoint
) -> None:
    """Each client is told of the messages, the search finds them, the submitted mail leaves, beside sessions that wait."""
    with idle_sessions(host, USERS * EACH) as idle, contextlib.ExitStack() as open_ones:
        with host.lmtp() as lmtp:
            for number in range(MAILS):
                text = f"Subject: number {number}\r\n\r\nwarbling {number}\r\n" * 20
                for user in USERS:
                    assert lmtp.sendmail("someone@elsewhere.example", user, text) == {}
        for client in idle:
            while b"EXISTS" not in client.readline():
                pass
        with host.imap(USERS[0]) as searching:
            searching.select()
            await_true(
                "the search to find all",
                lambda: len(searching.search(None, "BODY", "warbling")[1][0].split()) == MAILS,
            )
        for port in (465, 465, 587, 587, 587):  # with the next: as many as an address may have
            open_ones.enter_context(host.submission(USERS[0], port=port))
        with host.submission(USERS[0], port=465) as smtp:
            smtp.sendmail(USERS[0], ["someone@elsewhere.example"], f"From: {USERS[0]}\r\n\r\nhello")
        await_true("the mail to leave", lambda: len(ses.relayed) == 1)
        killed = [host.containers[name].usage().killed() for name in ("dovecot", "postfix")]
        assert killed == [0, 0]


def test_where_memory_ends_the_kernel_takes_one_session(host: MailHost) -> None:
    """A client's process or the indexer is killed, not the one with all connections."""
    usage = host.containers["dovecot"].usage()

    def scores(name: bytes) -> list[int]:
        found = usage.processes_of(name + b"\0")
        return [int(Path(f"/proc/{pid}/oom_score").read_text()) for pid in found]

    with host.lmtp() as lmtp:
        assert lmtp.sendmail("s@elsewhere.example", [USERS[0]], "Subject: new\r\n\r\nnew\r\n") == {}
    with host.imap(USERS[0]) as client:
        client.select()
        await_true("the indexer", lambda: scores(b"indexer-worker"))
        first = scores(b"/imap") + scores(b"indexer-worker")
        others = (b"imap-login", b"lmtp", b"auth", b"anvil")
        last = [score for name in others for score in scores(b"dovecot/" + name)]
    assert min(first) > max(last)


def test_each_client_that_may_come_has_its_descriptors(host: MailHost) -> None:
    """imap-login takes 500 clients, each with two; with 1,024 in all the 504th failed."""
    (login,) = host.containers["dovecot"].usage().processes_of(b"dovecot/imap-login\0")
    limits = Path(f"/proc/{login}/limits").read_text()
    (soft,) = re.findall(r"Max open files +(\d+)", limits)
    assert int(soft) > 2 * 500 + 100


def hostile_mail(kind: str) -> bytes:
    """Return a mail of ann's that takes as much as it can: 25 MB of body, or 256 KB of header."""
    head = b"From: ann@example.org\r\nSubject: much\r\n"
    addresses = b",\r\n ".join([b"a@b.c"] * 6_000)
    lists = b"".join(name + b": " + addresses + b"\r\n" for name in (b"To", b"Cc", b"Reply-To"))
    return {
        "body": head + b"\r\n" + (b"y" * 74 + b"\r\n") * (25_000_000 // 76),
        "fields": head + b"a:\r\n" * 10_000 + b"\r\nx\r\n",
        "addresses": head + lists + b"\r\nx\r\n",
        "groups": head + b"To: " + b"a:" * 19_000 + b";" * 19_000 + b"\r\n\r\nx\r\n",
    }[kind]


@pytest.mark.parametrize(
    ("kind", "answer"), [("body", 250), ("fields", 552), ("addresses", 250), ("groups", 250)]
)
def test_a_flood_of_hostile_mails_kills_nothing(host: MailHost, kind: str, answer: int) -> None:
    """Eight at a time, all that Postfix takes: the guard, through which each passes, stays the same."""
    usage = host.containers["postfix"].usage()
    guard = usage.processes_of(b"\0/usr/local/bin/submission-guard\0")
    # From an address each: of one there are only three at a time.
    flood = Path(__file__).with_name("flood.py")
    done = subprocess.run(
        [
            *host.containers["postfix"].in_its_network,
            *(sys.executable, str(flood), USERS[0], PASSWORD, "8"),
        ],
        input=hostile_mail(kind),
        stdout=subprocess.PIPE,
        check=True,
        timeout=250,
    )
    assert {str(answer): 8} == json.loads(done.stdout)
    assert guard == usage.processes_of(b"\0/usr/local/bin/submission-guard\0")
    assert usage.killed() == 0
    host.containers["postfix"].exec("postsuper", "-d", "ALL")


@pytest.mark.parametrize("name", ["dovecot", "postfix"])
def test_it_says_when_its_memory_is_short(name: str) -> None:
    """Full memory is reported, a full page cache is not."""
    # 64 MB are read, of which the limit lets a part stay; then 22 MB lie in memory.
    filled = (
        "head -c 64M /dev/zero >/var/tmp/cache && cat /var/tmp/cache >/dev/null"
        f"; memory-short {name} && echo ---"
        f"; head -c 22M /dev/zero >/tmp/held && memory-short {name}"
    )
    said = engine()(
        *("run", "--rm", "--network=none", "--memory=24m", "--memory-swap=24m"),
        *("--tmpfs=/tmp", "--env=PLEXUS_HOSTNAME=mail.example.org", "--entrypoint=/bin/sh"),
        *(images(name)[name], "-c", filled),
    )
    full_cache, _, full_memory = said.partition("---\n")
    assert "" == full_cache
    found = json.loads(full_memory)
    assert found["HostShort"] == 1
    assert 90 <= found["used"][name] <= 100


def test_dovecot_takes_more_clients_in_a_larger_container() -> None:
    """It reads the settings that `room` writes for its memory, after those of dovecot.conf."""
    wanted = "service/imap/process_limit service/imap-login/client_limit"
    said = engine()(
        *("run", "--rm", "--network=none", "--memory=512m", "--memory-swap=512m", "--tmpfs=/run"),
        *("--env=PLEXUS_HOSTNAME=mail.example.org", "--entrypoint=/bin/sh"),
        *(images("dovecot")["dovecot"], "-c"),
        f"doveconf -h {wanted}; room >/run/dovecot-room.conf; doveconf -h {wanted}",
    )
    processes, clients, more_processes, more_clients = map(int, said.split())
    assert (26, 500) == (processes, clients)
    assert processes + (512 - 128) // 5 == more_processes
    assert clients + 512 - 128 == more_clients
