"""The container engine: docker if its daemon answers, else podman, through their commands.

Failures: `NoEngineError` (none is usable, with the remedy), `EngineError` (a command failed, with
what the engine said).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from awsdesk.ecs import port_forwards
from awsdesk.ecs.run_command import Kind, run_arguments

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from awsdesk.ecs.definition import ContainerSpec
    from awsdesk.ecs.run_command import Placement

log = logging.getLogger(__name__)

_REMEDY = (
    "install podman (Debian: apt-get install podman runc netavark aardvark-dns iptables nftables)"
)


class NoEngineError(Exception):
    """Neither docker nor podman can be used."""


class EngineError(Exception):
    """A command of the engine failed."""


@dataclass(frozen=True)
class Container:
    """A container as the engine knows it."""

    id: str
    name: str
    labels: dict[str, str]
    pid: int
    is_running: bool
    exit_code: int
    out_of_memory: bool
    # The ports of this machine that lead to it.
    ports: frozenset[int]


@dataclass(frozen=True)
class Engine:
    """One engine and how to call it."""

    kind: Kind
    program: str
    # The environment of its command: the one in which the desk was started, not the one that the
    # daemon sets for the emulator.
    environment: Mapping[str, str]
    # The images that were seen here, so that their presence is asked once.
    _images: set[str] = field(default_factory=set[str], compare=False, repr=False)

    async def call(self, *arguments: str, timeout: float = 120) -> str:  # noqa: ASYNC109
        """Run a command of the engine and return its output.

        Raises:
            EngineError: it failed or took longer than `timeout` seconds.
        """
        return await self._output(self.program, *arguments, timeout=timeout)

    async def _output(self, program: str, *arguments: str, timeout: float) -> str:  # noqa: ASYNC109
        """Return what a program prints. Raise EngineError as `call` does."""
        process = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(self.environment),
        )
        try:
            # Not wait_for: before Python 3.12 it can lose a cancellation that arrives as it ends.
            async with asyncio.timeout(timeout):
                out, err = await process.communicate()
        except TimeoutError as error:
            process.kill()
            await process.wait()
            raise EngineError(f"{self.kind} {arguments[0]}: no answer in {timeout} s") from error
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if process.returncode != 0:
            said = _without_warnings(err.decode(errors="replace"))
            said = said or f"exit status {process.returncode}"
            raise EngineError(f"{self.kind} {arguments[0]}: {said}")
        return out.decode(errors="replace")

    async def run(self, spec: ContainerSpec, placement: Placement) -> str:
        """Start a container. Return its id.

        Raises:
            EngineError: it could not be started.
        """
        if self.kind is Kind.PODMAN:
            await self._forget_stale_forwards()
        try:
            return (await self.call(*run_arguments(self.kind, spec, placement))).strip()
        except EngineError:
            self._images.discard(spec.image)
            raise

    async def _forget_stale_forwards(self) -> None:
        """Remove port forwards to containers that no longer exist; see `port_forwards`."""
        # The chain does not exist if nothing was ever forwarded, or nftables forwards.
        with contextlib.suppress(EngineError, FileNotFoundError):
            if not (doubtful := await self._stale_forwards()):
                return
            await asyncio.sleep(port_forwards.DOUBT_SECONDS)
            for removal in await self._stale_forwards():
                if removal in doubtful:
                    log.warning("agent.stale_forward rule=%s", " ".join(removal[5:]))
                    await self._output(*removal, timeout=10)

    async def _stale_forwards(self) -> list[list[str]]:
        listing = await self._output(*port_forwards.LISTING, timeout=10)
        monitored = port_forwards.monitored()
        if not port_forwards.removals(listing, monitored):
            return []
        known = await self.call("ps", "--all", "--quiet", "--no-trunc")
        return port_forwards.removals(listing, {*known.split(), *monitored})

    async def ask(self, container: str, command: tuple[str, ...], timeout: float) -> bool:  # noqa: ASYNC109
        """Run a health check in a container; return whether it succeeded in time."""
        try:
            await self.call("exec", container, *command, timeout=timeout)
        except EngineError:
            return False
        return True

    async def copy_log(self, container: str, path: Path) -> None:
        """Copy a container's output to a file until it ends, as podman itself does."""
        process = await asyncio.create_subprocess_exec(
            *(self.program, "logs", "--follow", "--timestamps", container),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(self.environment),
            limit=1 << 20,
        )
        try:
            if process.stdout is not None:
                with path.open("ab", buffering=0) as file:
                    async for line in process.stdout:
                        when, _, text = line.rstrip(b"\n").partition(b" ")
                        file.write(when + b" stdout F " + text + b"\n")
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def inspect(self, container: str) -> Container | None:
        """Return a container, or None if there is none of that name or id."""
        try:
            return _containers(await self.call("container", "inspect", container))[0]
        except EngineError:
            return None

    async def labelled(self, label: str) -> list[Container]:
        """Return the containers with a label, including stopped ones.

        Raises:
            EngineError: the engine does not list them.
        """
        listed = await self.call("ps", "--all", "--quiet", "--filter", f"label={label}")
        if not (ids := listed.split()):
            return []
        try:
            return _containers(await self.call("container", "inspect", *ids))
        except EngineError:  # one of them has just been removed
            found = [await self.inspect(one) for one in ids]
            return [one for one in found if one is not None]

    async def stop(self, container: str, timeout: int) -> None:  # noqa: ASYNC109
        """Stop a container with SIGTERM, after `timeout` seconds with SIGKILL."""
        try:
            await self.call("stop", "--time", str(timeout), container, timeout=timeout + 30)
        except EngineError:
            await self.remove(container)

    async def remove(self, container: str) -> None:
        """Remove a container, even a running one. A missing one is not an error."""
        try:
            await self.call("rm", "--force", "--volumes", container)
        except EngineError:
            if await self.inspect(container) is not None:
                raise

    async def has_image(self, image: str) -> bool:
        """Return whether an image is available locally."""
        if image not in self._images:
            try:
                await self.call("image", "inspect", "--format", "{{.Id}}", image)
            except EngineError:
                return False
            self._images.add(image)
        return True

    async def pull(self, image: str) -> None:
        """Pull an image from its registry; without TLS on loopback, as docker itself does.

        Raises:
            EngineError: it cannot be pulled.
        """
        is_here = self.kind is Kind.PODMAN and image.startswith(("127.0.0.1:", "localhost:"))
        plain = ("--tls-verify=false",) if is_here else ()
        await self.call("pull", "--quiet", *plain, image, timeout=600)

    async def network_gateway(self, network: str) -> tuple[str, str] | None:
        """Return subnet and gateway of a network, or None if there is no such network."""
        try:
            found = cast(
                "list[dict[str, Any]]", json.loads(await self.call("network", "inspect", network))
            )
        except EngineError:
            return None
        # docker: IPAM.Config[].Gateway; podman: subnets[].gateway
        given: dict[str, Any] = found[0]
        ipam = cast("dict[str, Any]", given.get("IPAM") or {})
        for one in cast("list[dict[str, str]]", given.get("subnets") or ipam.get("Config") or []):
            subnet = one.get("subnet") or one.get("Subnet") or ""
            gateway = one.get("gateway") or one.get("Gateway") or ""
            if subnet and gateway and ":" not in gateway:
                return subnet, gateway
        raise EngineError(f"the network {network} has no IPv4 gateway")

    async def create_network(self, network: str, subnet: str, gateway: str) -> None:
        """Create a bridge network, with its earlier subnet if that is known."""
        where = ["--subnet", subnet, "--gateway", gateway] if subnet else []
        await self.call("network", "create", *where, network)

    async def remove_network(self, network: str) -> None:
        """Remove a network. A missing one is not an error."""
        try:
            await self.call("network", "rm", network)
        except EngineError:
            if await self.network_gateway(network) is not None:
                raise


def find() -> Engine:
    """Return the engine to use, with the current environment.

    Raises:
        NoEngineError: none answers; the text says what to install.
    """
    docker = shutil.which("docker")
    if docker is not None and _answers(docker) and not _is_podman(docker):
        return Engine(Kind.DOCKER, docker, dict(os.environ))
    podman = shutil.which("podman")
    if podman is None:
        raise NoEngineError(f"no docker daemon answers and podman is not installed: {_REMEDY}")
    if os.geteuid() != 0:
        # Its networks are in a separate namespace: no container could reach the emulated AWS at the
        # network's gateway, and no port of this machine would reach a container.
        raise NoEngineError(
            "podman without root cannot run a desk: its containers do not reach this machine."
            " Run the command as root (sudo), or start docker"
        )
    return Engine(Kind.PODMAN, podman, dict(os.environ))


def _answers(docker: str) -> bool:
    """Return whether docker's daemon answers."""
    try:
        done = subprocess.run(  # noqa: S603 - found on PATH
            [docker, "info", "--format", "{{.ServerVersion}}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and bool(done.stdout.strip())


def _is_podman(docker: str) -> bool:
    """Return whether `docker` is podman under another name (Debian's podman-docker)."""
    done = subprocess.run(  # noqa: S603 - found on PATH
        [docker, "--version"], capture_output=True, text=True, check=False
    )
    return "podman" in done.stdout.lower()


def _containers(printed: str) -> list[Container]:
    return [_container(found) for found in cast("list[dict[str, Any]]", json.loads(printed))]


def _container(found: dict[str, Any]) -> Container:
    state = found["State"]
    return Container(
        id=found["Id"],
        name=str(found["Name"]).lstrip("/"),
        labels=cast("dict[str, str]", found["Config"].get("Labels") or {}),
        pid=int(state.get("Pid") or 0),
        is_running=bool(state.get("Running")),
        exit_code=int(state.get("ExitCode") or 0),
        out_of_memory=bool(state.get("OOMKilled")),
        ports=_published(found),
    )


def _published(found: dict[str, Any]) -> frozenset[int]:
    host = cast("dict[str, Any]", found.get("HostConfig") or {})
    bound = cast("dict[str, Any]", host.get("PortBindings") or {})
    given = cast("list[dict[str, str]]", [one for each in bound.values() for one in each or ()])
    return frozenset(int(one["HostPort"]) for one in given if one.get("HostPort"))


def _without_warnings(said: str) -> str:
    """Return podman's message about a failure, without the warnings that it prints at each call."""
    lines = [line for line in said.splitlines() if "level=warning" not in line]
    return "\n".join(lines).strip()
