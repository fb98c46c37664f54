"""IAM users with exactly the policies of operators and of the weekly doctor, on the desk."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from postal_plexus.config.operator_policy import examination
from postal_plexus.operations.dead_letters import DeadLetters
from postal_plexus.operations.examination import Examination
from postal_plexus.operations.mail_search import MailSearch
from postal_plexus.operations.system import AccessError, System
from postal_plexus.operations.task import Tasks
from service.container_engine import ROOT
from system.desk import Desk
from system.test_doctor import alarm_address

sys.path.insert(0, str(ROOT / "pulumi"))
from deployment import build_documents, doctor, source


@pytest.fixture(scope="module")
def as_user(desk: Desk) -> Callable[..., System]:
    """Return the desk's stack for a new user with one policy."""

    def made(name: str, *options: str) -> System:
        run = desk.operate("operator-policy", *options)
        assert (0, "") == (run.returncode, run.stderr)
        return user(desk, name, run.stdout)

    return made


def user(desk: Desk, name: str, policy: str) -> System:
    """Return the desk's stack for a new user with this policy."""
    iam = desk.client("iam")
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="plexus", PolicyDocument=policy)
    return desk.system(iam.create_access_key(UserName=name)["AccessKey"])


def assert_forbidden(system: System, *calls: tuple[str, str, dict[str, object]]) -> None:
    """Assert that each of these calls is refused."""
    for client, action, arguments in calls:
        with pytest.raises(ClientError, match=r"AccessDenied|not authorized"):
            getattr(system.client(client), action)(**arguments)


def test_an_operator_may_operate_and_not_read_mail(
    desk: Desk, as_user: Callable[..., System]
) -> None:
    """doctor, dead letters, queue and mailboxes work; mail, passwords and services are out of reach."""
    system = as_user("operator")
    refused = [each for each in Examination(system, ()).run() if "AWS refuses" in each.what]
    assert [] == refused
    DeadLetters(system).read()
    now = datetime.now(UTC)
    assert MailSearch(system, now - timedelta(hours=1), now).find(desk.ann).without_archive
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
    assert_forbidden(
        system,
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


def test_who_only_looks_cannot_act(desk: Desk, as_user: Callable[..., System]) -> None:
    """A read-only operator cannot act, and one line names the missing permission."""
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


def test_the_weekly_doctor_looks_mails_and_cannot_act(desk: Desk, tmp_path: Path) -> None:
    """The commands of its build run from its stored source, with the permissions of its role.

    Not here: CodeBuild's machine, and pip (tests/pulumi has that boto3 is all that is needed).
    """
    account = desk.client("sts").get_caller_identity()["Account"]
    statements = examination("desk", account, desk.system().parts)
    archive = f"arn:aws:s3:::{desk.output('bucket')}/{source.DOCTOR.key}"
    policy = build_documents.examination("arn:aws:logs:::log-group:doctor", archive, statements)
    system = user(desk, "doctor", policy)
    assert system.endpoint is not None
    with zipfile.ZipFile(source.pack(source.DOCTOR)[0]) as packed:
        packed.extractall(tmp_path)
    with alarm_address(desk) as mail:
        run = subprocess.run(
            [
                "sh",
                "-e",
                "-c",
                "\n".join(json.loads(doctor.spec("desk"))["phases"]["build"]["commands"]),
            ],
            cwd=tmp_path,
            env={
                "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
                "AWS_ENDPOINT_URL": system.endpoint.url,
                "AWS_CA_BUNDLE": system.endpoint.ca_file,
                "AWS_DEFAULT_REGION": str(system.region),
                "AWS_ACCESS_KEY_ID": system.endpoint.key_id,
                "AWS_SECRET_ACCESS_KEY": system.endpoint.secret,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert (0, "") == (run.returncode, run.stderr)
        assert "ok service deliver" in run.stdout
        assert "AWS refuses" not in run.stdout
        mailed = mail()
    assert "plexus doctor, stack desk" in mailed["Subject"]
    assert "! alarm address: " in mailed["Message"]
    service = {"cluster": desk.output("cluster"), "service": desk.output("services")["dovecot"]}
    assert_forbidden(
        system,
        ("s3", "get_object", {"Bucket": desk.output("bucket"), "Key": "directory/directory.json"}),
        ("sqs", "receive_message", {"QueueUrl": desk.output("dead_letter_queue_url")}),
        ("ecs", "update_service", {**service, "desiredCount": 0}),
        ("ecs", "list_tasks", {"cluster": desk.output("cluster")}),
        ("sns", "publish", {"TopicArn": desk.output("topic_arn"), "Message": "x"}),
        ("iam", "list_users", {}),
    )
