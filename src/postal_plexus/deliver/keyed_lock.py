"""A lock for each key: two notifications for one message are never processed at the same time.

The second one waits until the first is done, and then looks up in the journal what is left to do. A
lock exists only while a thread holds it or waits for it.
"""

import threading
from collections.abc import Generator
from contextlib import contextmanager


class KeyedLock:
    """Locks by key. Threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}

    def __len__(self) -> int:
        """Return the number of keys that are held or waited for."""
        return len(self._locks)

    @contextmanager
    def holding(self, key: str) -> Generator[None]:
        """Wait for the lock of `key`, and hold it for the duration of the context."""
        with self._lock:
            lock, users = self._locks.get(key) or (threading.Lock(), 0)
            self._locks[key] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._lock:
                lock, users = self._locks[key]
                if users == 1:
                    del self._locks[key]
                else:
                    self._locks[key] = (lock, users - 1)
