"""Disk images for virtual machines, made of Debian's packages and cached by their content.

    image = guest_image(RootFiles(packages=("nfs-kernel-server",), files={"/etc/exports": "..."}))

takes one or two minutes the first time, and nothing afterwards: the image, its kernel and its
initrd are in .build/guests under a hash of all that went into them. No loop device, no mount and
no KVM is needed: mmdebstrap makes the root, `mke2fs -d` the file system.

Fails with AssertionError that names the log when Debian's mirror does not answer.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".build" / "guests"

# What every guest has: Debian's kernel for clouds, systemd, and the agent that runs commands.
BASE = (
    "dbus",
    "initramfs-tools",
    "iproute2",
    "linux-image-cloud-amd64",
    "qemu-guest-agent",
    "systemd",
    "systemd-sysv",
    "udev",
)
# Only what finds the root disk: a small initrd unpacks in a second, Debian's own in ten.
_INITRD = {
    "/etc/initramfs-tools/conf.d/small": "MODULES=list\nCOMPRESS=gzip\n",
    "/etc/initramfs-tools/modules": "virtio_pci\nvirtio_blk\next4\n",
}
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
# Part of every hash: raise it when this file changes what an unchanged input is made into.
_RECIPE = "1"


@dataclass(frozen=True)
class RootFiles:
    """What a guest's root disk holds.

    `files`: text by absolute path, written before packages are installed (mode 0755 below a
    `bin` or `sbin`, else 0644). `commands`: run by `sh` in the finished root, without a network.
    `suite`: bookworm has systemd 252, as Amazon Linux 2023.
    """

    packages: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    suite: str = "bookworm"
    size_mb: int = 3072

    def digest(self) -> str:
        """Return the hash by which the image is cached."""
        parts = [
            *(_RECIPE, self.suite, str(self.size_mb), *BASE, *sorted(self.packages)),
            *(f"{path}\0{text}" for path, text in sorted({**_INITRD, **self.files}.items())),
            *self.commands,
        ]
        return hashlib.sha256("\0\0".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class GuestImage:
    """A root disk (raw, ext4, never written to), and the kernel and initrd that boot it."""

    disk: Path
    kernel: Path
    initrd: Path


def guest_image(root: RootFiles) -> GuestImage:
    """Return the image with these contents, made now if it is not there."""
    directory = CACHE / root.digest()
    found = GuestImage(directory / "root.ext4", directory / "vmlinuz", directory / "initrd")
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{root.digest()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.exists():
            _make(root, directory)
    return found


def disk_from_directory(directory: Path, disk: Path, size_mb: int, label: str = "") -> Path:
    """Make `disk` a raw ext4 image with what is in `directory`, owners and modes kept."""
    with disk.open("wb") as file:
        file.truncate(size_mb * 1024**2)
    command = ["mke2fs", "-q", "-t", "ext4", "-d", str(directory), "-L", label, str(disk)]
    _run(command, disk.with_suffix(".log"))
    return disk


def _make(root: RootFiles, directory: Path) -> None:
    work = directory.with_suffix(".new")
    shutil.rmtree(work, ignore_errors=True)
    tree, given = work / "tree", work / "given"
    work.mkdir()
    for path, text in {**_INITRD, **root.files}.items():
        target = given / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(0o755 if target.parent.name in {"bin", "sbin"} else 0o644)
    log = directory.with_suffix(".log")
    _run(
        [
            *("mmdebstrap", "--variant=minbase"),
            f"--include={','.join(sorted({*BASE, *root.packages}))}",
            *(f"--dpkgopt=path-exclude={each}" for each in _LEFT_OUT),
            # A file that is here already is kept, as an administrator's would be.
            "--dpkgopt=force-confold",
            f"--essential-hook=cp -a {given}/. $1/",
            # Nothing is to be started while packages are installed; nobody logs in.
            "--customize-hook=chroot $1 passwd --delete root",
            "--customize-hook=: > $1/etc/machine-id; : > $1/etc/fstab",
            *(f"--customize-hook=chroot $1 sh -euc {_quoted(each)}" for each in root.commands),
            *(root.suite, str(tree)),
        ],
        log,
    )
    for name, pattern in (("vmlinuz", "vmlinuz-*"), ("initrd", "initrd.img-*")):
        shutil.copyfile(next((tree / "boot").glob(pattern)), work / name)
    disk_from_directory(tree, work / "root.ext4", root.size_mb, "root")
    shutil.rmtree(tree)
    shutil.rmtree(given)
    work.rename(directory)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _run(command: list[str], log: Path) -> None:
    with log.open("w") as output:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=1500,
            check=False,
        )
    assert done.returncode == 0, f"{command[0]} failed, see {log}: {log.read_text()[-500:]}"
