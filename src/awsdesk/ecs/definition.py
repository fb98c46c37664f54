"""A task definition as ECS stores it, as values: pure.

Every setting of a container definition is either understood or refused: `DefinitionError` names
what the desk's agent does not support, so that nothing is silently ignored.
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast


class DefinitionError(Exception):
    """The task definition uses something that the desk does not support."""


@dataclass(frozen=True)
class Mount:
    """A volume in a container: a directory of the host, or of an EFS access point."""

    target: str
    read_only: bool
    host_path: str | None = None
    file_system: str | None = None
    access_point: str | None = None
    root_directory: str = "/"


@dataclass(frozen=True)
class PortMapping:
    """A container's port and the host's; host port 0 means any."""

    container_port: int
    host_port: int
    protocol: str = "tcp"


@dataclass(frozen=True)
class HealthCheck:
    """The command that checks the container's health, and when it runs; times in seconds."""

    command: tuple[str, ...]
    interval: float = 30
    timeout: float = 5
    retries: int = 3
    start_period: float = 0


@dataclass(frozen=True)
class Tmpfs:
    """A tmpfs; size in MiB."""

    path: str
    size: int
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class LogTarget:
    """The log group for a container's output, and the prefix of its streams' names."""

    group: str
    prefix: str


@dataclass(frozen=True)
class ContainerSpec:
    """What an engine needs to know of one container; memory in MiB."""

    name: str
    image: str
    essential: bool = True
    command: tuple[str, ...] = ()
    entry_point: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    secrets: tuple[tuple[str, str], ...] = ()
    mounts: tuple[Mount, ...] = ()
    ports: tuple[PortMapping, ...] = ()
    memory: int | None = None
    memory_reservation: int | None = None
    cpu: int = 0
    read_only: bool = False
    init: bool = False
    tmpfs: tuple[Tmpfs, ...] = ()
    capabilities_add: tuple[str, ...] = ()
    capabilities_drop: tuple[str, ...] = ()
    user: str | None = None
    working_directory: str | None = None
    hostname: str | None = None
    stop_timeout: int = 30
    ulimits: tuple[tuple[str, int, int], ...] = ()
    security_options: tuple[str, ...] = ()
    health: HealthCheck | None = None
    log: LogTarget | None = None


@dataclass(frozen=True)
class TaskSpec:
    """A task definition."""

    task_role_arn: str | None
    execution_role_arn: str | None
    containers: tuple[ContainerSpec, ...]


_KNOWN = frozenset(
    """name image essential command entryPoint environment secrets mountPoints portMappings memory
    memoryReservation cpu readonlyRootFilesystem linuxParameters user workingDirectory hostname
    stopTimeout ulimits dockerSecurityOptions healthCheck logConfiguration systemControls
    volumesFrom""".split()  # noqa: SIM905 - a list of forty quoted words reads worse
)
_KNOWN_LINUX = frozenset({"capabilities", "initProcessEnabled", "tmpfs"})


def read(definition: dict[str, Any], overrides: dict[str, Any] | None = None) -> TaskSpec:
    """Parse a task definition.

    Raises:
        DefinitionError: it uses something that the desk's agent does not support.
    """
    if definition.get("networkMode", "bridge") != "bridge":
        raise DefinitionError(f"networkMode {definition['networkMode']}: only bridge")
    volumes = {str(volume["name"]): volume for volume in definition.get("volumes") or ()}
    overridden = {
        str(one.get("name")): one for one in (overrides or {}).get("containerOverrides") or ()
    }
    return TaskSpec(
        task_role_arn=definition.get("taskRoleArn") or None,
        execution_role_arn=definition.get("executionRoleArn") or None,
        containers=tuple(
            _container(one, volumes, overridden.get(str(one.get("name")), {}))
            for one in definition["containerDefinitions"]
        ),
    )


def _container(
    given: dict[str, Any], volumes: dict[str, dict[str, Any]], override: dict[str, Any]
) -> ContainerSpec:
    linux = cast("dict[str, Any]", given.get("linuxParameters") or {})
    unknown = [key for key, value in given.items() if key not in _KNOWN and value]
    unknown += [f"linuxParameters.{k}" for k, v in linux.items() if k not in _KNOWN_LINUX and v]
    unknown += [key for key in ("systemControls", "volumesFrom") if given.get(key)]
    if unknown:
        raise DefinitionError(f"{given['name']}: the desk's agent knows no {', '.join(unknown)}")
    capabilities = cast("dict[str, Any]", linux.get("capabilities") or {})
    environment = {one["name"]: one["value"] for one in given.get("environment") or ()}
    environment |= {one["name"]: one["value"] for one in override.get("environment") or ()}
    return ContainerSpec(
        name=given["name"],
        image=given["image"],
        essential=given.get("essential", True),
        # An empty override is no override: ECS uses the definition's.
        command=tuple(override.get("command") or given.get("command") or ()),
        entry_point=tuple(given.get("entryPoint") or ()),
        environment=tuple(sorted(environment.items())),
        secrets=tuple((one["name"], one["valueFrom"]) for one in given.get("secrets") or ()),
        mounts=tuple(_mount(one, volumes) for one in given.get("mountPoints") or ()),
        ports=tuple(
            PortMapping(one["containerPort"], one.get("hostPort", 0), one.get("protocol", "tcp"))
            for one in given.get("portMappings") or ()
        ),
        memory=override.get("memory") or given.get("memory"),
        memory_reservation=override.get("memoryReservation") or given.get("memoryReservation"),
        cpu=given.get("cpu", 0),
        read_only=given.get("readonlyRootFilesystem", False),
        init=linux.get("initProcessEnabled", False),
        tmpfs=tuple(
            Tmpfs(one["containerPath"], one["size"], tuple(one.get("mountOptions") or ()))
            for one in linux.get("tmpfs") or ()
        ),
        capabilities_add=tuple(capabilities.get("add") or ()),
        capabilities_drop=tuple(capabilities.get("drop") or ()),
        user=given.get("user"),
        working_directory=given.get("workingDirectory"),
        hostname=given.get("hostname"),
        stop_timeout=given.get("stopTimeout", 30),
        ulimits=tuple(
            (one["name"], one["softLimit"], one["hardLimit"]) for one in given.get("ulimits") or ()
        ),
        security_options=tuple(given.get("dockerSecurityOptions") or ()),
        health=_health(given.get("healthCheck")),
        log=_log(given["name"], given.get("logConfiguration") or {}),
    )


def _log(name: str, given: dict[str, Any]) -> LogTarget | None:
    driver = given.get("logDriver")
    if driver != "awslogs":
        # The desk writes its own file instead, as docker does on a host.
        return None
    options = cast("dict[str, str]", given.get("options") or {})
    if not options.get("awslogs-group") or not options.get("awslogs-stream-prefix"):
        raise DefinitionError(f"{name}: awslogs without a group or a stream prefix")
    return LogTarget(options["awslogs-group"], options["awslogs-stream-prefix"])


def _mount(point: dict[str, Any], volumes: dict[str, dict[str, Any]]) -> Mount:
    name = str(point["sourceVolume"])
    volume = volumes.get(name)
    if volume is None:
        raise DefinitionError(f"mount point {name}: the task definition has no such volume")
    target, read_only = str(point["containerPath"]), bool(point.get("readOnly", False))
    efs = cast("dict[str, Any] | None", volume.get("efsVolumeConfiguration"))
    if efs is not None:
        access = cast("dict[str, Any]", efs.get("authorizationConfig") or {})
        return Mount(
            target,
            read_only,
            file_system=efs["fileSystemId"],
            access_point=access.get("accessPointId"),
            root_directory=efs.get("rootDirectory") or "/",
        )
    host = cast("dict[str, Any]", volume.get("host") or {})
    if not host.get("sourcePath"):
        raise DefinitionError(f"volume {name}: neither a host path nor EFS")
    return Mount(target, read_only, host_path=host["sourcePath"])


def _health(given: dict[str, Any] | None) -> HealthCheck | None:
    if not given:
        return None
    kind, *command = given["command"]
    match kind:
        case "CMD":
            asked = tuple(command)
        case "CMD-SHELL":
            asked = ("/bin/sh", "-c", *command)
        case "NONE":
            return None
        case _:
            raise DefinitionError(f"health check of kind {kind}")
    return HealthCheck(
        asked,
        interval=given.get("interval", 30),
        timeout=given.get("timeout", 5),
        retries=given.get("retries", 3),
        start_period=given.get("startPeriod", 0),
    )
