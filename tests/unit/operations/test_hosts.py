"""A stack of several hosts, for operators' commands: each host is a system of its own."""
# ruff: noqa: ARG002, D106, N803, N818, SLF001  AWS's names

from __future__ import annotations

import json
from typing import Any

import pytest

from postal_plexus.cli.exits import Exit
from postal_plexus.cli.tasks import results_of_all
from postal_plexus.config.names import patterns_of_hosts
from postal_plexus.maintenance.codes import AGAIN
from postal_plexus.operations import task
from postal_plexus.operations.dead_letters import DeadLetters, UnknownLetterError
from postal_plexus.operations.queues import Queues
from postal_plexus.operations.system import Endpoint, OperationError, System
from postal_plexus.operations.task import NoHostError, RefusedError, Tasks

ENDPOINT = Endpoint("https://127.0.0.1:4566", "/ca.pem", "AKIA", "secret", ("127.0.0.1", 8993))


def parts(number: int) -> dict[str, Any]:
    """Return what a host has of its own."""
    end = "" if number == 1 else f"-{number}"
    return {
        "mail_host": f"mail{end}.example.org",
        "cluster": f"cluster{end}",
        "host_group": f"host{end}",
        "queue_url": f"https://sqs/1/mail{end}",
        "events_queue_url": f"https://sqs/1/events{end}",
        "dead_letter_queue_url": f"https://sqs/1/dead{end}",
        "services": {"dovecot": f"dovecot{end}"},
        "log_groups": {"dovecot": f"logs{end}"},
    }


STORED: dict[str, dict[str, Any]] = {
    "/postal-plexus/main/system": {
        **parts(1),
        "hosts": 3,
        "bucket": "archive",
        "maintenance": {"dovecot": "maintenance-dovecot", "postfix": "maintenance-postfix"},
        "log_groups": {"dovecot": "logs", "maintenance": "tasks"},
    },
    "/postal-plexus/main/system-2": parts(2),
    "/postal-plexus/main/system-3": parts(3),
}


class Sqs:
    """The queues: messages by URL."""

    def __init__(self, **dead: list[str]) -> None:
        self.dead = {f"https://sqs/1/{name.replace('_', '-')}": ids for name, ids in dead.items()}
        self.deleted: list[tuple[str, str]] = []
        self.freed: list[tuple[str, list[str]]] = []

    def receive_message(self, QueueUrl: str, **_: Any) -> dict[str, Any]:
        found = self.dead.get(QueueUrl, [])
        return {
            "Messages": [
                {
                    "MessageId": each,
                    "Body": "no message",
                    "ReceiptHandle": f"handle {each}",
                    "Attributes": {"SentTimestamp": "1000"},
                }
                for each in found
            ]
        }

    def change_message_visibility_batch(self, QueueUrl: str, Entries: list[dict[str, Any]]) -> None:
        self.freed.append((QueueUrl, [each["ReceiptHandle"] for each in Entries]))

    def delete_message(self, QueueUrl: str, ReceiptHandle: str) -> None:
        self.deleted.append((QueueUrl, ReceiptHandle))

    def get_queue_attributes(self, QueueUrl: str, **_: Any) -> dict[str, Any]:
        count = str(len(self.dead.get(QueueUrl, [])))
        return {"Attributes": {"ApproximateNumberOfMessages": count}}


class Ssm:
    """The parameters."""

    class exceptions:  # noqa: N801  as boto3 has them
        class ParameterNotFound(Exception):
            pass

    class meta:  # noqa: N801
        region_name = "us-east-1"

    def __init__(self, stored: dict[str, dict[str, Any]]) -> None:
        self.stored = stored

    def get_parameter(self, Name: str, WithDecryption: bool) -> dict[str, Any]:
        assert WithDecryption
        if Name not in self.stored:
            raise self.exceptions.ParameterNotFound
        return {"Parameter": {"Value": json.dumps(self.stored[Name])}}


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Provide the clients of AWS, by service."""
    made: dict[str, Any] = {"ssm": Ssm(STORED), "sqs": Sqs()}
    monkeypatch.setattr(System, "client", lambda _self, service: made.setdefault(service, object()))
    return made


@pytest.fixture
def stack(clients: dict[str, Any]) -> System:
    """Provide a stack of three hosts, on a desk."""
    assert clients
    return System("main", "us-east-1", endpoint=ENDPOINT)


def test_each_host_has_its_own_parts_and_the_stacks(stack: System) -> None:
    """By their numbers; every view knows all hosts."""
    assert [1, 2, 3] == [host.host for host in stack.hosts]
    third = stack.hosts[2]
    assert ("cluster-3", "archive") == (third.parts["cluster"], third.parts["bucket"])
    assert {"dovecot": "logs-3", "maintenance": "tasks"} == third.parts["log_groups"]
    assert stack.hosts[0] is third.hosts[0]
    assert (("127.0.0.1", 8993), ("127.0.0.3", 8993)) == (stack.imaps[:2], third.imaps[:2])
    assert [" (host 1)", " (host 3)"] == [stack.of_host, third.of_host]


def test_one_host_says_nothing_of_hosts(clients: dict[str, Any]) -> None:
    """As before."""
    clients["ssm"] = Ssm({"/postal-plexus/main/system": parts(1)})
    only = System("main")
    assert (1, "", 1) == (only.count, only.of_host, len(only.hosts))


def test_a_missing_parameter_is_named(clients: dict[str, Any]) -> None:
    """A deployment that has not come to the end."""
    clients["ssm"] = Ssm({name: each for name, each in STORED.items() if not name.endswith("3")})
    with pytest.raises(OperationError, match="no SSM parameter /postal-plexus/main/system-3"):
        _ = System("main").parts


def test_dead_letters_of_all_hosts_are_found(stack: System, clients: dict[str, Any]) -> None:
    """And each is dropped where it is; those not asked for are visible again in their queues."""
    sqs = clients["sqs"] = Sqs(dead=["a1", "b1"], dead_2=["c2"], dead_3=[])
    letters = DeadLetters(stack)
    assert {("a1", 1), ("b1", 1), ("c2", 2)} == {(each.id, each.host) for each in letters.read()}
    sqs.freed.clear()
    assert ["c2"] == [each.id for each in letters.drop(["c2"])]
    assert [("https://sqs/1/dead-2", "handle c2")] == sqs.deleted
    assert [("https://sqs/1/dead", ["handle a1", "handle b1"])] == sqs.freed
    with pytest.raises(UnknownLetterError):
        letters.drop(["c1"])


def test_queues_say_which_host_they_are_of(stack: System, clients: dict[str, Any]) -> None:
    """And the dead letters are counted over all of them."""
    clients["sqs"] = Sqs(dead=["a1", "b1"], dead_2=["c2"])
    queues = Queues(stack)
    names = [each.name for each in queues.states(with_age=False)]
    assert 9 == len(names)
    assert {"incoming mail (host 1)", "dead letters (host 3)"} <= set(names)
    assert ("dead letters", 3) == (queues.dead_letters().name, queues.dead_letters().waiting)


class Fake(Tasks):
    """Tasks that end as told: per host, where they say that the mailbox lives."""

    homes: dict[int, int]
    gone: tuple[int, ...] = ()

    def _run(self, image: str, words: Any, tell: Any, memory: Any) -> None:
        here = self.host.host
        if here in self.gone:
            raise NoHostError("there is no host in the cluster now")
        home = self.homes[here]
        if home != here:
            raise task._Elsewhere(home)
        tell({"kind": "done", "at": here})


def test_a_task_goes_where_the_mailbox_lives(stack: System) -> None:
    """The next one begins there."""
    tasks = Fake(stack)
    tasks.homes = {1: 3, 2: 2, 3: 3}
    said: list[dict[str, Any]] = []
    tasks.run("dovecot", ["export"], said.append)
    tasks.homes = {3: 3}
    tasks.run("dovecot", ["export"], said.append)
    assert [3, 3] == [each["at"] for each in said]
    assert [1, 2, 3] == [each.host.host for each in tasks.on_each_host()]
    assert 2 == tasks.on_host(2).host.host


def test_hosts_that_name_each_other_end_it(stack: System) -> None:
    """Two hosts with different versions of the directory."""
    tasks = Fake(stack)
    tasks.homes = {1: 2, 2: 1}
    with pytest.raises(RefusedError, match="moves between hosts") as told:
        tasks.run("dovecot", ["export"], print)
    assert AGAIN == told.value.code


def test_any_host_says_where_a_mailbox_lives(stack: System) -> None:
    """While host 1 is away, and host 2 too."""
    tasks = Fake(stack)
    tasks.homes, tasks.gone = {3: 3}, (1, 2)
    said: list[dict[str, Any]] = []
    tasks.run("dovecot", ["export"], said.append)
    assert [3] == [each["at"] for each in said]


@pytest.mark.parametrize(("homes", "gone", "named"), [({1: 2}, (2,), 2), ({}, (1, 2, 3), 3)])
def test_a_home_that_is_away_is_named(
    stack: System, homes: dict[int, int], gone: tuple[int, ...], named: int
) -> None:
    """No other host may work on its mailbox."""
    tasks = Fake(stack)
    tasks.homes, tasks.gone = homes, gone
    with pytest.raises(NoHostError, match=f"^host {named}: there is no host"):
        tasks.run("dovecot", ["export"], print)


def test_what_is_asked_of_one_host_is_asked_of_no_other(
    stack: System, clients: dict[str, Any]
) -> None:
    """Such as a list of each host's mailboxes."""
    assert clients
    for tasks in (*Fake(stack).on_each_host(), Fake(stack).on_host(1)):
        asked: list[int] = []

        def run(*_: Any, tasks: Tasks = tasks, asked: list[int] = asked) -> None:
            asked.append(tasks.host.host)
            raise NoHostError("there is no host in the cluster now")

        tasks._run = run  # type: ignore[method-assign]
        with pytest.raises(NoHostError):
            tasks.run("dovecot", ["mailbox-list"], print)
        assert 1 == len(asked)


def test_each_host_that_does_not_answer_is_named(
    stack: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And none hides what the others say."""

    def run(self: Tasks, _image: str, _words: Any, tell: Any) -> None:
        if self.host.host != 2:
            raise NoHostError("the task was not started: there is no host")
        tell({"kind": "mailbox", "address": "ben@example.org"})

    monkeypatch.setattr(Tasks, "run", run)
    found, failed = results_of_all(Tasks(stack), "dovecot", ["mailbox-list"])
    assert [("ben@example.org", 2)] == [(each["address"], each["host"]) for each in found]
    assert failed is not None
    assert (Exit.UNAVAILABLE, 2) == (failed.code, len(failed.lines))
    assert [f"plexus: host {n}: the task was not started" for n in (1, 3)] == [
        line.rpartition(": ")[0] for line in failed.lines
    ]


def test_a_policys_patterns_are_as_many_for_any_number_of_hosts() -> None:
    """IAM limits a policy's size. With one host, or another stack's names, nothing is a pattern."""
    arn = "arn:aws:ecs:us-east-1:1:service/plexus-a-2-cluster{0}-1a2b3c4/plexus-a-2-dovecot{0}-5d6e7f8"
    ends = ["", *(f"-{number}" for number in range(2, 17))]
    (pattern,) = patterns_of_hosts("a-2", [arn.format(each) for each in ends])
    assert "arn:aws:ecs:us-east-1:1:service/plexus-a-2-cluster-*/plexus-a-2-dovecot-*" == pattern
    for names in (["plexus-a-mail-1234567"], ["plexus-a-mail-1234567", "plexus-a-2-mail-1234567"]):
        assert sorted(names) == patterns_of_hosts("a", names)
    role = "role/plexus-a-deliver{0}-task-1234567"
    assert [role.format("-*").replace("1234567", "?" * 7), role.format("")] == patterns_of_hosts(
        "a", [role.format(each) for each in ends]
    )
