"""A desk with `hosts: 3` (three_hosts.yaml) as its clients, its operators and the world see it."""

from __future__ import annotations

import json
import smtplib
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from system.desk import PLEXUS, Desk, letter
from wire import Mailbox, await_true

STACK_FILE = Path(__file__).with_name("three_hosts.yaml")
ANN, BEN, CAT, DAN = "ann@example.org", "ben@example.net", "cat@example.com", "dan@example.net"
ALL = "all@example.org"  # an alias for all four
HOMES = {ANN: 1, BEN: 2, CAT: 3, DAN: 2}
HOSTS = (1, 2, 3)
AS_VMAIL = ("setpriv", "--reuid=5000", "--regid=5000", "--clear-groups")


@contextmanager
def three_hosts(directory: Path) -> Iterator[Desk]:
    """Start the desk, with every service of all hosts healthy."""
    running = Desk(directory)
    try:
        running.up("--stack-file", str(STACK_FILE))
        # A new mailbox is host 1's until that has left it to its home; until then a login fails,
        # and too many failures block the client.
        await_home(running, HOMES)
        yield running
    finally:
        running.down()


def await_home(desk: Desk, homes: Mapping[str, int]) -> None:
    """Wait until each of these mailboxes is at its home."""
    for address, home in homes.items():
        await_true(
            f"{address} to be at home",
            lambda address=address, home=home: record(desk, address) == f"{home} has\n",
            90,
        )


def record(desk: Desk, address: str) -> str:
    """Return who has a mailbox, by its record."""
    records = (desk.directory / "efs").glob("**/.homes/" + address)
    return "".join(path.read_text() for path in records)


def dovecot(number: int) -> str:
    """Return the name of a host's Dovecot."""
    return "dovecot" if number == 1 else f"dovecot-{number}"


def doveadm(desk: Desk, number: int, *words: str) -> str:
    """Run doveadm on a host."""
    return desk.engine("exec", desk.container(dovecot(number)), "doveadm", *words)


def copy_indexes(desk: Desk, number: int) -> None:
    """Let a host copy its indexes to EFS, as it does each hour."""
    words = ("exec", desk.container(dovecot(number)), *AS_VMAIL, "/usr/local/bin/indexes", "copy")
    desk.engine(*words)


# Clients ----------------------------------------------------------------------------------------


def mailbox(desk: Desk, number: int, address: str) -> Mailbox:
    """Return IMAP of a mailbox through a host."""
    _, port = desk.endpoint("imaps")
    return Mailbox(f"127.0.0.{number}", port, desk.ca_file, address, desk.password(address))


def count(desk: Desk, number: int, address: str, mark: str) -> int:
    """Return how often a message is in the inbox, as a host's clients see it."""
    with mailbox(desk, number, address) as client:
        return len(client.search("SUBJECT", mark))


def await_one(desk: Desk, number: int, address: str, mark: str, seconds: float = 30) -> None:
    """Wait until a message is in the inbox, once."""
    await_true(f"{mark} for {address}", lambda: count(desk, number, address, mark) == 1, seconds)


def submit(desk: Desk, number: int, sender: str, recipients: list[str], mark: str) -> None:
    """Submit a mail through a host, as the user who sends it."""
    context = ssl.create_default_context(cafile=desk.ca_file)
    _, port = desk.endpoint("submissions")
    message = letter(sender, recipients[0], mark)
    with smtplib.SMTP_SSL(f"127.0.0.{number}", port, context=context, timeout=60) as client:
        client.login(sender, desk.password(sender))
        client.send_message(message, to_addrs=recipients)


def receive(desk: Desk, recipient: str, mark: str) -> None:
    """Let a mail come from the world."""
    content = letter("world@elsewhere.example", recipient, mark)
    content["Message-ID"] = f"<{mark}@x.example>"
    assert {} == desk.receive("world@elsewhere.example", [recipient], content.as_bytes())


def await_empty_queues(desk: Desk) -> None:
    """Wait until no host has an entry to work on."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    sqs = desk.client("sqs")
    urls = [desk.output("queue_url"), *(each["queue_url"] for each in desk.output("other_hosts"))]

    def settled() -> bool:
        found = [sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names) for url in urls]
        return all(n == "0" for each in found for n in each["Attributes"].values())

    await_true("the queues to be empty", settled, 150)


# Operators --------------------------------------------------------------------------------------


def plexus(*words: str) -> str:
    """Run a command that needs no stack; return its output."""
    done = subprocess.run([PLEXUS, *words], capture_output=True, text=True, check=True)
    return done.stdout


class Operator:
    """An IAM user with exactly the policy that `plexus operator-policy` prints with these options."""

    def __init__(self, desk: Desk, name: str, *options: str) -> None:
        policy = desk.operate("operator-policy", *options)
        assert (0, "") == (policy.returncode, policy.stderr)
        iam = desk.client("iam")
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="plexus", PolicyDocument=policy.stdout)
        self._key = iam.create_access_key(UserName=name)["AccessKey"]
        self.system = desk.system(self._key)
        self._aws = desk.aws

    def run(self, *words: str, seconds: float = 240) -> subprocess.CompletedProcess[str]:
        """Run a command as on AWS: with credentials in the environment, and the stack's name."""
        return subprocess.run(
            [PLEXUS, *words, "--stack", "desk"],
            env={
                "PATH": "/usr/bin:/bin",
                "AWS_ENDPOINT_URL": self._aws["endpoint_url"],
                "AWS_CA_BUNDLE": self._aws["ca_bundle"],
                "AWS_DEFAULT_REGION": self._aws["region"],
                "AWS_ACCESS_KEY_ID": self._key["AccessKeyId"],
                "AWS_SECRET_ACCESS_KEY": self._key["SecretAccessKey"],
            },
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def done(self, *words: str) -> Any:
        """Run a command to its good end; return what it prints as JSON."""
        run = self.run(*words, "--json")
        assert run.returncode == 0, run.stderr
        return json.loads(run.stdout)


# Instances --------------------------------------------------------------------------------------


def group_of_host_2(desk: Desk) -> str:
    """Return the name of host 2's Auto Scaling group."""
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
    """Return whether the status lists host 2's Dovecot."""
    try:
        return bool(desk.container("dovecot-2"))
    except StopIteration:
        return False
