"""The ECS agent with a real engine: containers from registered task definitions, in a small image."""

from __future__ import annotations

import json
import ssl
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from awsdesk import settings
from awsdesk.ecs import engine as engines
from awsdesk.ecs.reconciler import GIVE_UP_STARTS
from awsdesk.ecs.run_command import Kind
from service.desk.running import RunningDesk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from awsdesk.ecs.engine import Engine

BASE = "docker.io/library/debian:trixie-slim"
TRUST = {
    "Effect": "Allow",
    "Principal": {"Service": "ecs-tasks.amazonaws.com"},
    "Action": "sts:AssumeRole",
    "Condition": {"StringEquals": {"aws:SourceAccount": "111122223333"}},
}

pytestmark = pytest.mark.timeout(240)


def call(engine: Engine, *arguments: str) -> str:
    """Run a command of the engine."""
    done = subprocess.run(
        [engine.program, *arguments],
        env=dict(engine.environment),
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout


def until(what: str, condition: Callable[[], Any], seconds: float = 40) -> Any:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(f"never: {what}")


class Cluster:
    """A desk with a network, and services of one container each."""

    def __init__(self, desk: RunningDesk, engine: Engine) -> None:
        self.desk = desk
        self.engine = engine
        self.ecs = desk.client("ecs")
        self.iam = desk.client("iam")
        self.ecs.create_cluster(clusterName="c")

    def role(self, name: str, *statements: dict[str, Any]) -> str:
        """Make a role for tasks."""
        document = {"Version": "2012-10-17", "Statement": TRUST}
        arn = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(document))
        if statements:
            self.iam.put_role_policy(
                RoleName=name,
                PolicyName="p",
                PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": list(statements)}),
            )
        return arn["Role"]["Arn"]

    def register(self, name: str, script: str, **more: Any) -> str:
        """Register a task definition that runs a shell script."""
        task = {key: more.pop(key) for key in ("taskRoleArn", "executionRoleArn") if key in more}
        volumes = more.pop("volumes", [])
        container = {
            "name": name,
            "image": BASE,
            "memory": 32,
            "command": ["/bin/sh", "-c", script],
            "stopTimeout": 2,
            **more,
        }
        answer = self.ecs.register_task_definition(
            family=name,
            networkMode="bridge",
            containerDefinitions=[container],
            volumes=volumes,
            **task,
        )
        return answer["taskDefinition"]["taskDefinitionArn"]

    def serve(self, name: str, script: str, **more: Any) -> None:
        """Make a service of a script."""
        arn = self.register(name, script, **more)
        self.ecs.create_service(cluster="c", serviceName=name, taskDefinition=arn, desiredCount=1)

    def state(self, name: str) -> dict[str, Any]:
        """Give what the daemon says of a container."""
        return next((t for t in self.desk.health()["tasks"] if t["task"] == name), {})

    def running(self, name: str) -> bool:
        """Tell whether it runs and is well."""
        state = self.state(name)
        return bool(state.get("running")) and state["health"] in {"HEALTHY", "UNKNOWN"}

    def container(self, name: str) -> str:
        """Give the container's name."""
        return f"{self.desk.layout.name}-{name}"

    def inspect(self, name: str) -> dict[str, Any]:
        """Give what the engine says of a container."""
        return json.loads(call(self.engine, "container", "inspect", self.container(name)))[0]

    def identity(self, name: str) -> str:
        """Give a running container's id; nothing while one is being replaced by the next."""
        filters = ("--filter", f"name=^{self.container(name)}$", "--no-trunc")
        return call(self.engine, "ps", *filters, "--format", "{{.ID}}").strip()

    def log(self, name: str) -> str:
        """Give what a container printed."""
        path = self.desk.layout.logs / f"{name}.log"
        return path.read_text() if path.exists() else ""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Provide a running desk with a containers' network."""
    engine = engines.find()
    if not call(engine, "image", "ls", "--quiet", BASE).strip():
        pytest.fail(f"{BASE} is not here; run `make images`")
    desk = RunningDesk.in_directory(tmp_path_factory.mktemp("agent"))
    call(engine, "network", "create", desk.layout.name)
    subnet = json.loads(call(engine, "network", "inspect", desk.layout.name))[0]
    subnet = (subnet.get("subnets") or subnet["IPAM"]["Config"])[0]
    network = replace(
        desk.settings.network,
        subnet=subnet.get("subnet") or subnet["Subnet"],
        gateway=subnet.get("gateway") or subnet["Gateway"],
    )
    desk.settings = replace(desk.settings, network=network)
    settings.save(desk.layout.settings, desk.settings)
    desk.start()
    yield Cluster(desk, engine)
    if desk.process is not None:
        desk.stop()
    left = call(engine, "ps", "-aq", "--filter", f"label=plexus.desk={desk.layout.name}").split()
    for one in left:
        call(engine, "rm", "--force", one)
    call(engine, "network", "rm", desk.layout.name)
    assert [] == left


def test_a_service_runs_as_its_definition_says(cluster: Cluster) -> None:
    """Environment, secret, user, memory, read-only root, tmpfs, mounts with their owners."""
    host = cluster.desk.layout.host_path("/var/lib/plexus/x")
    host.mkdir(parents=True)
    host.chmod(0o777)
    efs = cluster.desk.client("efs")
    file_system = efs.create_file_system(CreationToken="t")["FileSystemId"]
    point = efs.create_access_point(
        ClientToken="p",
        FileSystemId=file_system,
        RootDirectory={
            "Path": "/mail",
            "CreationInfo": {"OwnerUid": 5000, "OwnerGid": 5000, "Permissions": "0750"},
        },
    )["AccessPointId"]
    cluster.desk.client("ssm").put_parameter(Name="/p/s", Value="s3cr3t #1", Type="SecureString")
    arn = "arn:aws:ssm:us-east-1:111122223333:parameter/p/s"
    execution = cluster.role(
        "reader", {"Effect": "Allow", "Action": "ssm:GetParameters", "Resource": arn}
    )
    cluster.serve(
        "full",
        "env > /x/env; id > /x/id; touch /no 2> /x/readonly; touch /t/yes && echo ok > /x/tmpfs;"
        " stat -c '%u:%g %a' /srv/mail > /x/efs; cat /etc/hosts > /x/hosts; exec sleep 1000",
        executionRoleArn=execution,
        environment=[
            {"name": "PLAIN", "value": "a b"},
            {"name": "SES_SMTP_ENDPOINT", "value": "email-smtp.us-east-1.amazonaws.com:587"},
        ],
        secrets=[{"name": "SECRET", "valueFrom": arn}],
        user="5001:5003",
        readonlyRootFilesystem=True,
        linuxParameters={
            "tmpfs": [{"containerPath": "/t", "size": 1}],
            "capabilities": {"drop": ["ALL"], "add": []},
        },
        mountPoints=[
            {"sourceVolume": "x", "containerPath": "/x"},
            {"sourceVolume": "mail", "containerPath": "/srv/mail", "readOnly": True},
        ],
        volumes=[
            {"name": "x", "host": {"sourcePath": "/var/lib/plexus/x"}},
            {
                "name": "mail",
                "efsVolumeConfiguration": {
                    "fileSystemId": file_system,
                    "authorizationConfig": {"accessPointId": point},
                },
            },
        ],
    )
    until("runs", lambda: cluster.running("full"))
    until("wrote", (host / "hosts").exists)
    environment = dict(line.partition("=")[::2] for line in (host / "env").read_text().splitlines())
    desk = cluster.desk.settings
    assert ("a b", "s3cr3t #1") == (environment["PLAIN"], environment["SECRET"])
    assert f"https://{desk.network.gateway}:{desk.ports.aws_tls}" == environment["AWS_ENDPOINT_URL"]
    assert environment["SES_SMTP_ENDPOINT"].endswith(f"amazonaws.com:{desk.ports.ses_smtp}")
    assert (host / "id").read_text().startswith("uid=5001(5001) gid=5003(5003) ")
    assert "Read-only file system" in (host / "readonly").read_text()
    assert "ok\n" == (host / "tmpfs").read_text()
    assert "5000:5000 750\n" == (host / "efs").read_text()
    assert f"{desk.network.gateway}" in (host / "hosts").read_text()
    assert 32 * 1024 * 1024 == cluster.inspect("full")["HostConfig"]["Memory"]
    assert not list(cluster.desk.layout.tasks.glob("*.env"))


def test_a_dead_container_is_started_again(cluster: Cluster) -> None:
    """And ECS knows how many run."""
    cluster.serve("mortal", "echo born; exec sleep 1000")
    until("runs", lambda: cluster.running("mortal"))
    first = cluster.identity("mortal")
    call(cluster.engine, "kill", cluster.container("mortal"))
    until("is gone", lambda: not cluster.running("mortal"), 10)
    until("runs again", lambda: cluster.running("mortal"))
    assert first != cluster.identity("mortal")
    (service,) = cluster.ecs.describe_services(cluster="c", services=["mortal"])["services"]
    assert (1, 0) == (service["runningCount"], service["pendingCount"])
    assert "born" in cluster.log("mortal")


def test_a_port_forward_that_podman_left_behind_goes(cluster: Cluster) -> None:
    """Else a new container on that port could not be reached: the first rule wins."""
    if cluster.engine.kind is not Kind.PODMAN:
        pytest.skip("Docker keeps its own rules")
    chain = "NETAVARK-HOSTPORT-DNAT"
    owner = uuid.uuid4().hex * 2
    comment = ("-m", "comment", "--comment", f"dnat name: gone id: {owner}")

    def iptables(*arguments: str, check: bool = True) -> str:
        command = ["iptables", "--wait", "--table", "nat", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=check).stdout

    iptables("--new-chain", chain, check=False)  # podman's own, if it ever published a port
    iptables("--append", chain, "-p", "tcp", "--dport", "9", *comment, "-j", "RETURN")
    cluster.serve("forwarded", "exec sleep 1000")
    until("runs", lambda: cluster.running("forwarded"))
    assert owner not in iptables("--list-rules", chain)
    cluster.ecs.delete_service(cluster="c", service="forwarded", force=True)


def test_a_new_task_definition_replaces_the_container(cluster: Cluster) -> None:
    """Stop, then start; a service that is deleted leaves nothing."""
    cluster.serve("changing", "echo one; exec sleep 1000")
    until("runs", lambda: cluster.running("changing"))
    arn = cluster.register("changing", "echo two; exec sleep 1000")
    cluster.ecs.update_service(cluster="c", service="changing", taskDefinition=arn)
    until("new", lambda: "two" in cluster.log("changing"))
    until("runs", lambda: cluster.running("changing"))
    before = cluster.identity("changing")
    cluster.ecs.update_service(cluster="c", service="changing", forceNewDeployment=True)
    until("forced", lambda: cluster.identity("changing") not in {"", before})
    cluster.ecs.delete_service(cluster="c", service="changing", force=True)
    name = cluster.container("changing")
    until("gone", lambda: name not in call(cluster.engine, "ps", "-a", "--format", "{{.Names}}"))


def test_an_unhealthy_container_is_replaced(cluster: Cluster) -> None:
    """The health check decides: healthy first, then not, then a new container."""
    cluster.serve(
        "sick",
        "touch /tmp/well; exec sleep 1000",
        healthCheck={
            "command": ["CMD-SHELL", "test -e /tmp/well"],
            "interval": 5,
            "retries": 1,
            "startPeriod": 5,
        },
    )
    until("healthy", lambda: cluster.state("sick").get("health") == "HEALTHY")
    first = cluster.identity("sick")
    call(cluster.engine, "exec", cluster.container("sick"), "rm", "/tmp/well")
    until(
        "replaced",
        lambda: cluster.identity("sick") not in {"", first},
    )
    assert "agent.unhealthy" in cluster.desk.log()


def test_a_task_has_its_own_roles_credentials_and_no_others(cluster: Cluster) -> None:
    """Fetched over TLS with its token; they work, and only for what the role may do."""
    queue = cluster.desk.client("sqs").create_queue(QueueName="q")["QueueUrl"]
    role = cluster.role(
        "task", {"Effect": "Allow", "Action": "sqs:ReceiveMessage", "Resource": "*"}
    )
    cluster.serve("holder", "exec sleep 1000", taskRoleArn=role)
    until("runs", lambda: cluster.running("holder"))
    told = dict(one.partition("=")[::2] for one in cluster.inspect("holder")["Config"]["Env"])
    url = told["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
    token = told["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
    trust = ssl.create_default_context(cafile=cluster.desk.layout.ca_file)

    def fetch(with_token: str) -> tuple[int, dict[str, Any]]:
        request = urllib.request.Request(url, headers={"Authorization": with_token})
        try:
            with urllib.request.urlopen(request, context=trust, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            return refused.code, json.load(refused)

    assert 403 == fetch("wrong")[0]
    code, found = fetch(token)
    assert (200, role) == (code, found["RoleArn"])
    sqs = boto3.client(
        "sqs",
        endpoint_url=cluster.desk.settings.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=found["AccessKeyId"],
        aws_secret_access_key=found["SecretAccessKey"],
        aws_session_token=found["Token"],
    )
    assert "Messages" not in sqs.receive_message(QueueUrl=queue)
    with pytest.raises(sqs.exceptions.ClientError):
        sqs.send_message(QueueUrl=queue, MessageBody="x")


def test_what_cannot_start_says_why(cluster: Cluster) -> None:
    """A missing image, a role that may not read a secret, an unknown setting."""
    cluster.serve("imageless", "true", image="localhost/none:1")
    execution = cluster.role("blind")
    secret = {"name": "S", "valueFrom": "arn:aws:ssm:us-east-1:111122223333:parameter/p/s"}
    cluster.serve("blind", "true", executionRoleArn=execution, secrets=[secret])
    cluster.serve("odd", "true", privileged=True)
    for name, words in (
        ("imageless", "run `make images`"),
        ("blind", "is not authorized to perform ssm:GetParameters"),
        ("odd", "privileged"),
    ):
        until(name, lambda n=name, w=words: w in str(cluster.state(n).get("reason")))
        # It is not to be waited for: `up` ends with the reason.
        until(name, lambda n=name: cluster.state(n)["failed_starts"] >= GIVE_UP_STARTS)
    for name in ("imageless", "blind", "odd"):
        cluster.ecs.delete_service(cluster="c", service=name, force=True)


def test_a_single_task_runs_once(cluster: Cluster) -> None:
    """RunTask: it ends, and ECS has its exit code."""
    arn = cluster.register("job", "echo done; exit 7")
    task = cluster.ecs.run_task(cluster="c", taskDefinition=arn)["tasks"][0]["taskArn"]

    def stopped() -> Any:
        (found,) = cluster.ecs.describe_tasks(cluster="c", tasks=[task])["tasks"]
        return found if found["lastStatus"] == "STOPPED" else None

    found = until("stopped", stopped)
    assert 7 == found["containers"][0]["exitCode"]


def run_once(cluster: Cluster, name: str, script: str, **more: Any) -> str:
    """Start a task whose output goes to a log group of its name; give its ARN."""
    logs = cluster.desk.client("logs")
    logs.create_log_group(logGroupName=name)
    role = cluster.role(
        f"{name}-log",
        {
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": f"arn:aws:logs:us-east-1:111122223333:log-group:{name}:*",
        },
    )
    arn = cluster.register(
        name,
        script,
        executionRoleArn=role,
        logConfiguration={
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": more.pop("group", name),
                "awslogs-region": "us-east-1",
                "awslogs-stream-prefix": "p",
            },
        },
        **more,
    )
    return cluster.ecs.run_task(cluster="c", taskDefinition=arn)["tasks"][0]["taskArn"]


def ended(cluster: Cluster, task: str) -> dict[str, Any]:
    """Wait until a task is stopped; give it as ECS describes it."""

    def stopped() -> Any:
        (found,) = cluster.ecs.describe_tasks(cluster="c", tasks=[task])["tasks"]
        return found if found["lastStatus"] == "STOPPED" else None

    return until("stopped", stopped)


def test_what_a_container_prints_is_in_its_log_group(cluster: Cluster) -> None:
    """All output is in the stream that ECS names, in order, before the task is STOPPED."""
    script = (
        "i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done;"
        " head -c 20000 /dev/zero | tr '\\0' x; echo; printf 'no end'; exit 3"
    )
    task = run_once(cluster, "talker", script)
    assert 3 == ended(cluster, task)["containers"][0]["exitCode"]
    logs, stream = cluster.desk.client("logs"), f"p/talker/{task.rpartition('/')[2]}"
    found = logs.get_log_events(logGroupName="talker", logStreamName=stream, startFromHead=True)
    lines = [event["message"] for event in found["events"]]
    assert [*(f"line {number}" for number in range(500)), "x" * 20000, "no end"] == lines
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName="talker", filterPattern='"line 4"', PaginationConfig={"PageSize": 7}
    )
    filtered = [event["message"] for page in pages for event in page["events"]]
    assert [line for line in lines if "line 4" in line] == filtered


def test_a_log_group_that_the_role_may_not_write_keeps_the_task_from_starting(
    cluster: Cluster,
) -> None:
    """As the log driver does: ECS says why, once, and there is no second try."""
    found = ended(cluster, run_once(cluster, "mute", "echo x", group="talker"))
    assert "TaskFailedToStart" == found["stopCode"]
    assert "logs:CreateLogStream" in found["stoppedReason"]


def test_a_task_that_is_stopped_ends_by_its_own_code(cluster: Cluster) -> None:
    """The task is STOPPED only after its program has ended and its output is logged."""
    script = "trap 'echo bye; exit 9' TERM; echo hello; while :; do sleep 0.1; done"
    task = run_once(cluster, "patient", script)
    logs, stream = cluster.desk.client("logs"), f"p/patient/{task.rpartition('/')[2]}"

    def lines() -> list[str]:
        try:
            found = logs.get_log_events(logGroupName="patient", logStreamName=stream)
        except logs.exceptions.ResourceNotFoundException:
            return []
        return [event["message"] for event in found["events"]]

    until("speaks", lambda: lines() == ["hello"])
    cluster.ecs.stop_task(cluster="c", task=task, reason="enough")
    found = ended(cluster, task)
    assert (9, "enough", "UserInitiated") == (
        found["containers"][0]["exitCode"],
        found["stoppedReason"],
        found["stopCode"],
    )
    assert ["hello", "bye"] == lines()


def test_a_killed_daemon_finds_its_containers_again(cluster: Cluster) -> None:
    """The container goes on, and its credentials still come; what runs once is not run again."""
    host = cluster.desk.layout.host_path("/var/lib/plexus/x")
    once = run_once(
        cluster,
        "once",
        "echo x >> /x/once; exec sleep 1000",
        mountPoints=[{"sourceVolume": "x", "containerPath": "/x"}],
        volumes=[{"name": "x", "host": {"sourcePath": "/var/lib/plexus/x"}}],
    )
    until("began", (host / "once").exists)
    until("runs", lambda: cluster.running("holder"))
    time.sleep(3)
    before = cluster.inspect("holder")["Id"]
    cluster.desk.kill()
    call(
        cluster.engine,
        "rm",
        "--force",
        f"{cluster.container('once')}-{once.rpartition('/')[2][:8]}",
    )
    cluster.desk.start()
    until("kept", lambda: cluster.running("holder"))
    assert before == cluster.inspect("holder")["Id"]
    cluster.ecs = cluster.desk.client("ecs")
    ended(cluster, once)
    assert "x\n" == (host / "once").read_text()
