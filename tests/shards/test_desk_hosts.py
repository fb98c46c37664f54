"""A desk with `hosts: 2`: two sets of containers at 127.0.0.1 and 127.0.0.2, one mail system."""

from __future__ import annotations

import json
import smtplib
import ssl
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from system.desk import Desk, letter
from wire import Mailbox, await_true

ANN, BEN = "ann@example.org", "ben@example.net"
MOST = 8  # messages an hour, in two_hosts.yaml


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The desk, with every service of both hosts healthy."""
    running = Desk(tmp_path_factory.mktemp("two") / "desk")
    try:
        running.up("--stack-file", str(Path(__file__).with_name("two_hosts.yaml")))
        # A new mailbox is host 1's until that has left it to its home; until then a login fails,
        # and too many failures block the client.
        await_true("ben's mailbox to be at home", lambda: is_at_home(running), 60)
        yield running
    finally:
        running.down()


def mailbox(desk: Desk, number: int, address: str) -> Mailbox:
    """IMAP of a mailbox through a host."""
    _, port = desk.endpoint("imaps")
    return Mailbox(f"127.0.0.{number}", port, desk.ca_file, address, desk.password(address))


def is_at_home(desk: Desk) -> bool:
    """Whether host 1 has left ben's new mailbox to host 2, and that has taken it."""
    records = (desk.directory / "efs").glob("**/.homes/" + BEN)
    return [path.read_text() for path in records] == ["2 has\n"]


def count(desk: Desk, number: int, address: str, mark: str) -> int:
    """How often a message is in the inbox, as a host's clients see it."""
    with mailbox(desk, number, address) as client:
        return len(client.search("SUBJECT", mark))


def submit(desk: Desk, number: int, sender: str, recipients: list[str], mark: str) -> None:
    """Submit a mail through a host, as the user who sends it."""
    context = ssl.create_default_context(cafile=desk.ca_file)
    _, port = desk.endpoint("submissions")
    message = letter(sender, recipients[0], mark)
    with smtplib.SMTP_SSL(f"127.0.0.{number}", port, context=context, timeout=60) as client:
        client.login(sender, desk.password(sender))
        client.send_message(message, to_addrs=recipients)


def queues_are_empty(desk: Desk) -> bool:
    """Whether neither host has an entry to work on."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    sqs = desk.client("sqs")
    urls = [desk.output("queue_url"), desk.output("other_hosts")[0]["queue_url"]]
    return all(
        number == "0"
        for url in urls
        for number in sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)[
            "Attributes"
        ].values()
    )


def test_mail_from_the_world_reaches_both_homes_once(two: Desk) -> None:
    """One message to an alias for both: each host delivers its part, seen through both hosts."""
    mark = uuid.uuid4().hex
    content = letter("world@elsewhere.example", "both@example.org", mark).as_bytes()
    assert {} == two.receive("world@elsewhere.example", ["both@example.org"], content)
    for number in (1, 2):
        for address in (ANN, BEN):
            await_true(
                f"{address} by host {number}",
                lambda number=number, address=address: count(two, number, address, mark) == 1,
            )
    await_true("the queues to be empty", lambda: queues_are_empty(two), 150)
    assert [1, 1] == [count(two, 2, address, mark) for address in (ANN, BEN)]
    homes = [
        # Of those that left a host there is an empty directory.
        sorted(
            {
                path.parent.name
                for path in two.directory.glob(f"{host}/var/lib/plexus/indexes/*/*/*")
            }
        )
        for host in ("host", "host-2")
    ]
    assert [["ann"], ["ben"]] == homes


def test_users_submit_through_either_host(two: Desk) -> None:
    """Out to the world and over to the other host's mailbox, also through a host not their own."""
    for number, sender, local in ((2, ANN, BEN), (1, BEN, ANN)):
        mark = uuid.uuid4().hex
        submit(two, number, sender, ["friend@elsewhere.example", local], mark)
        two.await_outbox(mark)
        await_true("the local one", lambda local=local, mark=mark: count(two, 2, local, mark) == 1)


def test_a_replay_goes_to_the_mailboxs_host(two: Desk) -> None:
    """What a mailbox of host 2 has lost comes back once, though the command knows no host."""
    mark = uuid.uuid4().hex
    content = letter("world@elsewhere.example", BEN, mark).as_bytes()
    assert {} == two.receive("world@elsewhere.example", [BEN], content)
    await_true("the message", lambda: count(two, 2, BEN, mark) == 1)

    def recorded() -> bool:
        run = two.operate("replay", BEN, "--since", "1h", "--dry-run", "--json")
        return mark in run.stdout

    await_true("the record", recorded)
    words = ("doveadm", "-o", "mail_plugins/lazy_expunge=no", "expunge", "-u", BEN)
    two.engine("exec", two.container("dovecot-2"), *words, "mailbox", "*", "subject", mark)
    assert 0 == count(two, 2, BEN, mark)
    for _ in range(2):
        run = two.operate("replay", BEN, "--since", "1h", "--json")
        assert run.returncode == 0, run.stderr
        assert json.loads(run.stdout)["queued"] >= 1
    await_true("the lost message", lambda: count(two, 2, BEN, mark) == 1)
    await_true("the queues to be empty", lambda: queues_are_empty(two), 150)
    assert 1 == count(two, 1, BEN, mark)
    assert {} == two.dead_letters()


def test_a_host_that_died_delays_its_own_mail_only(two: Desk) -> None:
    """Host 2's Dovecot is killed: ann's mail comes, ben's waits and comes once after it."""
    mark = uuid.uuid4().hex
    killed = two.kill("dovecot-2")
    content = letter("world@elsewhere.example", "both@example.org", mark).as_bytes()
    assert {} == two.receive("world@elsewhere.example", ["both@example.org"], content)
    await_true("ann's", lambda: count(two, 1, ANN, mark) == 1)
    two.await_return("dovecot-2", killed)
    await_true("ben's", lambda: count(two, 2, BEN, mark) == 1, 150)
    await_true("the queues to be empty", lambda: queues_are_empty(two), 150)
    assert [1, 1] == [count(two, 1, address, mark) for address in (ANN, BEN)]


def test_sending_is_limited_on_each_host(two: Desk) -> None:
    """Who uses both may send twice the limit, as docs/shards.md says, and no more."""
    sent = [0, 0]
    for number in (1, 2):
        for _ in range(MOST + 1):
            try:
                submit(two, number, ANN, [BEN], uuid.uuid4().hex)
            except smtplib.SMTPDataError as refused:
                assert (450, b"4.7.1") == (refused.smtp_code, refused.smtp_error[:5])
                break
            sent[number - 1] += 1
    # She has sent before, through host 2.
    assert [MOST, MOST - 1] == sent
