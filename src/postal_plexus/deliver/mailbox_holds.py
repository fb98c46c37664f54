"""Mailboxes that temporarily receive no mail because an operator's task works on them.

A task (an import) writes a file into a directory of Dovecot's sockets that this service may only
read (`hold_file` defines the format, `maintenance.mailbox_hold` writes it). The task renews it
every minute. If the task is killed, the hold expires after `LONGEST_SECONDS` at most, and at once
after a restart of the host. Only files that belong to the directory's owner count.

A transaction in progress continues, so a task must wait for its end. While it lasts, it has a lock,
which ends with its process.

Each deferral increases a message's receive count. These receives are counted here, so that they
affect neither the waits between attempts nor decisions based on the number of attempts (`policy`).
"""

import contextlib
import fcntl
import os
import stat
import threading
import time
from collections.abc import Generator, Iterable

from postal_plexus.deliver import hold_file, maillog
from postal_plexus.deliver.hold_file import file_name, hold_seconds, lock_octet

_LONGEST_TEXT = 1024
_MOST_ENTRIES = 10_000


class MailboxHolds:
    """The holds in a directory. Threads share it.

    Args:
        path: the directory; if it does not exist, there are no holds.
        boot_id: of the running kernel.
    """

    def __init__(self, path: str, boot_id: bytes) -> None:
        self._path = path
        self._boot_id = boot_id.decode("ascii", "replace")
        self._lock = threading.Lock()
        self._told: set[str] = set()
        self._receives: dict[str, int] = {}

    def seconds(self, mailbox: str) -> float:
        """Return for how many seconds the mailbox stays held without a renewal; 0 if it is not."""
        left = self._left(mailbox)
        if (left > 0) is (mailbox in self._told):
            return left
        with self._lock:
            # Another thread may have seen a later state meanwhile, and logged it.
            left = self._left(mailbox)
            if (left > 0) is (mailbox in self._told):
                return left
            if left > 0:
                self._told.add(mailbox)
                maillog.mailbox_held(mailbox, left)
            else:
                self._told.discard(mailbox)
                maillog.mailbox_released(mailbox)
        return left

    @contextlib.contextmanager
    def entering(self, mailboxes: Iterable[str]) -> Generator[set[str]]:
        """Yield those that are not held. No hold begins for them within the context."""
        names = set(mailboxes)
        with contextlib.ExitStack() as locks:
            with contextlib.suppress(OSError):
                lock = os.open(f"{self._path}/.lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                locks.callback(os.close, lock)
                # A mailbox that is being held at this moment is recognized as held below.
                for mailbox in names:
                    wanted = hold_file.lock(fcntl.F_RDLCK, lock_octet(mailbox))
                    with contextlib.suppress(BlockingIOError):
                        fcntl.fcntl(lock, fcntl.F_OFD_SETLK, wanted)
            yield {each for each in names if not self.seconds(each)}

    def received_in_vain(self, queue_id: str) -> None:
        """Count that an entry was deferred because of a hold."""
        with self._lock:
            self._receives[queue_id] = self._receives.pop(queue_id, 0) + 1
            if len(self._receives) > _MOST_ENTRIES:
                del self._receives[next(iter(self._receives))]

    def receives_in_vain(self, queue_id: str) -> int:
        """Return how often an entry was deferred because of a hold."""
        return self._receives.get(queue_id, 0)

    def forget(self, queue_id: str) -> None:
        """Forget an entry that has left the queue."""
        with self._lock:
            self._receives.pop(queue_id, None)

    def _left(self, mailbox: str) -> float:
        text = self._read(file_name(mailbox))
        return hold_seconds(text, mailbox, self._boot_id, time.clock_gettime(time.CLOCK_BOOTTIME))

    def _read(self, name: str) -> str:
        # Nearly always there is none. Asking takes a third of the time of an open that fails.
        if not os.access(f"{self._path}/{name}", os.F_OK):
            return ""
        with contextlib.suppress(OSError):
            # A pipe or a link can neither block nor redirect the read.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            file = os.open(f"{self._path}/{name}", flags)
            try:
                about = os.fstat(file)
                if stat.S_ISREG(about.st_mode) and about.st_uid == os.stat(self._path).st_uid:
                    return os.read(file, _LONGEST_TEXT).decode("utf-8", "replace")
            finally:
                os.close(file)
        return ""
