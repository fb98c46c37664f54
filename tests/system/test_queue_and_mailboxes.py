"""`plexus queue` and `plexus mailbox` on the desk: real tasks beside the real Dovecot and Postfix."""

from __future__ import annotations

import json
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from postal_plexus.maintenance.hand_over import take
from postal_plexus.operations.system import System
from postal_plexus.operations.task import BusyError, RefusedError, Tasks
from system.desk import PLEXUS, Desk
from wire import await_true


def told(desk: Desk, command: str, *arguments: str) -> Any:
    """Return what a command says as a document."""
    run = desk.operate(command, "--json", *arguments)
    assert (0, "") == (run.returncode, run.stderr)
    return json.loads(run.stdout)


@pytest.fixture(scope="module")
def system(desk: Desk) -> System:
    """Provide the desk's stack."""
    return desk.system()


@pytest.fixture
def waiting(desk: Desk) -> Iterator[Callable[[str], str]]:
    """Submit a mail that SES puts off; give its queue id."""
    faults = desk.directory / "ses" / "faults.json"

    def submit(subject: str) -> str:
        mark = uuid.uuid4().hex
        desk.submit(desk.ann, f"{mark}@elsewhere.example", subject)

        def found() -> str | None:
            lines = [json.loads(line) for line in desk.postfix_queue().splitlines()]
            mine = (each for each in lines if mark in each["recipients"][0]["address"])
            return next(
                (each["queue_id"] for each in mine if each["queue_name"] == "deferred"), None
            )

        queue_id = await_true("a deferred mail", found)
        assert queue_id is not None
        return queue_id

    faults.write_text('{"greeting": "421 Too many concurrent SMTP connections"}')
    try:
        yield submit
    finally:
        faults.unlink(missing_ok=True)
        desk.engine("exec", desk.container("postfix"), "postsuper", "-d", "ALL")


def test_a_mail_that_waits_is_shown_held_released_and_dropped(
    desk: Desk, waiting: Callable[[str], str]
) -> None:
    """Each command affects only that message; a sender's text is printed safely."""
    first, other = waiting("=?utf-8?b?G1sybSBib2xkCnR3bw==?="), waiting("other")
    (mail,) = [each for each in told(desk, "queue list") if each["id"] == first]
    assert (desk.ann, "deferred") == (mail["sender"], mail["queue"])
    assert "Too many concurrent" in mail["recipients"][0]["reason"]
    shown = desk.operate("queue show", first).stdout
    assert "[2m bold" in shown
    assert "\x1b" not in shown
    assert "Hello from a desk" not in shown
    assert "hold" == told(desk, "queue hold", first)[0]["queue"]
    assert 65 == desk.operate("queue retry", first).returncode
    assert "deferred" == told(desk, "queue release", first)[0]["queue"]
    assert 64 == desk.operate("queue drop", first).returncode
    assert "dropped" in desk.operate("queue drop", first, "--yes").stdout
    left = [json.loads(line)["queue_id"] for line in desk.postfix_queue().splitlines()]
    assert [other] == left
    gone = desk.operate("queue drop", first, "--yes")
    assert (65, 1) == (gone.returncode, len(gone.stderr.splitlines()))


def test_a_retry_brings_the_mail_out(desk: Desk, waiting: Callable[[str], str]) -> None:
    """The message leaves at once, not after Postfix's minute of waiting."""
    queue_id = waiting("retried")
    (desk.directory / "ses" / "faults.json").unlink()
    assert [queue_id] == [each["id"] for each in told(desk, "queue retry", queue_id)]
    await_true("an empty queue", lambda: desk.postfix_queue() == "", timeout=20)


def test_mailboxes_and_their_sessions(desk: Desk) -> None:
    """Sizes, connected users, and ending a session."""
    mark = uuid.uuid4().hex
    desk.receive("world@elsewhere.example", [desk.ben], f"Subject: {mark}\r\n\r\nx\r\n".encode())
    with desk.mailbox(desk.ben) as mailbox:
        mailbox.await_mail("SUBJECT", mark)
        (ben,) = told(desk, "mailbox list", desk.ben)
        assert ben["mails"] >= 1
        assert ben["octets"] > 0
        # A login that was noted a moment ago by another protocol is not noted anew.
        assert ben["login"]["protocol"] in {"imap", "sieve", "submission"}
        assert ben["login"]["from"]
        (session,) = told(desk, "mailbox sessions", desk.ben)
        assert ("imap", True) == (session["protocol"], bool(session["from"]))
        (kicked,) = told(desk, "mailbox kick", desk.ben)
        assert kicked["sessions"] >= 1
    assert [] == told(desk, "mailbox sessions", desk.ben)
    assert {desk.ann, desk.ben} <= {
        each["address"] for each in told(desk, "mailbox quota", "--recalculate")
    }
    unknown = desk.operate("mailbox kick", "nobody@example.org")
    assert (67, "plexus: there is no mailbox nobody@example.org\n") == (
        unknown.returncode,
        unknown.stderr,
    )


def test_one_task_at_a_time(desk: Desk, system: System) -> None:
    """A second task is refused, with who runs what; the task refuses invalid arguments."""
    tasks, ecs = Tasks(system), desk.client("ecs")
    cluster, definition = desk.output("cluster"), desk.output("maintenance")["postfix"]
    # It lasts for a second; what follows takes less.
    ecs.run_task(
        cluster=cluster,
        taskDefinition=definition,
        startedBy="eva",
        overrides={
            "containerOverrides": [{"name": "maintenance-postfix", "command": ["sh", "-c"]}]
        },
    )
    with pytest.raises(BusyError, match="eva runs sh since 20"):
        tasks.run("postfix", ["queue-list"], print)
    await_true("the end", lambda: not tasks.running())
    with pytest.raises(RefusedError, match="mailbox-list") as refused:
        tasks.run("dovecot", ["mailbox-list", "ann@example.org;id"], print)
    assert 64 == refused.value.code


def test_control_c_stops_the_task(desk: Desk, system: System) -> None:
    """Control-C stops the task, says so, and nothing continues in the background."""
    ecs, cluster = desk.client("ecs"), desk.output("cluster")
    family = system.parts["maintenance"]["postfix"]

    def begun() -> list[str]:
        return ecs.list_tasks(cluster=cluster, family=family)["taskArns"]

    words = [PLEXUS, "queue", "list", "--desk", desk.directory]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as command:
        (running,) = await_true("the task", begun)
        command.send_signal(signal.SIGINT)
        _, said = command.communicate(timeout=90)
    assert 130 == command.returncode
    assert "is stopped" in said
    (task,) = ecs.describe_tasks(cluster=cluster, tasks=[running])["tasks"]
    assert ("STOPPED", "plexus: interrupted by the operator") == (
        task["lastStatus"],
        task["stoppedReason"],
    )


def test_a_secret_is_handed_over_once(desk: Desk, system: System) -> None:
    """A task reads the complete secret with a signed request, and it is deleted afterwards."""
    aws = desk.aws
    environment = {
        "AWS_REGION": aws["region"],
        "AWS_ENDPOINT_URL": aws["endpoint_url"],
        "AWS_CA_BUNDLE": aws["ca_bundle"],
        "AWS_ACCESS_KEY_ID": aws["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": aws["secret_access_key"],
        "PLEXUS_HAND_OVER": "/postal-plexus/desk/hand-over/",
    }
    secret = "pässword with\nlines & \x7f"
    ssm = desk.client("ssm")
    with Tasks(system).handed_over(secret) as name:
        assert secret == take(name, environment)
        left = ssm.get_parameters_by_path(Path="/postal-plexus/desk/hand-over")["Parameters"]
        assert [] == left
