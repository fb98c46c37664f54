"""Hold a mailbox: no mail is delivered to it while an operator's task works on it.

The task writes a hold (`deliver.hold_file`), waits for deliveries in progress, then works. A thread
renews the hold until the block ends. If the process is killed, the hold ends within `_SECONDS`, or
at once when the host restarts.

In a stack of several hosts a task also stays: the mailbox does not leave for another host meanwhile
(`stay`, `leave`). That is a lock, which ends with its process.

Mail waits in the queue meanwhile, so nothing is lost however long it takes. IMAP sessions continue;
a task that renames or removes a mailbox has to end them.
"""

import contextlib
import fcntl
import os
import threading
import time
import uuid
from collections.abc import Generator
from pathlib import Path

from postal_plexus.deliver import hold_file

HOLDS_PATH = Path("/run/plexus/live-dovecot/holds")
"""As a task sees the directory: pulumi/deployment/maintenance.py."""

_SECONDS = 180
_RENEW_SECONDS = 45.0
_DELIVERY_SECONDS = 120.0
# Postfix's deliveries have no lock; those that LMTP accepted just before end within this time.
_LMTP_SECONDS = 1.0
# Beyond the octets of deliveries: one per mailbox, locked by its task.
_TASKS = 1 << 32
# Beyond those: one per mailbox, which tasks on this host share, and its way to another host needs.
_STAYS = 1 << 33
LEAVING_SECONDS = 5.0


class MailboxBusyError(Exception):
    """Another task works on the mailbox, or a delivery to it does not end. Try again later."""


@contextlib.contextmanager
def hold(address: str, path: Path = HOLDS_PATH) -> Generator[None]:
    """Hold a mailbox's mail for the duration of the block.

    Args:
        address: the mailbox's address in the directory.
        path: the directory of holds.

    Raises:
        MailboxBusyError: the mailbox cannot be held now. Nothing has been done.
        OSError: the hold cannot be written.
    """
    octet = hold_file.lock_octet(address)
    path.mkdir(mode=0o755, exist_ok=True)
    lock = os.open(path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if not _lock(lock, octet + _TASKS, 0.0):
            raise MailboxBusyError(f"another task works on {address}: try again when it has ended")
        renewing = _Renewing(address, path / hold_file.file_name(address))
        try:
            renewing.write()
            if not _lock(lock, octet, _DELIVERY_SECONDS):
                raise MailboxBusyError(f"a delivery to {address} does not end: try again")
            _unlock(lock, octet)
            renewing.start()
            time.sleep(_LMTP_SECONDS)
            yield
        finally:
            renewing.end()
    finally:
        os.close(lock)


@contextlib.contextmanager
def stay(stored: str, path: Path = HOLDS_PATH) -> Generator[None]:
    """Keep a mailbox on this host for the duration of the block, together with other tasks.

    Args:
        stored: the address under which its mail is stored.
        path: the directory of holds, which may be read-only.

    Raises:
        MailboxBusyError: it is leaving.
        OSError: Dovecot has never run on this host.
    """
    lock = os.open(path / ".lock", os.O_RDONLY | os.O_CLOEXEC)
    try:
        octet = hold_file.lock_octet(stored) + _STAYS
        if not _lock(lock, octet, LEAVING_SECONDS, fcntl.F_RDLCK):
            raise MailboxBusyError(f"{stored} is leaving this host: try again in a minute")
        yield
    finally:
        os.close(lock)


@contextlib.contextmanager
def leave(stored: str, path: Path = HOLDS_PATH) -> Generator[None]:
    """Let no task begin to work on a mailbox during the block, in which it leaves this host.

    Raises:
        MailboxBusyError: a task is at work.
    """
    lock = os.open(path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if not _lock(lock, hold_file.lock_octet(stored) + _STAYS, 0.0):
            raise MailboxBusyError(f"an operator's task works on {stored}")
        yield
    finally:
        os.close(lock)


class _Renewing(threading.Thread):
    """The thread that keeps a hold alive."""

    def __init__(self, address: str, path: Path) -> None:
        super().__init__(name=f"hold {address}", daemon=True)
        self._address = address
        self._path = path
        self._boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        self._owner = uuid.uuid4().hex
        self._ended = threading.Event()

    def write(self) -> None:
        """Write the hold, or renew it with a later end."""
        until = int(time.clock_gettime(time.CLOCK_BOOTTIME)) + _SECONDS
        text = hold_file.written(self._address, self._boot, until, self._owner)
        fresh = self._path.with_name(f".{self._path.name}.new")
        fresh.write_text(text, "utf-8")
        fresh.chmod(0o644)
        fresh.rename(self._path)

    def run(self) -> None:
        """Renew the hold until `end`. A full volume ends it early."""
        while not self._ended.wait(_RENEW_SECONDS):
            with contextlib.suppress(OSError):
                self.write()

    def end(self) -> None:
        """End the hold."""
        self._ended.set()
        if self.is_alive():
            self.join()
        self._path.unlink(missing_ok=True)


def _lock(file: int, octet: int, seconds: float, kind: int = fcntl.F_WRLCK) -> bool:
    """Return whether the lock of an octet was acquired within that time."""
    wanted = hold_file.lock(kind, octet)
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, wanted)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)
        else:
            return True


def _unlock(file: int, octet: int) -> None:
    fcntl.fcntl(file, fcntl.F_OFD_SETLK, hold_file.lock(fcntl.F_UNLCK, octet))
