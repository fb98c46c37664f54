"""Bounds: how much a user may store, and how long a request may take.

A file system on EFS has no limit but its bill. What a user stores is measured only after the user
has written much since the start, since a walk over NFS takes a millisecond for each file.
"""

import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from postal_plexus.maintenance.calendar_store import STORED_BYTES

LARGEST_BYTES = 2 << 20
"""Of a request's body: an event with a picture, or a contact; nginx has the same limit."""

_UNMEASURED_BYTES = 32 << 20
# EFS bills at least this for a file.
_LEAST_BYTES = 4096


class Store:
    """Counts what is written to each home and each shared collection."""

    def __init__(
        self,
        most: int = STORED_BYTES,
        unmeasured: int = _UNMEASURED_BYTES,
        least: int = _LEAST_BYTES,
    ) -> None:
        self._most, self._unmeasured, self._least = most, unmeasured, least
        self._written: defaultdict[Path, int] = defaultdict(int)
        self._lock = threading.Lock()

    def takes(self, folder: Path, size: int) -> bool:
        """Return whether `size` more octets may be written to a folder, and count them."""
        size = max(size, self._least)
        with self._lock:
            if self._written[folder] + size <= self._unmeasured:
                self._written[folder] += size
                return True
        stored = stored_bytes(folder, self._least)
        if stored + size > self._most:
            return False
        with self._lock:
            # What may be written until the next measurement, so that the limit holds.
            self._written[folder] = max(self._unmeasured - (self._most - stored), 0) + size
        return True


def stored_bytes(folder: Path, least: int = _LEAST_BYTES) -> int:
    """Return what a folder stores, without what its links lead to."""
    total = 0
    for parent, folders, files in os.walk(folder):
        sizes = (os.lstat(os.path.join(parent, name)).st_size for name in files)  # noqa: PTH118
        total += sum(max(size, least) for size in sizes)
        total += len(folders) * least
    return total


class Watchdog:
    """Ends the process when a request has run for too long: no thread can be ended by itself.

    The web container starts it again. Radicale replaces files atomically, so nothing is torn. If
    something keeps all threads from running, also this one (a regular expression does), the kernel
    ends the process: SIGALRM's default action needs none.
    """

    def __init__(self, seconds: float, end: Callable[[str], None]) -> None:
        self._seconds, self._end = seconds, end
        self._begun: dict[int, tuple[float, str]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def watching(self, what: str) -> Generator[None]:
        """Watch the block, which `what` describes."""
        key = threading.get_ident()
        with self._lock:
            self._begun[key] = (time.monotonic(), what)
        try:
            yield
        finally:
            with self._lock:
                del self._begun[key]

    def look(self) -> None:
        """End the process if a request has run for too long."""
        since = time.monotonic() - self._seconds
        with self._lock:
            late = [what for begun, what in self._begun.values() if begun < since]
        for what in late:
            self._end(what)

    def follow(self) -> None:
        """Look every second, for ever."""
        while True:
            signal.alarm(max(1, int(self._seconds)))
            time.sleep(1)
            self.look()
