"""A circuit breaker: it stops the intake while something that every message needs is unavailable.

It is closed in normal operation. `trip` opens it: nothing is received any more, so receive counts
do not increase, and messages in progress wait where they are. One thread probes with increasing
waits until the service is back, and closes the circuit again.
"""

import threading
import time
from collections.abc import Callable

from postal_plexus.deliver import maillog

_FIRST_WAIT = 0.1
_LONGEST_WAIT = 5.0


class CircuitBreaker:
    """Initially closed. Threads share it.

    Args:
        what: the name of the service, for the log.
        probe: returns whether the service is available; it must not raise.
        stopping: set when `deliver` stops.
    """

    def __init__(self, what: str, probe: Callable[[], bool], stopping: threading.Event) -> None:
        self._what = what
        self._probe = probe
        self._stopping = stopping
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._closed.set()

    @property
    def closed(self) -> bool:
        """Whether messages may be received."""
        return self._closed.is_set()

    def trip(self, reason: str) -> None:
        """Open the circuit because the service is unavailable. Log it once, and start to probe."""
        with self._lock:
            if not self._closed.is_set():
                return
            self._closed.clear()
        maillog.intake_stopped(self._what, reason)
        threading.Thread(target=self._recover, name=f"breaker {self._what}", daemon=True).start()

    def wait_closed(self) -> bool:
        """Wait until the circuit is closed. Return False if `deliver` stops first."""
        while not self._closed.wait(0.5):
            if self._stopping.is_set():
                return False
        return not self._stopping.is_set()

    def _recover(self) -> None:
        since = time.monotonic()
        delay = _FIRST_WAIT
        while not self._stopping.wait(delay):
            if self._probe():
                self._closed.set()
                maillog.intake_resumed(self._what, time.monotonic() - since)
                return
            delay = min(delay * 1.5, _LONGEST_WAIT)
