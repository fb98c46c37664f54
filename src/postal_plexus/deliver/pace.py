"""The pace of bounces: SES takes one a second."""

import threading
import time

_APART_SECONDS = 1.05


class BouncePace:
    """Keeps bounces a second apart, over all threads (SES's quota)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next_at = 0.0

    def wait(self, stopping: threading.Event) -> None:
        """Wait for this thread's turn, or for the word to stop."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next_at)
            self._next_at = turn + _APART_SECONDS
        stopping.wait(turn - now)
