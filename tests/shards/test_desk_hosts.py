"""A desk with `hosts: 2`: two sets of containers at 127.0.0.1 and 127.0.0.2, one mail system."""

from __future__ import annotations

import json
import smtplib
import ssl
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from system.desk import PLEXUS, Desk, letter
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


def plexus(*words: str) -> str:
    """Run a command that needs no desk; its output."""
    done = subprocess.run([PLEXUS, *words], capture_output=True, text=True, check=True)
    return done.stdout


def mailbox(desk: Desk, number: int, address: str) -> Mailbox:
    """IMAP of a mailbox through a host."""
    _, port = desk.endpoint("imaps")
    return Mailbox(f"127.0.0.{number}", port, desk.ca_file, address, desk.password(address))


def is_at_home(desk: Desk) -> bool:
    """Whether host 1 has left ben's new mailbox to host 2, and that has taken it."""
    return home_of_ben(desk) == "2 has\n"


def home_of_ben(desk: Desk) -> str:
    """Who has ben's mailbox, by its record."""
    records = (desk.directory / "efs").glob("**/.homes/" + BEN)
    return "".join(path.read_text() for path in records)


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


def test_commands_reach_the_host_that_is_meant(two: Desk, tmp_path: Path) -> None:
    """About all hosts, or on the mailbox's host; what is imported there is seen through both."""
    listed = json.loads(two.operate("mailbox list", "--json").stdout)
    assert [(ANN, 1), (BEN, 2)] == [(each["address"], each["host"]) for each in listed]
    (only,) = json.loads(two.operate("mailbox list", "--json", BEN).stdout)
    assert BEN == only["address"]
    assert [] == json.loads(two.operate("queue list", "--json").stdout)
    mark = uuid.uuid4().hex
    (tmp_path / "one.eml").write_bytes(letter("world@elsewhere.example", BEN, mark).as_bytes())
    run = two.operate("import mail", BEN, str(tmp_path / "one.eml"), "--json")
    assert run.returncode == 0, run.stderr
    assert [1, 1] == [count(two, number, BEN, mark) for number in (1, 2)]
    run = two.operate("export", BEN, "--to", str(tmp_path / "ben.tar"))
    assert run.returncode == 0, run.stderr
    assert mark.encode() in (tmp_path / "ben.tar").read_bytes()
    indexes = [two.directory / host / "var/lib/plexus/indexes" for host in ("host", "host-2")]
    assert [False, True] == [any(each.glob("*/ben/**/dovecot.index*")) for each in indexes]


def test_what_is_said_names_the_host(two: Desk) -> None:
    """The doctor looks at each; a message's path shows which `deliver` and Dovecot had it."""
    findings = json.loads(two.operate("doctor", "--json").stdout)["findings"]
    things = {each["thing"] for each in findings if each["level"] in {"ok", "unknown"}}
    for number in (1, 2):
        assert {f"mail queue (host {number})", f"directory (host {number})"} <= things
        name = "mail.example.org" if number == 1 else "mail-2.example.org"
        assert f"certificate {name} (host {number})" in {each["thing"] for each in findings}
    mark = uuid.uuid4().hex
    content = letter("world@elsewhere.example", "both@example.org", mark)
    content["Message-ID"] = f"<{mark}@x.example>"
    assert {} == two.receive("world@elsewhere.example", ["both@example.org"], content.as_bytes())

    def traced() -> bool:
        run = two.operate("trace", f"<{mark}@x.example>", "--json")
        mails = json.loads(run.stdout)["mails"] if run.stdout else []
        where = {step["where"] for mail in mails for step in mail["steps"]}
        return {"deliver (host 1)", "deliver (host 2)", "Dovecot (host 2)"} <= where

    await_true("both hosts in the trace", traced, 60)


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


def group_of_host_2(desk: Desk) -> str:
    """The name of host 2's Auto Scaling group."""
    return str(desk.output("other_hosts")[0]["host_group"])


def launch(desk: Desk) -> None:
    """Host 2's group launches another instance, as it does on AWS when there is room for one."""
    tags = [{"Key": "aws:autoscaling:groupName", "Value": group_of_host_2(desk)}]
    desk.client("ec2").run_instances(
        ImageId="ami-00000000000000000",
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[
            {
                "ResourceType": "instance",
                "Tags": [*tags, {"Key": "postal-plexus:stack", "Value": "desk"}],
            }
        ],
    )


def terminate(desk: Desk) -> None:
    """Host 2's instance is terminated, and none of its containers is left."""
    ec2, named = desk.client("ec2"), "tag:aws:autoscaling:groupName"
    found = ec2.describe_instances(Filters=[{"Name": named, "Values": [group_of_host_2(desk)]}])
    (only,) = [each for one in found["Reservations"] for each in one["Instances"]]
    killed = [desk.container(f"{name}-2") for name in ("deliver", "dovecot", "postfix")]
    ec2.terminate_instances(InstanceIds=[only["InstanceId"]])

    def gone() -> bool:
        running = desk.engine("ps", "--all", "--format", "{{.Names}}").split()
        return not set(killed) & set(running)

    await_true("the containers' end", gone, 60)


def has_host_2(desk: Desk) -> bool:
    """Whether the status lists host 2's Dovecot."""
    try:
        return bool(desk.container("dovecot-2"))
    except StopIteration:
        return False


def test_mailboxes_of_a_lost_host_are_taken_by_the_other(two: Desk, tmp_path: Path) -> None:
    """Nothing is lost or doubled: flags of an hour ago, all messages, and what the dead host owed."""
    old, new, owed = (uuid.uuid4().hex for _ in range(3))

    def receive(mark: str) -> None:
        content = letter("world@elsewhere.example", BEN, mark).as_bytes()
        assert {} == two.receive("world@elsewhere.example", [BEN], content)

    receive(old)
    await_true("the first", lambda: count(two, 2, BEN, old) == 1)
    with mailbox(two, 2, BEN) as client:
        (uid,) = client.search("SUBJECT", old)
        client.imap.uid("STORE", uid.decode(), "+FLAGS", r"(\Flagged)")
    as_vmail = ("setpriv", "--reuid=5000", "--regid=5000", "--clear-groups")
    two.engine("exec", two.container("dovecot-2"), *as_vmail, "/usr/local/bin/indexes", "copy")
    receive(new)
    await_true("the second", lambda: count(two, 2, BEN, new) == 1)

    refused = two.operate("failover", "2", "--yes")
    assert (69, "") == (refused.returncode, refused.stdout)
    assert "mailboxes open" in refused.stderr
    terminate(two)
    stack = tmp_path / "stack.yaml"
    stack.write_text(Path(__file__).with_name("two_hosts.yaml").read_text())
    moved = plexus("move", "example.net", "1", "--stack-file", str(stack))
    assert f"{BEN} moves from host 2 to host 1" in moved
    two.up("--stack-file", str(stack))
    # Accepted with a directory that names host 2: it waits in that one's queue.
    receive(owed)

    run = two.operate("failover", "2", "--yes", "--json")
    assert run.returncode == 0, run.stderr
    done = json.loads(run.stdout)
    assert (2, 0) == (done["lost"], done["left"])
    assert [(BEN, 1)] == [(each["address"], each["host"]) for each in done["mailboxes"]]
    await_true("ben at host 1", lambda: home_of_ben(two) == "1 has\n", 60)
    await_true("both mails", lambda: [count(two, 1, BEN, each) for each in (old, new)] == [1, 1])
    with mailbox(two, 1, BEN) as client:
        assert 1 == len(client.search("SUBJECT", old, "FLAGGED"))
        assert 0 == len(client.search("SUBJECT", new, "FLAGGED"))

    launch(two)
    await_true("host 2's return", lambda: two.is_healthy() and has_host_2(two), 120)
    await_true("what host 2 owed", lambda: count(two, 2, BEN, owed) == 1, 150)
    await_true("the queues to be empty", lambda: queues_are_empty(two), 150)
    assert [1, 1, 1] == [count(two, 1, BEN, each) for each in (old, new, owed)]
    assert "1 has\n" == home_of_ben(two)
    assert {} == two.dead_letters()
