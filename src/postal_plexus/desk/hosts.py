"""The EC2 hosts of a desk: what their user data would prepare, and whether their services are well.

Failures: `HostError`, with the remedy.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from awsdesk import daemon_process, instances
from awsdesk.certificate_authority import CertificateAuthority
from awsdesk.ecs import ownership
from awsdesk.ecs.engine import EngineError
from awsdesk.ecs.ownership import Owned
from awsdesk.instances import Instance
from postal_plexus.desk.container_state import ContainerState, cannot_start
from postal_plexus.desk.directory_arrival import has_arrived

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from awsdesk.ecs.engine import Engine
    from awsdesk.layout import DeskLayout
    from awsdesk.settings import DeskSettings

TLS_DIRECTORY = "/var/lib/plexus/tls"
_TABLES = "/var/lib/plexus/run/directory"
_QUEUE = "/var/lib/plexus/queue"
SHARED_GROUP = 5003


class HostError(Exception):
    """A host cannot be prepared, or its services do not become healthy."""


@dataclass(frozen=True)
class DeskHost:
    """One host: its name for clients, its cluster, and its place on this machine."""

    name: str
    cluster: str
    instance: Instance


def of_outputs(outputs: Mapping[str, object]) -> list[DeskHost]:
    """Return the hosts of a stack, by its outputs; none before the first deployment."""
    given = cast("list[dict[str, str]]", outputs.get("mail_hosts") or [])
    return [
        DeskHost(
            one["name"],
            one["cluster"],
            # The only host has no others to talk to, and none that could take its mailboxes.
            Instance(number, one["private_address"], one.get("group", ""))
            if len(given) > 1
            else Instance(number),
        )
        for number, one in enumerate(given, 1)
    ]


async def prepare(
    engine: Engine, layout: DeskLayout, outputs: Mapping[str, object], image: str
) -> None:
    """Do the work of the EC2 hosts' user data: create directories and a certificate each.

    Raises:
        HostError: the directories cannot be made.
    """
    directories = cast("list[dict[str, Any]]", outputs.get("host_directories") or [])
    hosts = of_outputs(outputs)
    owned: list[Owned] = []
    for host in hosts:
        number = host.instance.number
        owned += [
            Owned(
                layout.host_path(one["path"], number),
                int(one["uid"]),
                int(one["gid"]),
                int(one["mode"], 8),
            )
            for one in directories
        ]
        names = [host.name, *cast("list[str]", outputs.get("certificate_names") or [])]
        certificate = CertificateAuthority(layout.authority).certificate(
            host.instance.named("mail"),
            [*dict.fromkeys(names), "localhost", host.instance.loopback],
        )
        tls = layout.host_path(TLS_DIRECTORY, number)
        chain, key = certificate.chain.read_bytes(), certificate.key.read_bytes()
        owned += [
            Owned(tls / "key.pem", 0, SHARED_GROUP, 0o640, key),
            Owned(tls / "certificate.pem", 0, SHARED_GROUP, 0o640, chain),
        ]
    try:
        for host in hosts:
            root = layout.host_path("/", host.instance.number)
            root.mkdir(exist_ok=True)
            # Containers access their mounts as other users, who may traverse it but not list it.
            root.chmod(0o755)
        await ownership.apply(owned, layout.root, engine, image)
        instances.save(layout.instances, {one.cluster: one.instance for one in hosts})
    except (OSError, EngineError) as error:
        raise HostError(f"the hosts' directories cannot be made: {error}") from error


def await_health(
    layout: DeskLayout,
    made: DeskSettings,
    outputs: Mapping[str, object],
    seconds: float,
    document: bytes,
    tell: Callable[[str], None],
) -> None:
    """Wait until all services of all hosts are healthy and have the directory.

    Raises:
        HostError: they do not become healthy in time, or one cannot start.
    """
    hosts = [one.instance for one in of_outputs(outputs)]
    deadline = time.monotonic() + seconds
    told: dict[str, str] = {}
    states: list[ContainerState] = []
    while time.monotonic() < deadline:
        health = daemon_process.health(made)
        if health is None:
            if not daemon_process.is_running(layout):
                raise HostError(f"the daemon has gone; see {layout.logs / 'daemon.log'}")
            continue  # it is saving its state, or the machine is busy
        there = [one for one in hosts if one.number not in health.get("terminated_hosts", ())]
        states = [ContainerState.of(task) for task in health["tasks"]]
        for state in states:
            word = "healthy" if state.health == "HEALTHY" else state.reason or state.health.lower()
            if told.get(state.name) != word:
                told[state.name] = word
                tell(f"{state.name}: {word}")
        if failures := cannot_start(health["tasks"]):
            raise HostError("\n".join((*failures, f"look into {layout.logs / 'daemon.log'}")))
        if _are_well(made, there, states):
            if all(_has_directory(layout, one, document) for one in there):
                return
            if "directory" not in told:
                told["directory"] = "awaited"
                tell("waiting until the services have the directory")
        time.sleep(0.1)
    unwell = ", ".join(
        f"{state.name} ({state.reason or state.health.lower()})"
        for state in states
        if not state.is_well
    )
    raise HostError(
        f"not healthy after {seconds:.0f} s: "
        f"{unwell or ('the directory has not arrived' if states else 'no containers')}; "
        f"look into {layout.logs}"
    )


def _are_well(made: DeskSettings, hosts: list[Instance], states: list[ContainerState]) -> bool:
    """Return whether all containers are healthy, and Postfix accepts mail.

    Postfix is also healthy while it waits for others.
    """
    names = {state.name for state in states}
    return (
        bool(states)
        and all(state.is_well for state in states)
        and all(_serves(made, one) for one in hosts if one.named("postfix") in names)
    )


def _serves(made: DeskSettings, host: Instance) -> bool:
    try:
        place = (host.loopback, made.ports.tasks["submission"])
        with socket.create_connection(place, 2) as connection:
            return connection.recv(3) == b"220"
    except OSError:
        return False


def _has_directory(layout: DeskLayout, host: Instance, document: bytes) -> bool:
    tables = layout.host_path(_TABLES, host.number)
    return has_arrived(document, tables, layout.host_path(_QUEUE, host.number) / "maps")
