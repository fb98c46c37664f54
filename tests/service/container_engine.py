"""Docker or podman, for tests that run our images; and the images, built once a session."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import pytest
from benchmarks.mailhost.engine import ControlGroup

from awsdesk.ecs import port_forwards
from wire import await_true

ROOT = Path(__file__).resolve().parents[2]
_NSENTER = shutil.which("nsenter") or "nsenter"


def _answers(*command: str, environment: Mapping[str, str] | None = None) -> bool:
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=10, check=False, env=environment
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


@dataclass(frozen=True)
class Engine:
    """A container engine's command line."""

    command: str

    def __call__(self, *arguments: str, timeout: float = 60) -> str:
        """The command's output. Raises AssertionError with what it said, if it fails."""
        done = subprocess.run(
            [self.command, *arguments],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"{self.command} {' '.join(arguments)}: {done.stderr}"
        return done.stdout.strip()


def _forget_stale_forwards() -> None:
    """Remove the port forwards that an interrupted run left: they would shadow those of this one."""
    if not (doubtful := _stale_forwards()):
        return
    time.sleep(port_forwards.DOUBT_SECONDS)
    for removal in _stale_forwards():
        if removal in doubtful:
            # Another worker may have been first.
            subprocess.run(removal, capture_output=True, check=False)


def _stale_forwards() -> list[list[str]]:
    def printed(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    listing, known = printed(*port_forwards.LISTING), port_forwards.monitored()
    if not port_forwards.removals(listing, known):
        return []
    known |= set(printed("podman", "ps", "--all", "--quiet", "--no-trunc").split())
    return port_forwards.removals(listing, known)


@functools.cache
def engine() -> Engine:
    """Docker if its daemon answers, else podman. None: an error under CI, else a skip."""
    if os.geteuid() == 0:
        os.environ.setdefault("CONTAINERS_CONF", str(ROOT / "containers" / "containers.conf"))
        if _answers("docker", "info"):
            return Engine("docker")
        if _answers("podman", "info"):
            _forget_stale_forwards()
            return Engine("podman")
        why = "no container engine answers: start Docker or install podman"
    else:
        why = "only root can give the containers' directories their owners"
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


@functools.cache
def images(*names: str) -> Mapping[str, str]:
    """Whole names of some of our images, which are there when this returns."""
    tool = [sys.executable, str(ROOT / "tools" / "images"), *names]
    done = subprocess.run(tool, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([*tool, "--tags"], capture_output=True, text=True, check=True, timeout=60)
    return MappingProxyType(json.loads(done.stdout))


@dataclass
class Network:
    """A bridge network of a test's own; the host answers at its gateway."""

    engine: Engine
    name: str = field(default_factory=lambda: f"plexus-test-{uuid.uuid4().hex[:8]}")
    gateway: str = ""

    def __post_init__(self) -> None:
        self.engine("network", "create", self.name)
        where = (
            "{{(index .IPAM.Config 0).Gateway}}"
            if self.engine.command == "docker"
            else "{{(index .Subnets 0).Gateway}}"
        )
        self.gateway = self.engine("network", "inspect", "--format", where, self.name)

    def remove(self) -> None:
        self.engine("network", "rm", self.name)


@dataclass
class Container:
    """One running container, started as ECS would start it: hardened, with a memory limit."""

    engine: Engine
    id: str
    _ports: dict[int, int] = field(default_factory=dict[int, int], compare=False, repr=False)
    _pid: int = field(default=0, compare=False, repr=False)
    # The file with what it printed; None with an engine that keeps it to itself.
    _log: Path | None = field(default=None, compare=False, repr=False)

    @classmethod
    def run(
        cls, engine: Engine, image: str, options: Sequence[str], command: Sequence[str] = ()
    ) -> Container:
        """Start a container in the background."""
        return cls(engine, engine("run", "--detach", *options, image, *command))

    def port(self, inside: int) -> int:
        """The host's port on 127.0.0.1 for a port of the container, which keeps it."""
        if inside not in self._ports:
            self._look()
        return self._ports[inside]

    def _look(self) -> None:
        """Ask the engine once for all that is asked often: each question is a process of 0.1 s."""
        (found,) = json.loads(self.engine("inspect", self.id))
        self._pid = int(found["State"]["Pid"])
        for published, places in (found["NetworkSettings"]["Ports"] or {}).items():
            for place in places or ():
                self._ports[int(published.removesuffix("/tcp"))] = int(place["HostPort"])
        log = found["HostConfig"]["LogConfig"]
        if log["Type"] == "k8s-file" and log.get("Path"):
            self._log = Path(log["Path"])

    def logs(self) -> str:
        """All that the container has printed, stdout and stderr."""
        if self._log is None and self.engine.command == "podman":
            self._look()
        if self._log is not None:
            return _printed(self._log.read_bytes()) if self._log.exists() else ""
        done = subprocess.run(
            [self.engine.command, "logs", self.id], capture_output=True, text=True, check=True
        )
        return done.stdout + done.stderr

    def exec(self, *command: str) -> str:
        """Run a command inside."""
        return self.engine("exec", self.id, *command)

    def healthy(self) -> bool:
        """What the task definition's health check would find."""
        return self.is_kept("ready")

    def is_kept(self, *more: str) -> bool:
        """Whether ECS would let it be: also what waits for a neighbour is healthy.

        `exec` of the engine takes a fifth of a second of processor time; the tests of the desk use it.
        """
        if not (pid := self.pid):
            return False
        try:
            lines = Path(f"/proc/{pid}/environ").read_text().rstrip("\0").split("\0")
        except OSError:
            return False
        within = (f"--target={pid}", "--mount", "--net", "--pid", "--uts", "--ipc")
        # Empty while the process becomes the container's: it is not ready then.
        given = dict(line.split("=", 1) for line in lines if "=" in line)
        return _answers(_NSENTER, *within, "/usr/local/bin/healthy", *more, environment=given)

    def running(self) -> bool:
        """Whether it has not ended."""
        return self.pid != 0

    def inspect(self, template: str) -> str:
        """One fact from the engine."""
        return self.engine("inspect", "--format", template, self.id)

    @property
    def pid(self) -> int:
        """Of its first process, as this machine sees it; 0 if it has ended."""
        if not self._pid or not Path(f"/proc/{self._pid}").exists():
            self._look()
        return self._pid

    @property
    def in_its_network(self) -> tuple[str, ...]:
        """What stands before a command of this machine that is to see the container's network.

        Waits until the kernel has made sure of its addresses (RFC 4862 section 5.4), which takes two seconds: a
        browser breaks off what it loads when that ends (ERR_NETWORK_CHANGED).
        """
        pid = self.pid
        addresses = Path(f"/proc/{pid}/net/if_inet6")
        await_true("settled addresses", lambda: not _tentative(addresses.read_text()))
        return "nsenter", f"--net=/proc/{pid}/ns/net"

    def usage(self) -> ControlGroup:
        """Its control group: what it uses, and which processes it has."""
        return ControlGroup.of(self.pid)

    def stop(self, seconds: int = 30) -> None:
        """SIGTERM, and SIGKILL after so many seconds, as ECS does."""
        self.engine("stop", "--time", str(seconds), self.id, timeout=seconds + 30)

    def kill(self) -> None:
        """SIGKILL to all of it at once, as when a host dies; returns when it has ended."""
        self.engine("kill", self.id)
        self.engine("wait", self.id)

    def remove(self) -> None:
        """Kill it and forget it."""
        self.engine("rm", "--force", self.id)


def _printed(file: bytes) -> str:
    """Return the text of a k8s-file: time, stream, `P` for a part of a line or `F` for its end, text."""
    lines = file.decode(errors="replace").split("\n")[:-1]
    parts = (line.split(" ", 3) for line in lines)
    return "".join(text + ("\n" if kind == "F" else "") for _, _, kind, text in parts)


def _tentative(addresses: str) -> list[str]:
    """Return the lines of /proc/net/if_inet6 whose flags have IFA_F_TENTATIVE (linux/if_addr.h)."""
    return [line for line in addresses.splitlines() if int(line.split()[4], 16) & 0x40]
