"""Twins: two notifications of one mail that are under way at the same time.

The second waits until the first is done, and then reads in the journal what is left to do. A plain
lock for each message id, kept only while it is needed.
"""

import threading
from collections.abc import Generator
from contextlib import contextmanager


class Twins:
    """Locks by message id. Threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[str, tuple[threading.Lock, int]] = {}

    @contextmanager
    def alone(self, message_id: str) -> Generator[None]:
        """Be the only one at work on that mail."""
        with self._lock:
            lock, users = self._under_way.get(message_id) or (threading.Lock(), 0)
            self._under_way[message_id] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._lock:
                lock, users = self._under_way[message_id]
                if users == 1:
                    del self._under_way[message_id]
                else:
                    self._under_way[message_id] = (lock, users - 1)
