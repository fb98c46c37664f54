"""Read the directory's tables beside Postfix's maps, again whenever they are replaced."""

import os
import threading

from postal_plexus.mail.outgoing.senders import Senders

NAMES = ("sender-logins", "virtual-mailboxes", "virtual-domains")


class DirectoryTables:
    """The current owners of addresses. Threads share it."""

    def __init__(self, folder: str) -> None:
        self._paths = [os.path.join(folder, name) for name in NAMES]
        self._versions: list[tuple[int, int]] = []
        self._senders: Senders | None = None
        self._lock = threading.Lock()

    def current(self) -> Senders:
        """Return the current tables. Raises OSError if one cannot be read."""
        with self._lock:
            versions = [(status.st_mtime_ns, status.st_ino) for status in map(os.stat, self._paths)]
            if self._senders is None or versions != self._versions:
                self._senders = self._read()
                self._versions = versions
            return self._senders

    def _read(self) -> Senders:
        texts: list[list[str]] = []
        for path in self._paths:
            with open(path, encoding="utf-8") as lines:
                texts.append(list(lines))
        return Senders(*texts)
