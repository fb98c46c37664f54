"""Containers by podman or docker's command line, and what their control group has used.

Fails by `EngineError` with the engine's own words.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]


class EngineError(Exception):
    """No engine, no image, or a container command failed."""


@cache
def engine() -> str:
    """`docker` if its daemon answers, else `podman`. Raises EngineError."""
    if (
        shutil.which("docker")
        and not subprocess.run(
            ["docker", "info"], capture_output=True, timeout=20, check=False
        ).returncode
    ):
        return "docker"
    if shutil.which("podman"):
        os.environ.setdefault("CONTAINERS_CONF", str(ROOT / "containers" / "containers.conf"))
        return "podman"
    raise EngineError("neither docker nor podman is here: run `make images` first")


def command(*arguments: str, timeout: float = 60) -> str:
    """Run an engine command and return what it prints. Raises EngineError."""
    done = subprocess.run(
        [engine(), *arguments], capture_output=True, text=True, timeout=timeout, check=False
    )
    if done.returncode:
        raise EngineError(f"{engine()} {' '.join(arguments[:3])}: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()


@cache
def image(name: str) -> str:
    """Return the image of `dovecot`, `postfix` or `deliver` for this checkout. Raises EngineError.

    PLEXUS_IMAGES, a JSON object, names others: to measure one build against another.
    """
    named = json.loads(os.environ.get("PLEXUS_IMAGES", "{}"))
    if name in named:
        return named[name]
    reference = json.loads(_images("--tags"))[name]
    if not _has("image", reference):
        _images(name)
        command("image", "inspect", reference)
    return reference


def entrypoint(reference: str) -> list[str]:
    """Return the command that an image's containers execute."""
    return json.loads(
        command("image", "inspect", "--format", "{{json .Config.Entrypoint}}", reference)
    )


def _images(*arguments: str) -> str:
    """`tools/images`: the names of this checkout's images, or build one."""
    done = subprocess.run(
        [ROOT / "tools" / "images", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise EngineError(f"tools/images: {done.stderr.strip()}")
    return done.stdout


@dataclass(frozen=True, slots=True)
class Mount:
    """A host directory in a container."""

    host: Path
    inside: str
    read_only: bool = False

    def __str__(self) -> str:
        return f"{self.host}:{self.inside}{':ro' if self.read_only else ''}"


class Container:
    """One container, made once and started as often as wanted under its name."""

    def __init__(
        self,
        name: str,
        reference: str,
        *,
        mounts: Sequence[Mount] = (),
        environment: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
        arguments: Sequence[str] = (),
    ) -> None:
        self.name = name
        command("rm", "--force", "--volumes", name) if _has("container", name) else None
        made = ["create", "--name", name]
        for mount in mounts:
            made += ["--volume", str(mount)]
        for key, value in (environment or {}).items():
            made += ["--env", f"{key}={value}"]
        command(*made, *options, reference, *arguments)

    def start(self) -> None:
        """Start it; a stopped container keeps its files."""
        command("start", self.name)

    def kill(self) -> None:
        """SIGKILL to its first process, and with it to all; waits until it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def stop(self, seconds: int = 10) -> None:
        """SIGTERM, after `seconds` SIGKILL."""
        command("stop", "--time", str(seconds), self.name, timeout=seconds + 30)

    def wait(self) -> None:
        """Until it has ended."""
        command("wait", self.name)

    def remove(self) -> None:
        """Stop and forget it, with its files."""
        command("rm", "--force", "--volumes", self.name, timeout=120)

    def execute(self, *arguments: str, timeout: float = 60) -> str:
        """Run a command inside. Raises EngineError."""
        return command("exec", self.name, *arguments, timeout=timeout)

    def logs(self) -> str:
        """Return everything that it has printed."""
        done = subprocess.run([engine(), "logs", self.name], capture_output=True, check=False)
        # A process that is killed may have written half a character.
        return (done.stdout + done.stderr).decode(errors="replace")

    def port(self, inside: int) -> int:
        """Return the port of the host for a published one."""
        return int(command("port", self.name, f"{inside}/tcp").splitlines()[0].rpartition(":")[2])

    @property
    def pid(self) -> int:
        """Of its first process, as the host sees it."""
        return int(command("inspect", "--format", "{{.State.Pid}}", self.name))

    @property
    def running(self) -> bool:
        """Whether its first process lives."""
        return command("inspect", "--format", "{{.State.Running}}", self.name) == "true"

    def usage(self) -> ControlGroup:
        """Return the figures of its control group."""
        return ControlGroup.of(self.pid)


class Network:
    """A bridge network; this machine answers at its gateway."""

    def __init__(self, name: str) -> None:
        self.name = name
        if not _has("network", name):
            command("network", "create", name)
        where = (
            "{{(index .IPAM.Config 0).Gateway}}"
            if engine() == "docker"
            else "{{(index .Subnets 0).Gateway}}"
        )
        self.gateway = command("network", "inspect", "--format", where, name)

    def remove(self) -> None:
        """Forget it; its containers must be gone."""
        command("network", "rm", self.name)


def _has(kind: str, name: str) -> bool:
    """Return whether the engine has a container or an image of this name."""
    done = subprocess.run(
        [engine(), kind, "inspect", name], capture_output=True, timeout=60, check=False
    )
    return not done.returncode


class ControlGroup:
    """Memory and processor time of a control group, version 1 or 2."""

    def __init__(self, memory: Path, processor: Path) -> None:
        self._memory = memory
        self._processor = processor
        self._second = (memory / "memory.current").exists()

    @classmethod
    def of(cls, pid: int) -> ControlGroup:
        """Return the control group of a process."""
        places: dict[str, str] = {}
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, place = line.split(":", 2)
            for controller in controllers.split(","):
                places[controller] = place
        if "memory" in places:
            base = Path("/sys/fs/cgroup")
            return cls(
                base / "memory" / places["memory"].lstrip("/"),
                base / "cpuacct" / places["cpuacct"].lstrip("/"),
            )
        whole = Path("/sys/fs/cgroup") / places[""].lstrip("/")
        return cls(whole, whole)

    def peak(self) -> int:
        """Return the most bytes ever charged: anonymous, page cache and kernel memory."""
        return self._number("memory.peak" if self._second else "memory.max_usage_in_bytes")

    def reset_peak(self) -> None:
        """Measure the peak from now on."""
        name = "memory.peak" if self._second else "memory.max_usage_in_bytes"
        (self._memory / name).write_text("0")

    def now(self) -> int:
        """Return the bytes charged now."""
        return self._number("memory.current" if self._second else "memory.usage_in_bytes")

    def anonymous(self) -> int:
        """Return the bytes that the kernel cannot drop: all but the page cache."""
        wanted = "anon" if self._second else "total_rss"
        for line in (self._memory / "memory.stat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == wanted:
                return int(value)
        raise EngineError(f"no {wanted} in {self._memory}/memory.stat")

    def killed(self) -> int:
        """Return how many of its processes the kernel has killed for lack of memory."""
        name = "memory.events" if self._second else "memory.oom_control"
        for line in (self._memory / name).read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
        raise EngineError(f"no oom_kill in {self._memory}/{name}")

    def processes(self) -> list[int]:
        """Process ids, as the host sees them."""
        return [int(line) for line in (self._memory / "cgroup.procs").read_text().split()]

    def processes_of(self, part: bytes) -> list[int]:
        """Return those of its processes whose command line, words ended by NUL, contains this."""
        return [pid for pid in self.processes() if part in _command_line(pid)]

    def processor_seconds(self) -> float:
        """Processor time used so far by all its processes."""
        if not self._second:
            return self._number_in(self._processor / "cpuacct.usage") / 1e9
        for line in (self._processor / "cpu.stat").read_text().splitlines():
            if line.startswith("usage_usec "):
                return int(line.split()[1]) / 1e6
        raise EngineError("no usage_usec in cpu.stat")

    def _number(self, name: str) -> int:
        return self._number_in(self._memory / name)

    def _number_in(self, path: Path) -> int:
        return int(path.read_text())


def _command_line(pid: int) -> bytes:
    """Nothing of a process that has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def wait_until(what: str, ready: object, seconds: float = 30) -> None:
    """Poll `ready()` until it is true. Raises EngineError naming `what`."""
    assert callable(ready)
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise EngineError(f"after {seconds:.0f} s still waiting for {what}")
        time.sleep(0.02)
