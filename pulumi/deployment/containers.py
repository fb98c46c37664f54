"""The containers as ECS task definitions: pure functions of plain values.

Each memory limit is hard; together they must leave space on a host with 512 MB. On a larger host
the services get more (`with_memory`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from deployment.host_directories import BY_NAME, DELIVER, SHARED_GROUP
from postal_plexus.config.host_memory import Memory

_LEAST = Memory()

# For Dovecot's proxy on other hosts of the stack.
LMTP_PORT = 24
DOVEADM_PORT = 24245

MAIL_STORE = "mail"
MAIL_STORE_PATH = "/srv/mail"
# The whole file system, including what AWS Backup restores beside the mail.
# Of a stack with calendars: beside the mail, in its backups.
CALENDAR_STORE = "calendars"
CALENDAR_STORE_PATH = "/srv/calendars"
WHOLE_STORE = "store"
WHOLE_STORE_PATH = "/srv/store"
STORES = {
    MAIL_STORE: MAIL_STORE_PATH,
    CALENDAR_STORE: CALENDAR_STORE_PATH,
    WHOLE_STORE: WHOLE_STORE_PATH,
}


@dataclass(frozen=True)
class Mount:
    """A host directory by its name, or the mail store."""

    volume: str
    read_only: bool = False
    # Its path in the container, if not the usual one.
    path: str = ""


@dataclass(frozen=True)
class Tmpfs:
    """A directory in memory, `size` in MiB; it counts as the container's memory."""

    path: str
    size: int
    options: tuple[str, ...] = ("nosuid", "nodev", "noexec")


@dataclass(frozen=True)
class Container:
    """What is the same in every stack about one of the three containers."""

    name: str
    memory: int
    mounts: tuple[Mount, ...]
    ports: tuple[int, ...] = ()
    tmpfs: tuple[Tmpfs, ...] = ()
    user: str | None = None
    # How long ECS waits between SIGTERM and SIGKILL, at most 120 s.
    stop_timeout: int = 30
    # Linux capabilities to keep; all others are dropped.
    capabilities: tuple[str, ...] = ()
    # Postfix waits for its certificate and the directory's files.
    start_period: int = 60
    health_command: tuple[str, ...] = field(default=("CMD", "/usr/local/bin/healthy"))
    # For a one-off task: its program, and the memory with which ECS places it.
    entry_point: tuple[str, ...] = ()
    reservation: int | None = None

    @property
    def host_directories(self) -> tuple[str, ...]:
        """The names of the host directories that it mounts."""
        return tuple(mount.volume for mount in self.mounts if mount.volume not in STORES)


DOVECOT = Container(
    name="dovecot",
    memory=_LEAST.dovecot,
    ports=(993, 4190),
    mounts=(
        Mount(MAIL_STORE),
        Mount("indexes"),
        Mount("run-dovecot"),
        # Mail from filters leaves through Postfix's socket for it, which nobody else mounts.
        Mount("run-sieve", read_only=True),
        Mount("run-directory", read_only=True),
        Mount("tls"),
    ),
    tmpfs=(Tmpfs("/run", 8), Tmpfs("/tmp", 16)),  # noqa: S108  the container's own
    # When it stops, it copies to EFS the indexes that have changed within the hour.
    stop_timeout=90,
    # On a new volume it first takes all indexes from EFS; this is the longest that ECS waits for
    # it.
    start_period=300,
    capabilities=(
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "KILL",
        "NET_BIND_SERVICE",
        "SETGID",
        "SETUID",
        "SYS_CHROOT",
    ),
)

POSTFIX = Container(
    name="postfix",
    memory=_LEAST.postfix,
    ports=(465, 587),
    mounts=(
        Mount("queue"),
        Mount("run-dovecot", read_only=True),
        Mount("run-postfix"),
        Mount("run-sieve"),
        Mount("run-directory", read_only=True),
        Mount("tls", read_only=True),
    ),
    tmpfs=(Tmpfs("/run", 8), Tmpfs("/tmp", 8)),  # noqa: S108
    stop_timeout=60,
    capabilities=(
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "KILL",
        "NET_BIND_SERVICE",
        "SETGID",
        "SETUID",
    ),
)

DELIVER_CONTAINER = Container(
    name="deliver",
    memory=_LEAST.deliver,
    mounts=(
        Mount("run-dovecot", read_only=True),
        Mount("run-postfix", read_only=True),
        Mount("run-directory"),
        Mount("deliver"),
    ),
    tmpfs=(Tmpfs("/tmp", 4),),  # noqa: S108
    user=f"{DELIVER}:{SHARED_GROUP}",
    stop_timeout=30,
)

# The optional web container.
WEB_CONTAINER = Container(
    name="web",
    # After a session in a browser 45 MB, page cache included.
    memory=80,
    # The rest of what ECS can reserve on a t4g.nano beside the other services and one task. Beyond
    # it, the container uses what the others leave free.
    reservation=10,
    ports=(443,),
    mounts=(
        Mount("run-web", read_only=True),
        Mount("tls", read_only=True),
        Mount("webmail"),
    ),
    tmpfs=(Tmpfs("/run", 4), Tmpfs("/tmp", 1)),  # noqa: S108
    stop_timeout=30,
    capabilities=("CHOWN", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"),
)


def with_memory(container: Container, megabytes: int) -> Container:
    """Return a container with another memory limit."""
    return replace(container, memory=megabytes)


def beside_peers(container: Container) -> Container:
    """Dovecot with ports for other hosts: LMTP, and questions about interrupted deliveries."""
    return replace(container, ports=(*container.ports, LMTP_PORT, DOVEADM_PORT))


def beside_web(container: Container) -> Container:
    """Return Dovecot or Postfix with the directory of their sockets for the web container."""
    return replace(container, mounts=(*container.mounts, Mount("run-web")))


def with_calendars(container: Container) -> Container:
    """Return the web container with the store of calendars and address books."""
    return replace(container, mounts=(*container.mounts, Mount(CALENDAR_STORE)))


def _mount_point(mount: Mount) -> dict[str, Any]:
    path = mount.path or STORES.get(mount.volume) or BY_NAME[mount.volume].mount_path
    return {"sourceVolume": mount.volume, "containerPath": path, "readOnly": mount.read_only}


def _tmpfs(tmpfs: Tmpfs) -> dict[str, Any]:
    return {
        "containerPath": tmpfs.path,
        "size": tmpfs.size,
        "mountOptions": list(tmpfs.options),
    }


def _log_configuration(container: Container, log_group: str, region: str) -> dict[str, Any]:
    options = {
        "awslogs-group": log_group,
        "awslogs-region": region,
        "awslogs-stream-prefix": container.name,
    }
    if container.entry_point:
        # A task's output is its result, of which no line may be dropped.
        options["mode"] = "blocking"
    else:
        # A slow log never blocks mail: up to this much is buffered, then lines are dropped.
        options |= {"mode": "non-blocking", "max-buffer-size": "1m"}
    return {"logDriver": "awslogs", "options": options}


def definition(
    container: Container,
    image: str,
    environment: Mapping[str, str],
    secrets: Mapping[str, str],
    log_group: str,
    region: str,
) -> str:
    """Return the container definitions of a task with one container, as JSON for ECS.

    Args:
        container: one of the three, or a one-off task.
        image: its reference, by digest in production.
        environment: its variables that are not secret.
        secrets: name of a variable -> ARN of the SSM parameter that holds it.
        log_group: where its output goes.
        region: of the log group.
    """
    described: dict[str, Any] = {
        "name": container.name,
        "image": image,
        "essential": True,
        "memory": container.memory,
        "portMappings": [
            {"containerPort": port, "hostPort": port, "protocol": "tcp"} for port in container.ports
        ],
        "environment": [
            {"name": name, "value": value} for name, value in sorted(environment.items())
        ],
        "secrets": [{"name": name, "valueFrom": arn} for name, arn in sorted(secrets.items())],
        "mountPoints": [_mount_point(mount) for mount in container.mounts],
        "readonlyRootFilesystem": True,
        "dockerSecurityOptions": ["no-new-privileges"],
        "linuxParameters": {
            "capabilities": {"drop": ["ALL"], "add": list(container.capabilities)},
            # The images' own PID 1 handles signals and reaps children.
            "initProcessEnabled": False,
            "tmpfs": [_tmpfs(tmpfs) for tmpfs in container.tmpfs],
        },
        "stopTimeout": container.stop_timeout,
        "logConfiguration": _log_configuration(container, log_group, region),
    }
    if container.entry_point:
        described["entryPoint"] = list(container.entry_point)
    else:
        described["healthCheck"] = {
            "command": list(container.health_command),
            "interval": 30,
            "timeout": 10,
            "retries": 3,
            "startPeriod": container.start_period,
        }
    if container.reservation:
        described["memoryReservation"] = container.reservation
    if container.user:
        described["user"] = container.user
    return json.dumps([described], sort_keys=True)
