"""What runs by the clock, started on the desk as EventBridge Scheduler starts it, by its own role.

The certificate task's own component is deployed; a schedule like it, due now, starts the task.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from service.desk.running import RunningDesk
from service.pulumi_engine.deployer import Deployer
from wire import await_true

PROGRAM = Path(__file__).parents[3] / "pulumi"
TASK = f"""
import sys
sys.path.insert(0, {str(PROGRAM)!r})
from deployment.certificates import Certificates, CertificatesArgs
from deployment.stack import Stack

provider = aws.Provider("aws", region="us-east-1",
                        default_tags={{"tags": {{"postal-plexus:stack": "clock"}}}})
account = aws.get_caller_identity_output(opts=pulumi.InvokeOutputOptions(provider=provider))
stack = Stack("clock", account.account_id, "us-east-1", provider)
cluster = aws.ecs.Cluster("clock", opts=Options(provider=provider))
certificates = Certificates("certificates", CertificatesArgs(
    stack=stack, image="localhost/postal-plexus/none:1",
    repository_arn="arn:aws:ecr:us-east-1:000000000000:repository/none",
    cluster_arn=cluster.arn, log_days=1,
    names=("mail.example.org",), zone_ids={{"example.org": "Z1"}}, name_servers={{}}), stack.options)
pulumi.export("cluster", cluster.arn)
pulumi.export("task_definition", certificates.task_definition.arn)
pulumi.export("missed", certificates.schedule.missed.url)
"""


@dataclass
class Clock:
    """The deployed schedule and its role."""

    desk: RunningDesk
    outputs: dict[str, Any]
    group: str
    schedule: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        scheduler = self.desk.client("scheduler")
        (name,) = [
            each["Name"]
            for each in scheduler.list_schedules(GroupName=self.group)["Schedules"]
            if each["GroupName"] == self.group
        ]
        self.schedule = scheduler.get_schedule(GroupName=self.group, Name=name)

    @property
    def role(self) -> str:
        """The name of the schedule's role."""
        return str(self.schedule["Target"]["RoleArn"]).rpartition("/")[2]

    def strike(self, name: str) -> None:
        """Have it started now, by a schedule with the same target that is due."""
        self.desk.client("scheduler").create_schedule(
            Name=name,
            GroupName=self.group,
            ScheduleExpression="at(2026-01-01T00:00:00)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target=self.schedule["Target"],
        )

    def started(self) -> list[str]:
        """Return the running tasks."""
        return self.desk.client("ecs").list_tasks(cluster=self.outputs["cluster"])["taskArns"]

    def missed(self) -> list[dict[str, str]]:
        """Return what is in the dead-letter queue, taken out of it: each message's attributes."""
        sqs = self.desk.client("sqs")
        found = sqs.receive_message(
            QueueUrl=self.outputs["missed"], MessageAttributeNames=["All"], MaxNumberOfMessages=10
        ).get("Messages", [])
        for each in found:
            sqs.delete_message(QueueUrl=self.outputs["missed"], ReceiptHandle=each["ReceiptHandle"])
        return [
            {name: value["StringValue"] for name, value in each["MessageAttributes"].items()}
            for each in found
        ]

    def without(self, sid: str) -> None:
        """Take one statement from the role's policy."""
        iam = self.desk.client("iam")
        (policy,) = iam.list_role_policies(RoleName=self.role)["PolicyNames"]
        document = iam.get_role_policy(RoleName=self.role, PolicyName=policy)["PolicyDocument"]
        kept = [each for each in document["Statement"] if each["Sid"] != sid]
        assert len(kept) == len(document["Statement"]) - 1
        iam.put_role_policy(
            RoleName=self.role,
            PolicyName=policy,
            PolicyDocument=json.dumps({**document, "Statement": kept}),
        )


@pytest.fixture(scope="module")
def clock(desk: RunningDesk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clock]:
    """Provide the deployed certificate task, whose schedule is due in an hour."""
    deployer = Deployer(desk, tmp_path_factory.mktemp("clock"))
    outputs = deployer.deploy(TASK).outputs
    group = deployer.recorded("aws:scheduler/scheduleGroup:ScheduleGroup", "plexus-clock-certbot")
    yield Clock(desk, dict(outputs), group["outputs"]["name"])
    deployer.deploy("")


def test_the_schedules_own_role_can_start_the_task(clock: Clock) -> None:
    """All that RunTask asks for is allowed, and nothing is put aside."""
    clock.strike("now")
    await_true("the task", lambda: bool(clock.started() or clock.missed()), timeout=20)
    (task,) = clock.started()
    clock.desk.client("ecs").stop_task(cluster=clock.outputs["cluster"], task=task)
    assert [] == clock.missed()


@pytest.mark.parametrize(
    ("sid", "action"),
    [("TagItAsItStarts", "ecs:TagResource"), ("GiveTheTaskItsRoles", "iam:PassRole")],
)
def test_a_right_that_is_missing_is_said(clock: Clock, sid: str, action: str) -> None:
    """Without the right to tag (as once) or to pass roles nothing starts, and the queue says why."""
    iam = clock.desk.client("iam")
    (policy,) = iam.list_role_policies(RoleName=clock.role)["PolicyNames"]
    whole = iam.get_role_policy(RoleName=clock.role, PolicyName=policy)["PolicyDocument"]
    clock.without(sid)
    try:
        clock.strike(f"without-{sid}")
        found: list[dict[str, str]] = []
        await_true("a dead letter", lambda: bool(found.extend(clock.missed()) or found), timeout=20)
        (missed,) = found
        assert "AccessDeniedException" == missed["ERROR_CODE"]
        assert f"is not authorized to perform: {action} on" in missed["ERROR_MESSAGE"]
        assert clock.outputs["cluster"] == missed["TARGET_ARN"]
        assert [] == clock.started()
    finally:
        iam.put_role_policy(
            RoleName=clock.role, PolicyName=policy, PolicyDocument=json.dumps(whole)
        )


def test_run_task_by_api_asks_for_the_same(clock: Clock) -> None:
    """The emulated IAM asks a caller for the right to tag only where tags are given."""
    iam = clock.desk.client("iam")
    iam.create_user(UserName="clock")
    (policy,) = iam.list_role_policies(RoleName=clock.role)["PolicyNames"]
    document = iam.get_role_policy(RoleName=clock.role, PolicyName=policy)["PolicyDocument"]
    kept = [each for each in document["Statement"] if each["Sid"] != "TagItAsItStarts"]
    iam.put_user_policy(
        UserName="clock",
        PolicyName="start",
        PolicyDocument=json.dumps({**document, "Statement": kept}),
    )
    key = iam.create_access_key(UserName="clock")["AccessKey"]
    ecs = clock.desk.client(
        "ecs",
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )
    call = {
        "cluster": clock.outputs["cluster"],
        "taskDefinition": clock.outputs["task_definition"],
        "launchType": "EC2",
    }
    with pytest.raises(ClientError, match="AccessDenied"):
        ecs.run_task(**call, propagateTags="TASK_DEFINITION")
    with pytest.raises(ClientError, match="AccessDenied"):
        ecs.run_task(**call, tags=[{"key": "a", "value": "b"}])
    (task,) = ecs.run_task(**call)["tasks"]
    clock.desk.client("ecs").stop_task(cluster=call["cluster"], task=task["taskArn"])
