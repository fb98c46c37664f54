"""Place a task definition's containers on this machine.

The agent adds what the real agent and the real host would: AWS's endpoint, where to fetch
credentials, the address of SES's SMTP endpoint, and the desk's authority as a trusted one.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from awsdesk import files, instances, naming, sockets
from awsdesk.ecs.definition import ContainerSpec, DefinitionError, Mount
from awsdesk.ecs.ownership import Owned
from awsdesk.ecs.run_command import Bind, Placement, Published
from awsdesk.instances import Instance

if TYPE_CHECKING:
    from awsdesk.ecs.ecs_view import EcsView, WantedTask
    from awsdesk.layout import DeskLayout
    from awsdesk.settings import DeskSettings

log = logging.getLogger(__name__)

# Where Debian's programs look for trusted certificates.
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
LABEL_DESK = f"{naming.PREFIX}.desk"
LABEL_TASK = f"{naming.PREFIX}.task"
LABEL_VERSION = f"{naming.PREFIX}.version"


class PlacementError(Exception):
    """A container cannot be placed on this machine now."""


@dataclass(frozen=True)
class ContainerInstance:
    """A desk as a place for containers."""

    layout: DeskLayout
    desk: DeskSettings
    ecs: EcsView

    def of(self, task: WantedTask) -> Instance | None:
        """Return the host of a task's cluster, or None while that cluster has none."""
        found = instances.of_cluster(self.layout.instances, task.cluster)
        return None if found is None or self._is_terminated(found) else found

    def is_lost(self, task: WantedTask) -> bool:
        """Return whether the host of a task's cluster is terminated."""
        found = instances.of_cluster(self.layout.instances, task.cluster)
        return found is not None and self._is_terminated(found)

    def has_host(self, cluster: str) -> bool:
        """Return whether a cluster has a host that is not terminated."""
        found = instances.of_cluster(self.layout.instances, cluster)
        return found is not None and not self._is_terminated(found)

    def terminated(self) -> list[int]:
        """Return the numbers of the hosts that are terminated."""
        return [
            each.number
            for each in instances.load(self.layout.instances)
            if self._is_terminated(each)
        ]

    def _is_terminated(self, host: Instance) -> bool:
        return bool(host.group) and self.ecs.is_lost(host.group)

    def label(self, task: WantedTask, spec: ContainerSpec) -> str:
        """Return a container's name among those of all hosts."""
        return self._host(task).named(spec.name)

    def _host(self, task: WantedTask) -> Instance:
        # The reconciler leaves out tasks whose clusters have no host.
        return self.of(task) or Instance()

    def container_name(self, task: WantedTask, spec: ContainerSpec) -> str:
        """Return a container's name: the desk's and its own; a one-off task adds its id."""
        parts = [self.layout.name, self.label(task, spec)]
        return "-".join(parts if task.is_service else [*parts, task.name[:8]])

    def log_file(self, task: WantedTask, spec: ContainerSpec) -> Path:
        """Return the file for its output: one per service, one per one-off task."""
        name = self.label(task, spec)
        name = name if task.is_service else f"{name}-{task.name[:8]}"
        return self.layout.logs / f"{name}.log"

    def version(self, task: WantedTask, spec: ContainerSpec) -> str:
        """Return a value that changes whenever the running container is outdated."""
        what = [task.deployment, asdict(spec), self.desk.network.gateway, asdict(self.desk.ports)]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]

    def environment(self, spec: ContainerSpec, task_id: str, token: str | None) -> dict[str, str]:
        """Return the environment: the task definition's, plus what agent and host add."""
        desk = self.desk
        aws = f"https://{desk.network.gateway}:{desk.ports.aws_tls}"
        given = dict(spec.environment)
        given |= {"AWS_ENDPOINT_URL": aws, "AWS_CA_BUNDLE": CA_BUNDLE}
        given.setdefault("AWS_REGION", desk.region)
        if token is not None:
            given |= {
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{aws}/credentials/{task_id}",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN": token,
            }
        if "SES_SMTP_ENDPOINT" in given:
            host = given["SES_SMTP_ENDPOINT"].partition(":")[0]
            given["SES_SMTP_ENDPOINT"] = f"{host}:{desk.ports.ses_smtp}"
        return given

    def write_environment(self, name: str, environment: dict[str, str]) -> Path:
        """Write the file that the engine reads a container's environment from (0600).

        Raises:
            PlacementError: a value has a line break, which such a file cannot contain.
        """
        broken = [key for key, value in environment.items() if "\n" in value or "\r" in value]
        if broken:
            raise PlacementError(f"line breaks in the value of {', '.join(broken)}")
        path = self.layout.tasks / f"{name}.env"
        lines = "".join(f"{key}={value}\n" for key, value in sorted(environment.items()))
        files.replace(path, lines.encode(), 0o600, durable=False)
        return path

    def owned(self, spec: ContainerSpec) -> list[Owned]:
        """Return the EFS directories that must exist, with the access points' owners."""
        return [owned for mount in spec.mounts if (owned := self._efs(mount)) is not None]

    def await_host(self, task: WantedTask, spec: ContainerSpec) -> None:
        """Check that the host is prepared, before the engine is called.

        Raises:
            PlacementError: a host directory is missing.
        """
        host = self._host(task)
        paths = [
            self._bind(each, host).source for each in spec.mounts if each.host_path is not None
        ]
        if missing := [str(each) for each in paths if not each.exists()]:
            log.info("agent.directories_missing paths=%s", ",".join(missing))
            raise PlacementError("waits for the host's directories")

    def placement(self, task: WantedTask, spec: ContainerSpec, env_file: Path) -> Placement:
        """Return the container's mounts, ports and other parameters of its start.

        Raises:
            DefinitionError: an EFS access point does not exist.
        """
        host = self._host(task)
        named = {
            one: port
            for one in spec.ports
            if (port := self.desk.port_of(one.host_port)) is not None
        }
        # Ports without a name are for other hosts, which use the private address.
        is_for_hosts = bool(host.private_address) and len(named) < len(spec.ports)
        binds = [self._bind(mount, host) for mount in spec.mounts]
        binds.append(Bind(self.layout.ca_bundle, CA_BUNDLE, read_only=True))
        return Placement(
            name=self.container_name(task, spec),
            labels=(
                (LABEL_DESK, self.layout.name),
                (LABEL_TASK, f"{task.cluster}/{task.name}/{spec.name}"),
                (LABEL_VERSION, self.version(task, spec)),
            ),
            network=self.desk.network.name,
            hosts=((self.desk.ses_smtp_host, self.desk.network.gateway),),
            binds=tuple(binds),
            published=tuple(
                Published(
                    named.get(one) or sockets.free_port(),
                    one.container_port,
                    one.protocol,
                    host.loopback,
                )
                for one in spec.ports
                if one in named or not is_for_hosts
            ),
            address=host.private_address if is_for_hosts else "",
            env_file=env_file,
            log_file=self.log_file(task, spec),
        )

    def _bind(self, mount: Mount, host: Instance) -> Bind:
        if mount.host_path is not None:
            place = self.layout.host_path(mount.host_path, host.number)
            return Bind(place, mount.target, mount.read_only)
        owned = self._efs(mount)
        if owned is None:
            raise DefinitionError(f"{mount.target}: neither a host path nor EFS")
        return Bind(owned.path, mount.target, mount.read_only)

    def _efs(self, mount: Mount) -> Owned | None:
        if mount.file_system is None:
            return None
        directory, owner = mount.root_directory, {"OwnerUid": 0, "OwnerGid": 0}
        mode = 0o755
        if mount.access_point is not None:
            found = self.ecs.access_point(mount.access_point)
            if found is None:
                raise DefinitionError(f"no such EFS access point: {mount.access_point}")
            root = cast("dict[str, Any]", found.get("RootDirectory") or {})
            directory = str(root.get("Path") or "/")
            info = cast("dict[str, Any]", root.get("CreationInfo") or {})
            owner = {**owner, **info}
            mode = int(str(info.get("Permissions", "0755")), 8)
        path = self.layout.efs / mount.file_system
        return Owned(
            path.joinpath(*Path(directory).parts[1:]),
            int(owner["OwnerUid"]),
            int(owner["OwnerGid"]),
            mode,
        )
