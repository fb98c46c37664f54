"""Small disks that can be filled: tmpfs mounts, and files that take all their room. Needs root."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


class Disk:
    """A tmpfs of a fixed size, mounted over an existing directory of the same owner and mode."""

    def __init__(self, path: Path, megabytes: int) -> None:
        self._path = path
        status = path.stat()
        options = (
            f"size={megabytes}m,mode={status.st_mode & 0o7777:o},uid={status.st_uid},"
            f"gid={status.st_gid}"
        )
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "chaos", path], check=True)
        self._ballast = path / ".ballast"

    def fill(self) -> None:
        """Take all room but nothing: the next block of anybody else fails with ENOSPC."""
        free = os.statvfs(self._path)
        with self._ballast.open("wb") as ballast:
            size = free.f_bavail * free.f_frsize
            while size >= free.f_frsize:
                try:
                    os.posix_fallocate(ballast.fileno(), ballast.tell(), size)
                except OSError:
                    size //= 2
                else:
                    ballast.seek(0, os.SEEK_END)

    def empty(self) -> None:
        """Give the room back."""
        self._ballast.unlink(missing_ok=True)

    def unmount(self) -> None:
        """Forget it with its files."""
        subprocess.run(["umount", "--lazy", self._path], check=True)
