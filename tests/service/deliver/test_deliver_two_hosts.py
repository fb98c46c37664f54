"""Two hosts: each `deliver` acts on its own part of each message, whatever changes meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from benchmarks.aws_stub.notification import Accepted, notification
from benchmarks.aws_stub.process import Stub

from postal_plexus.directory import Alias, Directory, Domain, Host, Mailbox
from postal_plexus.mail.delivered import PREFIX, REPLAY, Record, Replay, read_records, write_replay
from service.deliver.bed import BUCKET, Bed
from wire import await_true

ANN, BEN, CAT, FRIEND = "ann@example.org", "ben@example.org", "cat@example.org", "x@else.example"
HOSTS = (Host("mail.example.org", "10.0.0.1"), Host("mail-2.example.org", "10.0.0.2"))
QUEUES = ("mail", "dead-letters", "events", "mail-2", "dead-letters-2", "events-2")
LONG_AGO, SOON_AFTER = 1000.0, 500.0


def directory(team: str, home_of_cat: int = 2) -> Directory:
    """Ann on host 1, Ben and by default Cat on host 2; the team is one of them."""
    return Directory(
        (Domain("example.org"), Domain("example.net", BEN)),
        (
            Mailbox(ANN, "{PLAIN}x"),
            Mailbox(BEN, "{PLAIN}x", home=2),
            Mailbox(CAT, "{PLAIN}x", home=home_of_cat),
        ),
        (Alias("team@example.org", (team,)), Alias("out@example.org", (ANN, BEN, FRIEND))),
        HOSTS,
    )


class Hosts:
    """The stub, and a bed for each host."""

    def __init__(self, root: Path, stub: Stub) -> None:
        self.stub = stub
        self.beds: list[Bed] = []
        for number in (1, 2):
            path = root / str(number)
            path.mkdir()
            bed = Bed(path, stub)
            suffix = "" if number == 1 else f"-{number}"
            bed.settings |= {
                "PLEXUS_SHARD": str(number),
                "PLEXUS_QUEUE_URL": stub.queue_url(f"mail{suffix}"),
                "PLEXUS_DEAD_LETTER_QUEUE_URL": stub.queue_url(f"dead-letters{suffix}"),
                "PLEXUS_EVENTS_QUEUE_URL": stub.queue_url(f"events{suffix}"),
            }
            bed.dovecot.start()
            bed.postfix.start()
            self.beds.append(bed)

    def publish(self, made: Directory, ago: float) -> None:
        """A version of the directory, stored that many seconds ago."""
        path = f"/{BUCKET}/directory.json?modified={time.time() - ago}"
        assert 200 == self.stub.request("PUT", path, made.to_json())[0]

    def send(
        self,
        receipt: str,
        *recipients: str,
        ago: float = 100.0,
        sender: str = "a@b.c",
        **verdicts: str,
    ) -> None:
        """SES accepted a mail that many seconds ago, and SNS put a copy into each host's queue."""
        self.stub.put_object(f"{BUCKET}/mail/{receipt}", b"Subject: a\r\n\r\nhi\r\n")
        mail = Accepted(receipt, sender, recipients, BUCKET, f"mail/{receipt}", verdicts=verdicts)
        body = notification(mail, datetime.fromtimestamp(time.time() - ago, UTC))
        for queue in ("mail", "mail-2"):
            self.beds[0].put(body, queue=queue)

    def await_deleted(self, first: int, second: int) -> None:
        """Until each host has deleted that many entries."""
        self.beds[0].await_deleted(first)
        self.beds[0].await_deleted(second, queue="mail-2")

    def has(self) -> list[dict[str, int]]:
        """How many messages each host's mailboxes got."""
        return [
            {name: len(mails) for name, mails in bed.dovecot.mailboxes.items()} for bed in self.beds
        ]

    def records(self) -> list[Record]:
        """Who got which message, as the hosts recorded it."""
        keys = [key for key in self.stub.get("dump")["objects"] if f"{BUCKET}/{PREFIX}" in key]
        return [
            record
            for key in keys
            for record in read_records(self.stub.request("GET", f"/{key}")[1])
        ]

    def close(self) -> None:
        """End everything but the stub."""
        for bed in self.beds:
            if bed.process is not None and bed.process.poll() is None:
                bed.kill()
            bed.dovecot.stop()
            bed.postfix.stop()
            bed.sockets.rmdir()


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    """Two hosts, on which `deliver` does not run yet."""
    arguments = ("--hurry", "100", "--patient", "1", "--state", str(tmp_path / "stub"))
    with Stub(*arguments, queues=QUEUES) as stub:
        made = Hosts(tmp_path, stub)
        try:
            made.publish(directory(ANN), LONG_AGO)
            yield made
        finally:
            made.close()


def test_each_host_acts_on_its_part(hosts: Hosts) -> None:
    """Mailboxes at their home, once; forwards, bounces and a virus's dead letter on host 1 alone."""
    hosts.send("m1", ANN, BEN, "out@example.org", "any@example.net", "nobody@example.org")
    hosts.send("m2", BEN, virus="FAIL")
    for bed in hosts.beds:
        bed.start()
    hosts.await_deleted(2, 2)
    assert [{ANN: 1}, {BEN: 2}] == hosts.has()
    assert [[FRIEND], []] == [list(bed.postfix.mailboxes) for bed in hosts.beds]
    dump = hosts.stub.get("dump")
    assert ["nobody@example.org"] == [
        each["BouncedRecipientInfoList.member.1.Recipient"] for each in dump["bounces"]
    ]
    assert [1, 0] == [len(dump["queues"][name]) for name in ("dead-letters", "dead-letters-2")]


def test_a_change_between_two_hosts_loses_nothing(hosts: Hosts) -> None:
    """Host 2 processes a message before an alias moves from Ann to Cat, host 1 long after it.

    By its newest directory each would leave the message to the other.
    """
    hosts.send("m1", "team@example.org")
    first, second = hosts.beds
    second.start()
    hosts.beds[0].await_deleted(1, queue="mail-2")
    hosts.publish(directory(CAT), 10.0)
    first.start()
    hosts.await_deleted(1, 1)
    assert [{ANN: 1}, {}] == hosts.has()


def test_a_mailbox_that_moves_gets_each_message_once(hosts: Hosts) -> None:
    """Its home at the time of acceptance delivers, on whichever side of the change that is."""
    hosts.publish(directory(ANN, home_of_cat=1), SOON_AFTER)
    hosts.send("before", CAT, ago=SOON_AFTER + 100)
    hosts.send("after", CAT, ago=SOON_AFTER - 100)
    for bed in hosts.beds:
        bed.start()
    hosts.await_deleted(2, 2)
    assert [{CAT: 1}, {CAT: 1}] == hosts.has()
    (first,), (second,) = (bed.dovecot.mailboxes[CAT] for bed in hosts.beds)
    assert b"X-Plexus-Receipt: after\r\n" in first
    assert b"X-Plexus-Receipt: before\r\n" in second


def test_mail_of_a_single_host_is_left_to_it(hosts: Hosts) -> None:
    """What SES accepted before there were several hosts has a notification on host 1 only."""
    hosts.send("old", BEN, ago=LONG_AGO + 100)
    for bed in hosts.beds:
        bed.start()
    hosts.await_deleted(1, 1)
    assert [{BEN: 1}, {}] == hosts.has()


def test_a_replay_goes_by_where_the_mailbox_lives_now(hosts: Hosts) -> None:
    """Cat had the message on host 1, and lives on host 2, which has no journal entry of it."""
    hosts.send("m1", CAT, ago=LONG_AGO + 100)
    for bed in hosts.beds:
        bed.start()
    hosts.await_deleted(1, 1)
    assert [{CAT: 1}, {}] == hosts.has()
    (entry,) = {record.entry for record in hosts.records()}
    mark = write_replay(Replay(CAT, (CAT,)))
    attributes = {REPLAY: {"DataType": "String", "StringValue": mark}}
    entries = [{"body": entry, "attributes": attributes}]
    hosts.stub.post("send", queue="mail-2", entries=entries)
    hosts.await_deleted(1, 2)
    # To the wrong host, the entry is not lost: it becomes a dead letter, which says why.
    hosts.stub.post("send", queue="mail", entries=entries)
    hosts.await_deleted(2, 2)
    assert [{CAT: 1}, {CAT: 1}] == hosts.has()
    (letter,) = hosts.beds[0].dead_letters()
    assert "another host" in letter["attributes"]["Reason"]


def test_a_dead_letter_that_is_put_back_goes_where_its_recipient_leads_now(hosts: Hosts) -> None:
    """An address that is new, on whichever host: the host with the entry acts, and only that.

    In service its Dovecot proxies to the mailbox's home.
    """
    new = "new@example.org"
    hosts.send("m1", new, ANN, ago=LONG_AGO - 100, sender="")
    first = hosts.beds[0]
    for bed in hosts.beds:
        bed.start()
    hosts.await_deleted(1, 1)
    (letter,) = first.dead_letters()
    before = directory(ANN)
    taken = len(first.log("directory taken"))
    mailboxes = (*before.mailboxes, Mailbox(new, "{PLAIN}x", home=2))
    hosts.publish(Directory(before.domains, mailboxes, before.aliases, HOSTS), 0.0)
    await_true("the directory", lambda: len(first.log("directory taken")) > taken)
    attributes = {
        name: {"DataType": "String", "StringValue": value}
        for name, value in letter["attributes"].items()
    }
    entry = {"body": letter["body"], "attributes": attributes}
    hosts.stub.post("send", queue="mail", entries=[entry] * 2)
    hosts.await_deleted(3, 1)
    assert [{ANN: 1, new: 1}, {}] == hosts.has()


def test_without_the_directory_of_its_acceptance_a_message_waits(hosts: Hosts) -> None:
    """A host that cannot confirm the directory neither delivers nor leaves it to others."""
    first = hosts.beds[0]
    first.start()
    await_true("the first directory", lambda: first.log("directory taken"))
    assert 300 > hosts.stub.request("DELETE", f"/{BUCKET}/directory.json")[0]
    # 25 s ahead: a look at the directory counts for it from now on.
    hosts.send("m1", ANN, ago=-25.0)
    await_true("the message to be postponed", lambda: first.log("postponed"))
    assert {} == hosts.has()[0]
    hosts.publish(directory(ANN), LONG_AGO)
    first.await_deleted(1)
    assert {ANN: 1} == hosts.has()[0]


def test_a_clock_that_is_ahead_makes_no_old_directory_new(tmp_path: Path) -> None:
    """This host's clock is an hour ahead of S3's and SES's: what its last look is too old for waits."""
    hour = 3600.0
    arguments = ("--hurry", "100", "--patient", "1", "--ahead", str(-hour))
    with Stub(*arguments, "--state", str(tmp_path / "stub"), queues=QUEUES) as stub:
        hosts = Hosts(tmp_path, stub)
        first = hosts.beds[0]
        try:
            hosts.publish(directory(ANN), hour + LONG_AGO)
            first.start()
            await_true("the first directory", lambda: first.log("directory taken"))
            # 25 s after the look that this one needs.
            hosts.send("m1", ANN, ago=hour - 50.0)
            hosts.send("m2", ANN, ago=hour)
            first.await_deleted(1)
            (message,) = first.dovecot.mailboxes[ANN]
            assert b"X-Plexus-Receipt: m2\r\n" in message
        finally:
            hosts.close()
