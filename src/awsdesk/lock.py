"""One daemon a desk: a lock that lasts as long as the process, with its id in the file."""

from __future__ import annotations

import fcntl
import os
import time
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


# Who asks for the holder takes the lock for a moment.
_ASKED_SECONDS = 1.0


class DeskLockedError(Exception):
    """Another daemon runs this desk."""


class DeskLock:
    """Held from `acquire` until the process ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            DeskLockedError: it is held by another process.
        """
        file = self._path.open("a+", encoding="ascii")
        deadline = time.monotonic() + _ASKED_SECONDS
        while not _locked(file):
            if time.monotonic() > deadline:
                file.close()
                raise DeskLockedError(f"another daemon holds {self._path}")
            time.sleep(0.02)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._file = file


def holder(path: Path) -> int | None:
    """Return the process id of the daemon that holds the lock, or None if nobody does."""
    try:
        with path.open("r+", encoding="ascii") as file:
            if _locked(file):
                return None
            written = int(file.read().strip() or 0)
            return written if written > 1 else None
    except (FileNotFoundError, ValueError):
        return None


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
