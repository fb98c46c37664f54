"""Detect forwarding loops in which the same body returns again and again.

Loops are usually detected by X-Loop and Delivered-To; this one ends a loop in which the other side
writes a new header each time. The counts are in memory and bounded; a new process starts from zero.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

HOUR = 3600
MOST = 20
_MOST_BODIES = 2000


class Repeats:
    """Counts bodies for each owner within an hour. Threads share it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: OrderedDict[tuple[str, int], deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def is_loop(self, owner: str, body: int) -> bool:
        """Count a body; return whether there were MOST of the same within the last hour."""
        now = self._clock()
        with self._lock:
            times = self._seen.setdefault((owner, body), deque(maxlen=MOST))
            self._seen.move_to_end((owner, body))
            if len(self._seen) > _MOST_BODIES:
                self._seen.popitem(last=False)
            full = len(times) == MOST and times[0] > now - HOUR
            if not full:
                times.append(now)
            return full
