"""An IAM user with exactly the policy that `plexus operator-policy` prints, on the desk."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from botocore.exceptions import ClientError

from postal_plexus.operations.dead_letters import DeadLetters
from postal_plexus.operations.examination import Examination
from postal_plexus.operations.system import AccessError, System
from postal_plexus.operations.task import Tasks
from system.desk import Desk


@pytest.fixture(scope="module")
def as_user(desk: Desk) -> Callable[..., System]:
    """The desk's stack for a new user who has one policy."""

    def made(name: str, *options: str) -> System:
        iam = desk.client("iam")
        run = desk.operate("operator-policy", *options)
        assert (0, "") == (run.returncode, run.stderr)
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="plexus", PolicyDocument=run.stdout)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return desk.system(key)

    return made


def test_an_operator_may_operate_and_not_read_mail(
    desk: Desk, as_user: Callable[..., System]
) -> None:
    """doctor, dead letters, queue and mailboxes work; mail, passwords and services are out of reach."""
    system = as_user("operator")
    refused = [each for each in Examination(system, ()).run() if "AWS refuses" in each.what]
    assert [] == refused
    DeadLetters(system).read()
    lines: list[dict[str, object]] = []
    tasks = Tasks(system)
    tasks.run("postfix", ["queue-list"], lines.append)
    tasks.run("dovecot", ["mailbox-list"], lines.append)
    assert {desk.ann, desk.ben} <= {line.get("address") for line in lines}
    with tasks.handed_over("secret") as name:
        assert name
    bucket = desk.output("bucket")
    desk.client("s3").put_object(Bucket=bucket, Key="inbound/operators", Body=b"x")
    service = desk.output("services")["dovecot"]
    forbidden = (
        ("s3", "get_object", {"Bucket": bucket, "Key": "inbound/operators"}),
        ("s3", "get_object", {"Bucket": bucket, "Key": "directory/directory.json"}),
        ("ssm", "get_parameter", {"Name": "/postal-plexus/desk/ses-smtp-password"}),
        (
            "ecs",
            "update_service",
            {"cluster": desk.output("cluster"), "service": service, "desiredCount": 0},
        ),
        (
            "ecs",
            "run_task",
            {
                "cluster": desk.output("cluster"),
                "taskDefinition": desk.output("task_definitions")["dovecot"],
            },
        ),
        ("sqs", "receive_message", {"QueueUrl": desk.output("queue_url")}),
        ("iam", "list_users", {}),
    )
    for client, action, arguments in forbidden:
        with pytest.raises(ClientError, match=r"AccessDenied|not authorized"):
            getattr(system.client(client), action)(**arguments)


def test_who_only_looks_cannot_act(desk: Desk, as_user: Callable[..., System]) -> None:
    """And is told in one line what is missing."""
    system = as_user("looker", "--read-only")
    assert [] == [each for each in Examination(system, ()).run() if "AWS refuses" in each.what]
    DeadLetters(system).read()
    with pytest.raises(AccessError, match="ECS ListTasks"):
        Tasks(system).run("postfix", ["queue-list"], print)
    assert "inbound/*" not in desk.operate("operator-policy").stdout
    assert "inbound/*" in desk.operate("operator-policy", "--mail").stdout
    # A stack of before has no tasks yet: said in one line.
    older = replace(system)
    older.__dict__["parts"] = {k: v for k, v in system.parts.items() if k != "maintenance"}
    with pytest.raises(Exception, match="run `pulumi up` once"):
        Tasks(older)
    json.loads(desk.operate("operator-policy").stdout)
