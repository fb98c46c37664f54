"""The pace of bounces: SES takes one a second."""

import threading
import time

_APART_SECONDS = 1.05
# Whoever sends to many unknown addresses must not keep the workers from everybody else's mail.
_LONGEST_WAIT = 5.0


class BouncePace:
    """Keeps bounces a second apart, over all threads (SES's quota)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next_at = 0.0

    def wait(self, stopping: threading.Event) -> bool:
        """Wait for this thread's turn, or for the word to stop; False if too many are before it."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next_at)
            if turn - now > _LONGEST_WAIT:
                return False
            self._next_at = turn + _APART_SECONDS
        stopping.wait(turn - now)
        return True
