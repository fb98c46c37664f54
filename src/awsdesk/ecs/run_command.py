"""The `run` command of docker and podman for one container: pure.

The two differ little: podman would add writable tmpfs directories to a read-only root, and can
write a log file itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from awsdesk.ecs.definition import ContainerSpec


class Kind(StrEnum):
    """The container engines."""

    DOCKER = "docker"
    PODMAN = "podman"


@dataclass(frozen=True)
class Bind:
    """A directory or file of this machine in the container."""

    source: Path
    target: str
    read_only: bool


@dataclass(frozen=True)
class Published:
    """A container's port on an address of this machine that only it reaches."""

    port: int
    container_port: int
    protocol: str
    address: str = "127.0.0.1"


@dataclass(frozen=True)
class Placement:
    """What the desk adds to the task definition."""

    name: str
    labels: tuple[tuple[str, str], ...]
    network: str
    hosts: tuple[tuple[str, str], ...]
    binds: tuple[Bind, ...]
    published: tuple[Published, ...]
    env_file: Path
    log_file: Path
    # Its address on the network; empty for any.
    address: str = ""


def run_arguments(kind: Kind, spec: ContainerSpec, placement: Placement) -> list[str]:
    """Return the arguments after the engine's name."""
    arguments = ["run", "--detach", "--pull", "never", "--name", placement.name]
    arguments += ["--network", placement.network, "--env-file", str(placement.env_file)]
    if placement.address:
        # As a host's interface keeps its own: others would send to the former container's for half
        # a minute.
        hardware = ":".join(f"{int(part):02x}" for part in placement.address.split("."))
        arguments += ["--ip", placement.address, "--mac-address", f"02:00:{hardware}"]
    for label, value in placement.labels:
        arguments += ["--label", f"{label}={value}"]
    for host, address in placement.hosts:
        arguments += ["--add-host", f"{host}:{address}"]
    for bind in placement.binds:
        suffix = ",readonly" if bind.read_only else ""
        arguments += ["--mount", f"type=bind,source={bind.source},target={bind.target}{suffix}"]
    for one in placement.published:
        place = f"{one.address}:{one.port}:{one.container_port}/{one.protocol}"
        arguments += ["--publish", place]
    arguments += _limits(spec) + _isolation(kind, spec)
    if kind is Kind.PODMAN:
        arguments += ["--log-driver", "k8s-file", "--log-opt", f"path={placement.log_file}"]
    if spec.entry_point:
        arguments += ["--entrypoint", spec.entry_point[0]]
    return [*arguments, spec.image, *spec.entry_point[1:], *spec.command]


def _limits(spec: ContainerSpec) -> list[str]:
    arguments = ["--stop-timeout", str(spec.stop_timeout)]
    if spec.memory is not None:
        arguments += ["--memory", f"{spec.memory}m"]
    if spec.memory_reservation is not None:
        arguments += ["--memory-reservation", f"{spec.memory_reservation}m"]
    if spec.cpu:
        arguments += ["--cpu-shares", str(spec.cpu)]
    for name, soft, hard in spec.ulimits:
        arguments += ["--ulimit", f"{name}={soft}:{hard}"]
    return arguments


def _isolation(kind: Kind, spec: ContainerSpec) -> list[str]:
    arguments: list[str] = []
    if spec.read_only:
        arguments.append("--read-only")
        if kind is Kind.PODMAN:
            # podman would mount writable memory on /tmp, /run and /var/tmp; docker does not.
            arguments.append("--read-only-tmpfs=false")
    if spec.init:
        arguments.append("--init")
    for tmpfs in spec.tmpfs:
        options = ",".join((f"size={tmpfs.size}m", *tmpfs.options))
        arguments += ["--tmpfs", f"{tmpfs.path}:{options}"]
    for capability in spec.capabilities_drop:
        arguments += ["--cap-drop", capability]
    for capability in spec.capabilities_add:
        arguments += ["--cap-add", capability]
    for option in spec.security_options:
        arguments += ["--security-opt", option]
    if spec.user:
        arguments += ["--user", spec.user]
    if spec.working_directory:
        arguments += ["--workdir", spec.working_directory]
    if spec.hostname:
        arguments += ["--hostname", spec.hostname]
    return arguments
