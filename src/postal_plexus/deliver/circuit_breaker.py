"""A circuit breaker: it stops the intake while something that every mail needs is away.

It is closed while all is well. `trip` opens it: nothing is received any more, so no receive count
is spent, and mails that are under way wait in place. One thread probes, with growing waits, until
the thing is back, and closes it again.
"""

import threading
import time
from collections.abc import Callable

from postal_plexus.deliver import maillog

_FIRST_WAIT = 0.1
_LONGEST_WAIT = 5.0


class CircuitBreaker:
    """Closed at first. Threads share it.

    Args:
        what: the name of the thing, for the log.
        probe: returns whether the thing is there; it must not raise.
        stopping: set when the service stops.
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
        """Whether mail may come in."""
        return self._closed.is_set()

    def trip(self, reason: str) -> None:
        """Open the circuit: the thing is away. Logs once, and starts to probe."""
        with self._lock:
            if not self._closed.is_set():
                return
            self._closed.clear()
        maillog.intake_stopped(self._what, reason)
        threading.Thread(target=self._recover, name=f"breaker {self._what}", daemon=True).start()

    def wait_closed(self) -> bool:
        """Wait until the circuit is closed. Return False if the service stops first."""
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
