"""A desk with `hosts: 3`: three sets of containers at 127.0.0.1 to .3, one mail system."""

from __future__ import annotations

import json
import smtplib
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from shards.three_hosts import (
    ALL,
    ANN,
    BEN,
    CAT,
    DAN,
    HOMES,
    HOSTS,
    STACK_FILE,
    Operator,
    await_empty_queues,
    await_home,
    await_one,
    copy_indexes,
    count,
    doveadm,
    has_host_2,
    launch,
    mailbox,
    plexus,
    receive,
    record,
    submit,
    terminate,
    three_hosts,
)
from system.desk import Desk, letter
from system.test_restore import take_recovery_point
from wire import await_true

MOST = 8  # messages an hour, in three_hosts.yaml


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The desk, with every mailbox at its home."""
    with three_hosts(tmp_path_factory.mktemp("three") / "desk") as running:
        yield running


@pytest.fixture(scope="module")
def operator(desk: Desk) -> Operator:
    """Whoever may do everything but read mail."""
    return Operator(desk, "operator")


def test_mail_from_the_world_reaches_every_home_once(desk: Desk) -> None:
    """One message to an alias for all: each host delivers its part, seen through every host."""
    mark = uuid.uuid4().hex
    receive(desk, ALL, mark)
    for number in HOSTS:
        for address in HOMES:
            await_one(desk, number, address, mark)
    await_empty_queues(desk)
    assert [1] * 4 == [count(desk, home, address, mark) for address, home in HOMES.items()]
    homes = [
        # Of those that left a host there is an empty directory.
        sorted(
            {
                path.parent.name
                for path in desk.directory.glob(f"{host}/var/lib/plexus/indexes/*/*/*")
            }
        )
        for host in ("host", "host-2", "host-3")
    ]
    assert [["ann"], ["ben", "dan"], ["cat"]] == homes


def test_users_submit_through_any_host(desk: Desk) -> None:
    """Out to the world and over to another host's mailbox, also through a host not their own."""
    for number, sender, local in ((2, ANN, BEN), (1, BEN, ANN), (3, BEN, DAN)):
        mark = uuid.uuid4().hex
        submit(desk, number, sender, ["friend@elsewhere.example", local], mark)
        desk.await_outbox(mark)
        await_one(desk, number, local, mark)


def test_a_replay_goes_to_the_mailboxs_host(desk: Desk) -> None:
    """What a mailbox of host 2 has lost comes back once, though the command knows no host."""
    mark = uuid.uuid4().hex
    receive(desk, ALL, mark)
    await_one(desk, 2, BEN, mark)

    def recorded() -> bool:
        run = desk.operate("replay", BEN, "--since", "1h", "--dry-run", "--json")
        return mark in run.stdout

    await_true("the record", recorded)
    lose(desk, BEN, mark)
    for _ in range(2):
        run = desk.operate("replay", BEN, "--since", "1h", "--json")
        assert run.returncode == 0, run.stderr
        assert json.loads(run.stdout)["queued"] >= 1
    await_one(desk, 2, BEN, mark)
    await_empty_queues(desk)
    assert [1, 1] == [count(desk, number, BEN, mark) for number in (1, 3)]
    assert {} == desk.dead_letters()


def lose(desk: Desk, address: str, mark: str) -> None:
    """A mailbox loses a message for good."""
    words = ("-o", "mail_plugins/lazy_expunge=no", "expunge", "-u", address)
    doveadm(desk, HOMES[address], *words, "mailbox", "*", "subject", mark)
    assert 0 == count(desk, HOMES[address], address, mark)


def test_commands_reach_the_host_that_is_meant(
    desk: Desk, operator: Operator, tmp_path: Path
) -> None:
    """About all hosts, or on the mailbox's host, with an operator's rights on all of them."""
    listed = operator.done("mailbox", "list")
    assert list(HOMES.items()) == [(each["address"], each["host"]) for each in listed]
    assert [] == operator.done("queue", "list")
    mark = uuid.uuid4().hex
    (tmp_path / "one.eml").write_bytes(letter("world@elsewhere.example", BEN, mark).as_bytes())
    run = desk.operate("import mail", BEN, str(tmp_path / "one.eml"), "--json")
    assert run.returncode == 0, run.stderr
    assert [1, 1, 1] == [count(desk, number, BEN, mark) for number in HOSTS]
    run = desk.operate("export", BEN, "--to", str(tmp_path / "ben.tar"))
    assert run.returncode == 0, run.stderr
    assert mark.encode() in (tmp_path / "ben.tar").read_bytes()
    indexes = [desk.directory / host / "var/lib/plexus/indexes" for host in ("host", "host-2")]
    assert [False, True] == [any(each.glob("*/ben/**/dovecot.index*")) for each in indexes]


def test_what_is_said_names_the_host(desk: Desk, operator: Operator) -> None:
    """The doctor looks at each; a message's path shows which `deliver` and Dovecot had it."""
    run = operator.run("doctor", "--json")
    findings = json.loads(run.stdout)["findings"]
    assert [] == [each for each in findings if "AWS refuses" in each["what"]]
    things = {each["thing"] for each in findings if each["level"] in {"ok", "unknown"}}
    for number in HOSTS:
        assert {f"mail queue (host {number})", f"directory (host {number})"} <= things
        name = "mail.example.org" if number == 1 else f"mail-{number}.example.org"
        assert f"certificate {name} (host {number})" in {each["thing"] for each in findings}
    mark = uuid.uuid4().hex
    receive(desk, ALL, mark)

    def traced() -> bool:
        run = operator.run("trace", f"<{mark}@x.example>", "--json")
        mails = json.loads(run.stdout)["mails"] if run.stdout else []
        where = {step["where"] for mail in mails for step in mail["steps"]}
        return {f"deliver (host {number})" for number in HOSTS} | {"Dovecot (host 2)"} <= where

    await_true("all hosts in the trace", traced, 60)


def test_a_host_that_died_delays_its_own_mail_only(desk: Desk) -> None:
    """Host 2's Dovecot is killed: the others' mail comes, ben's waits and comes once after it."""
    mark = uuid.uuid4().hex
    killed = desk.kill("dovecot-2")
    receive(desk, ALL, mark)
    for address in (ANN, CAT):
        await_one(desk, HOMES[address], address, mark)
    desk.await_return("dovecot-2", killed)
    await_one(desk, 2, BEN, mark, 150)
    await_empty_queues(desk)
    assert [1] * 4 == [count(desk, 3, address, mark) for address in HOMES]


@pytest.mark.timeout(300)
def test_lost_mailboxes_are_restored_on_their_hosts(desk: Desk) -> None:
    """One beside its current content; then all that are lost, whichever host had them.

    Lost with nothing new (ann, dan), or with mail since (ben): merged where the index is. A mailbox
    that is not lost stays (cat), with the flags that it has since. Each message is there once.
    """
    before, after, since = (uuid.uuid4().hex for _ in range(3))
    reader = Operator(desk, "reader", "--mail")
    receive(desk, ALL, before)
    for address, home in HOMES.items():
        await_one(desk, home, address, before)
        doveadm(desk, home, "flags", "add", "-u", address, "\\Flagged", "subject", before)
        copy_indexes(desk, home)
    take_recovery_point(desk)

    lose(desk, BEN, before)
    done = reader.done("restore", BEN)
    words = (
        "search",
        "-u",
        BEN,
        "mailbox",
        f"{done['folder']}/INBOX",
        "flagged",
        "subject",
        before,
    )
    assert 1 == len(doveadm(desk, 2, *words).splitlines())

    receive(desk, ALL, after)
    for address, home in HOMES.items():
        await_one(desk, home, address, after)
    doveadm(desk, 3, "flags", "add", "-u", CAT, "\\Answered", "subject", after)
    for address in (ANN, BEN, DAN):
        name, _, domain = address.partition("@")
        number = HOMES[address]
        places = [f"/srv/{root}/{domain}/{name}" for root in ("mail", "indexes")]
        desk.engine(
            "exec", desk.container(f"dovecot-{number}".removesuffix("-1")), "rm", "-rf", *places
        )
    receive(desk, BEN, since)
    await_one(desk, 2, BEN, since)

    done = reader.done("restore", "--all", "--yes")
    assert {ANN, BEN, DAN} == {each["address"] for each in done["mailboxes"]}
    assert ([CAT], []) == (done["kept"], done["damaged"])
    desk.await_healthy()
    await_home(desk, HOMES)
    for address, home in HOMES.items():
        await_one(desk, home, address, after, 90)
    await_one(desk, 2, BEN, since)
    await_empty_queues(desk)
    for address in HOMES:
        with mailbox(desk, 1, address) as client:
            assert [1, 1] == [len(client.search("SUBJECT", mark)) for mark in (before, after)]
            assert 1 == len(client.search("SUBJECT", before, "FLAGGED"))
            assert (1 if address == CAT else 0) == len(client.search("ANSWERED"))
    assert {} == desk.dead_letters()
    assert [] == list(desk.directory.glob("efs/*/aws-backup-restore_*"))


def test_sending_is_limited_on_each_host(desk: Desk) -> None:
    """Who uses two may send twice the limit, as docs/shards.md says, and no more."""
    sent = [0, 0]
    for number in (1, 2):
        for _ in range(MOST + 1):
            try:
                submit(desk, number, ANN, [BEN], uuid.uuid4().hex)
            except smtplib.SMTPDataError as refused:
                assert (450, b"4.7.1") == (refused.smtp_code, refused.smtp_error[:5])
                break
            sent[number - 1] += 1
    # She has sent before, through host 2.
    assert [MOST, MOST - 1] == sent


def test_mailboxes_of_a_lost_host_are_taken_by_others(
    desk: Desk, operator: Operator, tmp_path: Path
) -> None:
    """Nothing is lost or doubled: flags of an hour ago, all mails, and what the dead host owed."""
    old, new, meanwhile, owed = (uuid.uuid4().hex for _ in range(4))
    receive(desk, BEN, old)
    await_one(desk, 2, BEN, old)
    with mailbox(desk, 2, BEN) as client:
        (uid,) = client.search("SUBJECT", old)
        client.imap.uid("STORE", uid.decode(), "+FLAGS", r"(\Flagged)")
    copy_indexes(desk, 2)
    receive(desk, BEN, new)
    await_one(desk, 2, BEN, new)

    refused = operator.run("failover", "2", "--yes")
    assert (69, "") == (refused.returncode, refused.stdout)
    assert "may still have its mailboxes open" in refused.stderr
    (group,) = {str(host.parts["host_group"]) for host in operator.system.hosts[1:2]}
    with pytest.raises(ClientError, match="not authorized"):
        operator.system.client("autoscaling").set_desired_capacity(
            AutoScalingGroupName=group, DesiredCapacity=0
        )
    terminate(desk)
    the_others_notice_nothing(desk, meanwhile)
    its_operators_are_told(operator)

    stack = tmp_path / "stack.yaml"
    stack.write_text(STACK_FILE.read_text())
    moved = plexus("move", "example.net", "1", "--stack-file", str(stack))
    assert f"{BEN} moves from host 2 to host 1" in moved
    desk.up("--stack-file", str(stack))
    # Accepted with a directory that names host 2: it waits in that one's queue.
    receive(desk, BEN, owed)

    done = operator.done("failover", "2", "--yes")
    assert (2, 0) == (done["lost"], done["left"])
    assert [(BEN, 1), (DAN, 1)] == [(each["address"], each["host"]) for each in done["mailboxes"]]
    await_home(desk, {BEN: 1, DAN: 1})
    for mark in (old, new):
        await_one(desk, 3, BEN, mark)
    with mailbox(desk, 1, BEN) as client:
        assert 1 == len(client.search("SUBJECT", old, "FLAGGED"))
        assert 0 == len(client.search("SUBJECT", new, "FLAGGED"))

    launch(desk)
    await_true("host 2's return", lambda: desk.is_healthy() and has_host_2(desk), 120)
    await_true("what host 2 owed", lambda: count(desk, 2, BEN, owed) == 1, 150)
    await_empty_queues(desk)
    assert [1] * 4 == [count(desk, 1, BEN, each) for each in (old, new, meanwhile, owed)]
    assert "1 has\n" == record(desk, BEN)
    assert {} == desk.dead_letters()


def the_others_notice_nothing(desk: Desk, mark: str) -> None:
    """While host 2 is gone: mail for all comes to them, and clients are led between them."""
    receive(desk, ALL, mark)
    for address, number in ((ANN, 3), (CAT, 1)):
        await_one(desk, number, address, mark)
    out = uuid.uuid4().hex
    submit(desk, 3, CAT, ["friend@elsewhere.example", ANN], out)
    desk.await_outbox(out)
    await_one(desk, 3, ANN, out)


def its_operators_are_told(operator: Operator) -> None:
    """While host 2 is gone: within seconds, with what the others have, and what to do next."""
    began = time.monotonic()
    run = operator.run("mailbox", "list", "--json")
    assert 69 == run.returncode
    assert [(ANN, 1), (CAT, 3)] == [
        (each["address"], each["host"]) for each in json.loads(run.stdout)
    ]
    (line,) = run.stderr.splitlines()
    assert line.startswith("plexus: host 2: ")
    assert "see plexus doctor" in line
    named = operator.run("mailbox", "list", "--json", CAT, BEN)
    assert (69, [CAT]) == (named.returncode, [one["address"] for one in json.loads(named.stdout)])
    assert "host 2: " in named.stderr
    assert 60 > time.monotonic() - began
    doctor = operator.run("doctor", "--json")
    critical = [
        each["thing"]
        for each in json.loads(doctor.stdout)["findings"]
        if each["level"] == "critical"
    ]
    assert 81 == doctor.returncode
    assert any("(host 2)" in each for each in critical), critical
