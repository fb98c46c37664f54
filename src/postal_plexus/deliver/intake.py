"""The intake: receive entries from the queue while there is room, and pass them to workers.

    receivers   long polls; the second one runs only while the first gets full responses
    workers     one entry each at a time (`attempt`); started as they are needed

Nothing is received without a directory, while the circuit breaker is open, or while there is no
room for a full response, because a request costs the same for one entry as for ten.
"""

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

from postal_plexus.deliver import maillog
from postal_plexus.deliver.attempt import Attempts
from postal_plexus.deliver.aws.errors import AwsError
from postal_plexus.deliver.aws.queue import RECEIVE_AT_MOST, Queue, QueueMessage
from postal_plexus.deliver.aws.session import full_jitter
from postal_plexus.deliver.circuit_breaker import CircuitBreaker
from postal_plexus.deliver.directory_sync import DirectorySync
from postal_plexus.deliver.metrics import Metrics
from postal_plexus.deliver.settlement import VISIBILITY_SECONDS, Settlement

_WORKERS = 20
_UNDER_WAY = 60
_AWS_LONGEST_WAIT = 60.0


class Receiver:
    """Receives from one queue, for one thread.

    While AWS is unavailable it waits with backoff, and logs this once.

    Args:
        queue: this thread's own connection to it.
        operation: the name of the operation, for the log.
        stopping: set when the service stops.
    """

    def __init__(self, queue: Queue, operation: str, stopping: threading.Event) -> None:
        self.queue = queue
        self._operation = operation
        self._stopping = stopping
        self._failures = 0
        self._failing_since = 0.0

    def receive(self, most: int = RECEIVE_AT_MOST) -> list[QueueMessage]:
        """Return up to `most` entries; none after an empty long poll, or after waiting for AWS."""
        try:
            messages = self.queue.receive(VISIBILITY_SECONDS, most)
        except AwsError as error:
            if not self._stopping.is_set():
                self._failures += 1
                if self._failures == 1:
                    self._failing_since = time.monotonic()
                    maillog.aws_down(self._operation, str(error))
                self._stopping.wait(full_jitter(self._failures, 0.2, _AWS_LONGEST_WAIT))
            return []
        if self._failures:
            maillog.aws_back(self._operation, time.monotonic() - self._failing_since)
            self._failures = 0
        return messages


class Intake:
    """Receivers, workers, and the room between them.

    Args:
        directory, breaker: nothing is received without a directory, or while the breaker is open.
        settlement: where entries are held and released.
        metrics: counts what was received.
        attempts: creates a worker's `Attempts`, with its own connections.
        stopping: set when the service stops.
    """

    def __init__(
        self,
        directory: DirectorySync,
        breaker: CircuitBreaker,
        settlement: Settlement,
        metrics: Metrics,
        attempts: Callable[[], Attempts],
        stopping: threading.Event,
    ) -> None:
        self._directory = directory
        self._breaker = breaker
        self._settlement = settlement
        self._metrics = metrics
        self._make_attempts = attempts
        self._stopping = stopping
        self._waiting: SimpleQueue[QueueMessage | None] = SimpleQueue()
        self._room = _UNDER_WAY
        self._freed = threading.Condition()
        self._crowded = threading.Event()
        self._lock = threading.Lock()
        self._workers: list[tuple[threading.Thread, Attempts]] = []
        self._idle = 0
        self.alive_at = time.monotonic()

    def receive(self, receiver: Receiver, *, second: bool) -> None:
        """Receive until the service stops: a receiver's thread.

        The second one runs only under load.
        """
        while not self._stopping.is_set():
            self.alive_at = time.monotonic()
            if not self._may_receive(second=second):
                continue
            room = self._take_room()
            if not room:
                continue
            messages: list[QueueMessage] = []
            try:
                messages = receiver.receive(room)
            finally:
                self._settlement.hold(messages)
                self._metrics.received(len(messages))
                self._give_room(room - len(messages))
                for message in messages:
                    self._hand_over(message)
            if len(messages) == RECEIVE_AT_MOST:
                self._crowded.set()
            else:
                self._crowded.clear()

    def finish(self, seconds: float, abort: Callable[[], None]) -> None:
        """Let workers finish their current message; after `seconds`, abort the rest.

        To be called when nothing is received any more. `abort` closes their connections to the next
        hop.
        """
        with self._lock:
            workers = list(self._workers)
        for _ in workers:
            self._waiting.put(None)
        threads = [thread for thread, _ in workers]
        join(threads, seconds)
        if any(thread.is_alive() for thread in threads):
            abort()
            for _, attempts in workers:
                attempts.abort()
            join(threads, 2.0)

    def _may_receive(self, *, second: bool) -> bool:
        """Return whether to receive now; wait for a while before returning False."""
        if not self._directory.wait_available(0.5):
            return False
        if not self._breaker.closed:
            self._stopping.wait(0.1)
            return False
        return not second or self._crowded.wait(0.5)

    def _take_room(self) -> int:
        """Return places for a full response, or 0 if they did not become free in a while."""
        with self._freed:
            if not self._freed.wait_for(lambda: self._room >= RECEIVE_AT_MOST, 0.5):
                return 0
            self._room -= RECEIVE_AT_MOST
        return RECEIVE_AT_MOST

    def _give_room(self, places: int = 1) -> None:
        with self._freed:
            self._room += places
            if self._room >= RECEIVE_AT_MOST:
                self._freed.notify()

    def _hand_over(self, message: QueueMessage) -> None:
        self._waiting.put(message)
        with self._lock:
            if self._waiting.qsize() > self._idle and len(self._workers) < _WORKERS:
                attempts = self._make_attempts()
                name = f"worker {len(self._workers) + 1}"
                thread = start(name, lambda: self._work(attempts))
                self._workers.append((thread, attempts))

    def _work(self, attempts: Attempts) -> None:
        """Run a worker's thread."""
        while True:
            with self._lock:
                self._idle += 1
            message = self._waiting.get()
            with self._lock:
                self._idle -= 1
            if message is None:
                attempts.close()
                return
            if self._stopping.is_set():
                self._settlement.release(message, 0)
            else:
                attempts.run(message)
            self._give_room()


def start(name: str, run: Callable[[], None]) -> threading.Thread:
    """Start a thread that does not keep the process alive."""
    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread


def join(threads: list[threading.Thread], seconds: float) -> None:
    """Wait up to `seconds` for all of them together."""
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
