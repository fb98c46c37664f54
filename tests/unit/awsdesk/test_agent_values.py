"""The agent's pure parts: task definitions as values, and as an engine's command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from awsdesk.ecs.definition import (
    ContainerSpec,
    DefinitionError,
    HealthCheck,
    LogTarget,
    Mount,
    PortMapping,
    Tmpfs,
    read,
)
from awsdesk.ecs.run_command import Bind, Kind, Placement, Published, run_arguments


def definition(**container: Any) -> dict[str, Any]:
    """Give a task definition of one container, as ECS stores it."""
    return {
        "networkMode": "bridge",
        "taskRoleArn": "arn:task",
        "executionRoleArn": "arn:execution",
        "volumes": [
            {"name": "tls", "host": {"sourcePath": "/var/lib/plexus/tls"}},
            {
                "name": "mail",
                "efsVolumeConfiguration": {
                    "fileSystemId": "fs-1",
                    "authorizationConfig": {"accessPointId": "fsap-1", "iam": "ENABLED"},
                },
            },
        ],
        "containerDefinitions": [{"name": "c", "image": "i:1", **container}],
    }


FULL = {
    "memory": 96,
    "memoryReservation": 48,
    "cpu": 128,
    "environment": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}],
    "secrets": [{"name": "S", "valueFrom": "arn:aws:ssm:us-east-1:1:parameter/s"}],
    "mountPoints": [
        {"sourceVolume": "tls", "containerPath": "/etc/tls", "readOnly": True},
        {"sourceVolume": "mail", "containerPath": "/srv/mail"},
    ],
    "portMappings": [{"containerPort": 993, "hostPort": 993}],
    "healthCheck": {"command": ["CMD-SHELL", "true && true"], "interval": 5, "startPeriod": 7},
    "readonlyRootFilesystem": True,
    "linuxParameters": {
        "initProcessEnabled": True,
        "capabilities": {"drop": ["ALL"], "add": ["CHOWN"]},
        "tmpfs": [{"containerPath": "/run", "size": 8, "mountOptions": ["noexec"]}],
    },
    "user": "5001:5003",
    "stopTimeout": 60,
    "ulimits": [{"name": "nofile", "softLimit": 10, "hardLimit": 20}],
    "dockerSecurityOptions": ["no-new-privileges"],
    "logConfiguration": {
        "logDriver": "awslogs",
        "options": {"awslogs-group": "g", "awslogs-stream-prefix": "p"},
    },
}

SPEC = ContainerSpec(
    name="c",
    image="i:1",
    environment=(("A", "1"), ("B", "2")),
    secrets=(("S", "arn:aws:ssm:us-east-1:1:parameter/s"),),
    mounts=(
        Mount("/etc/tls", read_only=True, host_path="/var/lib/plexus/tls"),
        Mount("/srv/mail", read_only=False, file_system="fs-1", access_point="fsap-1"),
    ),
    ports=(PortMapping(993, 993),),
    memory=96,
    memory_reservation=48,
    cpu=128,
    read_only=True,
    init=True,
    tmpfs=(Tmpfs("/run", 8, ("noexec",)),),
    capabilities_add=("CHOWN",),
    capabilities_drop=("ALL",),
    user="5001:5003",
    stop_timeout=60,
    ulimits=(("nofile", 10, 20),),
    security_options=("no-new-privileges",),
    health=HealthCheck(("/bin/sh", "-c", "true && true"), interval=5, start_period=7),
    log=LogTarget("g", "p"),
)


def test_everything_that_is_known_is_read() -> None:
    """A container definition with all that the agent honours."""
    found = read(definition(**FULL))
    assert (SPEC,) == found.containers
    assert ("arn:task", "arn:execution") == (found.task_role_arn, found.execution_role_arn)


@pytest.mark.parametrize(
    "more",
    [
        {"privileged": True},
        {"dependsOn": [{"containerName": "x", "condition": "START"}]},
        {"linuxParameters": {"swappiness": 10}},
        {"mountPoints": [{"sourceVolume": "none", "containerPath": "/x"}]},
        {"healthCheck": {"command": ["SHELL", "x"]}},
        {"systemControls": [{"namespace": "a", "value": "b"}]},
    ],
)
def test_what_the_agent_does_not_know_is_refused(more: dict[str, Any]) -> None:
    """Nothing is left out in silence."""
    with pytest.raises(DefinitionError):
        read(definition(**more))


def test_another_network_mode_is_refused() -> None:
    """The desk has bridges only."""
    with pytest.raises(DefinitionError):
        read({**definition(), "networkMode": "awsvpc"})


def test_overrides_of_a_single_task_are_applied() -> None:
    """Command and environment, for the container that they name."""
    overrides = {
        "containerOverrides": [
            {"name": "c", "command": ["x"], "environment": [{"name": "B", "value": "3"}]},
            {"name": "other", "command": ["y"]},
        ]
    }
    (found,) = read(definition(**FULL), overrides).containers
    assert (("x",), (("A", "1"), ("B", "3"))) == (found.command, found.environment)


PLACEMENT = Placement(
    name="desk-c",
    labels=(("plexus.desk", "desk"),),
    network="net",
    hosts=(("email-smtp.us-east-1.amazonaws.com", "10.0.0.1"),),
    binds=(Bind(Path("/d/tls"), "/etc/tls", read_only=True), Bind(Path("/d/m"), "/m", False)),
    published=(Published(1993, 993, "tcp"),),
    env_file=Path("/d/c.env"),
    log_file=Path("/d/c.log"),
)


def test_the_command_for_podman() -> None:
    """All of it; a read-only root has no writable memory that the definition does not name."""
    assert [
        "run",
        "--detach",
        "--pull",
        "never",
        "--name",
        "desk-c",
        "--network",
        "net",
        "--env-file",
        "/d/c.env",
        "--label",
        "plexus.desk=desk",
        "--add-host",
        "email-smtp.us-east-1.amazonaws.com:10.0.0.1",
        "--mount",
        "type=bind,source=/d/tls,target=/etc/tls,readonly",
        "--mount",
        "type=bind,source=/d/m,target=/m",
        "--publish",
        "127.0.0.1:1993:993/tcp",
        "--stop-timeout",
        "60",
        "--memory",
        "96m",
        "--memory-reservation",
        "48m",
        "--cpu-shares",
        "128",
        "--ulimit",
        "nofile=10:20",
        "--read-only",
        "--read-only-tmpfs=false",
        "--init",
        "--tmpfs",
        "/run:size=8m,noexec",
        "--cap-drop",
        "ALL",
        "--cap-add",
        "CHOWN",
        "--security-opt",
        "no-new-privileges",
        "--user",
        "5001:5003",
        "--log-driver",
        "k8s-file",
        "--log-opt",
        "path=/d/c.log",
        "i:1",
    ] == run_arguments(Kind.PODMAN, SPEC, PLACEMENT)


def test_the_command_for_docker_differs_in_two_things() -> None:
    """No option for podman's own memory, no log file."""
    podman = run_arguments(Kind.PODMAN, SPEC, PLACEMENT)
    docker = run_arguments(Kind.DOCKER, SPEC, PLACEMENT)
    only_podman = ["--read-only-tmpfs=false", "--log-driver", "k8s-file", "--log-opt"]
    assert [one for one in podman if one not in (*only_podman, "path=/d/c.log")] == docker


def test_secrets_are_in_no_argument() -> None:
    """Environment and secrets reach the container by a file."""
    told = " ".join(run_arguments(Kind.PODMAN, SPEC, PLACEMENT))
    assert "parameter/s" not in told
    assert "A=1" not in told
