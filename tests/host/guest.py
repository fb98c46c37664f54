"""A virtual machine: Debian with its own kernel and systemd, emulated (no KVM), for tests.

    from host.guest import Card, Guest, Volume
    from host.guest_image import RootFiles, guest_image

    image = guest_image(RootFiles(packages=("nfs-kernel-server",)))
    with Namespace() as network:
        network.ip("link add br0 type bridge")
        network.ip("link set br0 up")
        network.tap("tap0", "br0")
        volume = Volume.blank(tmp_path / "data.img", size_mb=1024)
        card = Card("tap0", "02:00:00:00:00:01", slot=5)
        with Guest(image, tmp_path, network=network, cards=[card], volumes=[volume]) as guest:
            guest.run("mount /dev/disk/by-id/nvme-*_data /mnt")
            guest.power_cut()                      # as if somebody pulled the plug
            guest.power_on()

What a test needs to know:

- `run` needs no network: the command goes to QEMU's agent in the guest. Its output comes back
  when it ends; a command that fails is an AssertionError with what it said. It must end: start what stays by `systemd-run`.
- The root disk starts as the image each time a Guest is made, and is written to a file of its own
  (`directory`), so that what the guest wrote is there after a power cut. A Volume outlives guests.
- `power_cut` kills QEMU. What the guest had not given to its disk is lost, as it is when a host
  dies. What it had given is kept, also without a flush: EBS has no cache that forgets either.
- A card in slot 5 is called `ens5` in the guest, as on AWS. `plug` and `unplug` do while the guest
  runs what attaching and detaching do on AWS. A Volume is NVMe with its name as serial number.
- Emulated, a boot takes about 20 seconds of a core, and everything some ten times as long as
  outside. Await conditions with `await_output`; never assert a time.
- The guest's console is `console.log` in its directory; `guest.journal()` is its systemd journal.
  A test that fails should print one of them (see `logs`).
"""

from __future__ import annotations

import base64
import contextlib
import shlex
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from host.guest_image import GuestImage
from host.namespace import Namespace
from host.qemu_socket import QemuSocket, RefusedError

# Ten times what it takes on a quiet machine.
_BOOT_SECONDS = 600
_CALL_SECONDS = 60

# Emulated, mitigations guard nothing, and a talkative console takes a third of a boot's time.
# AppArmor is Debian's; Amazon Linux has none.
_KERNEL = (
    "root=/dev/vda rw console=ttyS0 loglevel=4 systemd.show_status=error mitigations=off apparmor=0"
)


@dataclass(frozen=True)
class Card:
    """A network card: a tap of the guest's namespace, its MAC address, its PCI slot (3 to 31)."""

    tap: str
    mac: str
    slot: int

    def backend(self) -> dict[str, Any]:
        """Return QEMU's netdev for it."""
        off = {"script": "no", "downscript": "no"}
        return {"type": "tap", "id": f"net-{self.tap}", "ifname": self.tap, **off}

    def device(self) -> dict[str, Any]:
        """Return QEMU's device for it."""
        place = {"id": self.tap, "addr": f"{self.slot:#x}", "romfile": ""}
        return {"driver": "virtio-net-pci", "netdev": f"net-{self.tap}", "mac": self.mac, **place}


@dataclass(frozen=True)
class Volume:
    """A disk that outlives guests: a raw file. NVMe, with `name` as its serial number.

    `bad`: (offset, length) of a block that cannot be read, in octets. As on a real disk, every
    read that touches one of its sectors of 512 octets fails.

    `log`: an empty file in which QEMU records every write and flush, so that `host.write_log` can
    make the disk that a power cut leaves if the cache forgets. Then it is virtio-blk, since the
    kernel sends NVMe no flush after what it writes through (FUA).
    """

    file: Path
    name: str
    bad: tuple[int, int] | None = None
    log: Path | None = None

    @classmethod
    def blank(cls, file: Path, size_mb: int, name: str = "") -> Volume:
        """Make the file: all zeros, as EBS gives out a new volume."""
        with file.open("wb") as opened:
            opened.truncate(size_mb * 1024**2)
        return cls(file, name or file.stem)

    def node(self) -> dict[str, Any]:
        """Return QEMU's block device for it."""
        disk: dict[str, Any] = {
            "driver": "raw",
            "file": {"driver": "file", "filename": str(self.file)},
        }
        if self.bad is not None:
            offset, length = self.bad
            broken = [
                {"event": "none", "iotype": "read", "errno": 5, "sector": sector}
                for sector in range(offset // 512, (offset + length + 511) // 512)
            ]
            disk = {"driver": "blkdebug", "image": disk, "inject-error": broken}
        # Without flushes to the disk below: the machine that runs the test does not die.
        cache = {"direct": False, "no-flush": True}
        if self.log is None:
            return {**disk, "node-name": f"node-{self.name}", "cache": cache}
        log = {"driver": "file", "filename": str(self.log), "cache": cache}
        files = {"file": {**disk, "cache": cache}, "log": log}
        return {"driver": "blklogwrites", "node-name": f"node-{self.name}", **files}

    def device(self) -> dict[str, Any]:
        """Return QEMU's device for it; in the guest /dev/disk/by-id has its name."""
        made = {"id": f"disk-{self.name}", "serial": self.name, "drive": f"node-{self.name}"}
        if self.log is None:
            return {"driver": "nvme", **made}
        # In a slot behind the root disk's, which the kernel has to find as the first one.
        return {"driver": "virtio-blk-pci", "addr": "0x1b", **made}


@dataclass
class Guest:
    """A machine made of an image; runs between `__enter__` and `__exit__`."""

    image: GuestImage
    directory: Path
    network: Namespace | None = None
    cards: Sequence[Card] = ()
    volumes: Sequence[Volume] = ()
    memory_mb: int = 512
    cpus: int = 1
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _monitor: QemuSocket | None = field(default=None, init=False)
    _agent: QemuSocket | None = field(default=None, init=False)

    def __enter__(self) -> Guest:
        self.directory.mkdir(parents=True, exist_ok=True)
        self._disk.unlink(missing_ok=True)
        _quietly(
            *("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw"),
            *("-b", str(self.image.disk), str(self._disk)),
        )
        try:
            self.power_on()
        except BaseException:
            self.power_cut()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.power_cut()

    # --- power -----------------------------------------------------------------------------------

    def power_on(self, *, wait: bool = True) -> None:
        """Start the machine with the cards and volumes it was made with, wait until they are there."""
        assert self._process is None, "it runs already"
        for stale in (self._monitor_path, self._agent_path):
            stale.unlink(missing_ok=True)
        command = self._command()
        if self.network is not None:
            command = list(self.network.inside(*command))
        with (self.directory / "qemu.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._monitor = self._connect_monitor()
        for device in (*self.cards, *self.volumes):
            self.plug(device)
        self._monitor("cont")
        if wait:
            self.await_agent()
            # The agent is up before all cards have their names.
            self.run("udevadm settle")

    def power_cut(self) -> None:
        """End it at once: nothing is written any more, nobody is told."""
        for connection in (self._agent, self._monitor):
            if connection is not None:
                connection.close()
        self._agent = self._monitor = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def shut_down(self) -> None:
        """Have systemd stop all services and switch off; wait for it."""
        assert self._process is not None
        assert self._agent is not None
        self._agent.order("guest-shutdown", mode="powerdown")
        self._process.wait(_BOOT_SECONDS)
        self.power_cut()

    def reboot(self) -> None:
        """Have systemd stop all services, switch off, and start the machine again."""
        # On this side it is another process: QEMU ends where the machine would reset.
        self.shut_down()
        self.power_on()

    def finish_writes(self) -> None:
        """Stop the processor; wait until all that the disks were given is done, and flush them."""
        assert self._monitor is not None
        self._monitor("stop")

    def await_agent(self) -> None:
        """Wait until the guest has booted far enough to run commands."""
        self._agent = None
        deadline = time.monotonic() + _BOOT_SECONDS
        while True:
            with contextlib.suppress(OSError):
                agent = QemuSocket(self._agent_path, timeout=2)
                try:
                    agent.synchronize()
                except OSError:
                    agent.close()
                    raise
                agent.close()
                self._agent = QemuSocket(self._agent_path, _CALL_SECONDS)
                self._agent.synchronize()
                return
            assert self._process is not None
            assert self._process.poll() is None, f"QEMU ended: {self.logs()}"
            assert time.monotonic() < deadline, f"the guest does not boot: {self.logs()}"
            time.sleep(0.2)

    # --- commands --------------------------------------------------------------------------------

    def run(self, command: str, *, text: str = "", timeout: float = 300, check: bool = True) -> str:
        """Output (both streams) of a bash command line, run as root in the guest.

        `text` is its standard input. Raises AssertionError when it fails, unless `check` is off,
        and when it takes longer than `timeout` seconds.
        """
        output, status = self.run_status(command, text=text, timeout=timeout)
        assert status == 0 or not check, f"`{command}` exits with {status}: {output}"
        return output

    def run_status(self, command: str, *, text: str = "", timeout: float = 300) -> tuple[str, int]:
        """Output and exit status of a bash command line; see `run`."""
        assert self._agent is not None, "the guest does not run"
        started = self._agent(
            "guest-exec",
            path="/bin/bash",
            # The agent's own environment has hardly a PATH.
            arg=["-c", f"export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin; {command}"],
            **{"capture-output": True, "input-data": base64.b64encode(text.encode()).decode()},
        )
        deadline, pause = time.monotonic() + timeout, 0.05
        while not (state := self._agent("guest-exec-status", pid=started["pid"]))["exited"]:
            assert time.monotonic() < deadline, f"`{command}` takes longer than {timeout} s"
            time.sleep(pause)
            pause = min(1.0, pause * 1.5)
        output = b"".join(
            base64.b64decode(state.get(f"{each}-data", "")) for each in ("out", "err")
        )
        return output.decode(errors="replace"), state.get("exitcode", 128 + state.get("signal", 0))

    def write(self, path: str, text: str, mode: str = "0644") -> None:
        """Write a file in the guest, with the directories above it."""
        quoted = shlex.quote(path)
        command = f"install -D -m {mode} /dev/stdin {quoted}"
        self.run(command, text=text)

    def await_output(self, command: str, wanted: str, timeout: float = 300) -> str:
        """Run a command until its output has `wanted` in it; that output.

        Raises AssertionError with the last output after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while wanted not in (output := self.run(command, check=False)):
            assert time.monotonic() < deadline, f"`{command}` never said {wanted!r}: {output}"
            time.sleep(1)
        return output

    # --- devices ---------------------------------------------------------------------------------

    def plug(self, device: Card | Volume) -> None:
        """Attach a card or a volume now; it is gone at the next `power_on`, unless listed."""
        assert self._monitor is not None
        if isinstance(device, Volume):
            self._monitor("blockdev-add", **device.node())
            self._monitor("device_add", **device.device())
            return
        self._monitor("netdev_add", **device.backend())
        self._monitor("device_add", **device.device())

    def unplug(self, device: Card | Volume) -> None:
        """Detach it, and wait until the guest has let go of it."""
        assert self._monitor is not None
        volume = isinstance(device, Volume)
        name = f"disk-{device.name}" if isinstance(device, Volume) else device.tap
        self._monitor("device_del", id=name)
        deadline = time.monotonic() + _CALL_SECONDS
        backend = ("blockdev-del", {"node-name": f"node-{name.removeprefix('disk-')}"})
        if not volume:
            backend = ("netdev_del", {"id": f"net-{name}"})
        while True:
            # The backend can go when the guest has let go of the device.
            try:
                known = [
                    each["name"] for each in self._monitor("qom-list", path="/machine/peripheral")
                ]
                if name not in known:
                    self._monitor(backend[0], **backend[1])
                    return
            except RefusedError:
                pass
            assert time.monotonic() < deadline, f"the guest does not let go of {name}"
            time.sleep(0.2)

    # --- what it said ----------------------------------------------------------------------------

    def journal(self, arguments: str = "--boot") -> str:
        """Return the guest's systemd journal."""
        return self.run(f"journalctl --no-pager --output=short-monotonic {arguments}", check=False)

    def logs(self) -> str:
        """Return the end of the console and of QEMU's own messages, for a failure's text."""
        found = [
            f"{name}: ...{path.read_text(errors='replace')[-2000:]}"
            for name in ("qemu.log", "console.log")
            if (path := self.directory / name).exists()
        ]
        return "\n".join(found)

    # --- QEMU ------------------------------------------------------------------------------------

    @property
    def _disk(self) -> Path:
        return self.directory / "root.qcow2"

    @property
    def _monitor_path(self) -> Path:
        return self.directory / "monitor.sock"

    @property
    def _agent_path(self) -> Path:
        return self.directory / "agent.sock"

    def _command(self) -> list[str]:
        return [
            "qemu-system-x86_64",
            # A processor without AVX, which takes longer to emulate than it saves.
            *("-machine", "pc", "-accel", "tcg", "-cpu", "Nehalem"),
            *("-smp", str(self.cpus), "-m", str(self.memory_mb)),
            *("-display", "none", "-nodefaults", "-no-user-config", "-no-reboot", "-S"),
            *("-kernel", str(self.image.kernel), "-initrd", str(self.image.initrd)),
            *("-append", _KERNEL),
            *("-drive", f"file={self._disk},if=none,id=root,format=qcow2,cache=unsafe"),
            *("-device", "virtio-blk-pci,drive=root,addr=0x3"),
            *("-device", "virtio-rng-pci,addr=0x1c"),
            *("-chardev", f"file,id=console,path={self.directory}/console.log,append=on"),
            *("-serial", "chardev:console"),
            *("-device", "virtio-serial-pci,addr=0x4"),
            *("-chardev", f"socket,id=agent,path={self._agent_path},server=on,wait=off"),
            *("-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"),
            *("-qmp", f"unix:{self._monitor_path},server=on,wait=off"),
        ]

    def _connect_monitor(self) -> QemuSocket:
        deadline = time.monotonic() + _CALL_SECONDS
        while True:
            with contextlib.suppress(OSError):
                monitor = QemuSocket(self._monitor_path, _CALL_SECONDS)
                monitor.negotiate()
                return monitor
            assert self._process is not None
            assert self._process.poll() is None, f"QEMU ended: {self.logs()}"
            assert time.monotonic() < deadline, f"QEMU does not answer: {self.logs()}"
            time.sleep(0.05)


def _quietly(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
