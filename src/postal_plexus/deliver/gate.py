"""The gate before the intake: closed while something that every mail needs is gone.

While it is closed nothing is received, so no receive count is spent, and those mails that are under
way wait in place. One thread tries, with growing delay, whether the thing is back.
"""

import threading
import time
from collections.abc import Callable

from postal_plexus.deliver import maillog

_FIRST_WAIT = 0.1
_LONGEST_WAIT = 5.0


class Gate:
    """Open at first. `probe` says whether the thing is there; it must not raise."""

    def __init__(self, what: str, probe: Callable[[], bool], stopping: threading.Event) -> None:
        self._what = what
        self._probe = probe
        self._stopping = stopping
        self._lock = threading.Lock()
        self._passable = threading.Event()
        self._passable.set()

    @property
    def open(self) -> bool:
        """Whether mail may come in."""
        return self._passable.is_set()

    def close(self, reason: str) -> None:
        """The thing is gone. Logs once, and starts to look for it."""
        with self._lock:
            if not self._passable.is_set():
                return
            self._passable.clear()
        maillog.intake_stopped(self._what, reason)
        threading.Thread(target=self._look, name=f"gate {self._what}", daemon=True).start()

    def wait(self) -> bool:
        """Wait until the gate is open; False if the service stops first."""
        while not self._passable.wait(0.5):
            if self._stopping.is_set():
                return False
        return not self._stopping.is_set()

    def _look(self) -> None:
        since = time.monotonic()
        delay = _FIRST_WAIT
        while not self._stopping.wait(delay):
            if self._probe():
                self._passable.set()
                maillog.intake_resumed(self._what, time.monotonic() - since)
                return
            delay = min(delay * 1.5, _LONGEST_WAIT)
