"""The service: its threads, their start and their end.

    receivers   long polls; the second one only while the first gets full answers
    workers     one mail each at a time (`delivery`); started as they are needed
    settlers    deletes and releases, in batches (`settlement`)
    follower    the directory (`directory_follower`)
    main        signals, the heartbeat, and keeping invisible what is under way

The order of the end, on SIGTERM or SIGINT:

1. nothing new is received; entries that no worker has begun are released;
2. workers finish the mail at hand; after 15 s what is left is broken off and released;
3. settlers send all that has been settled, and the journal is written back.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from typing import TYPE_CHECKING

from postal_plexus.deliver import host_room, maillog
from postal_plexus.deliver.aws.errors import AwsError
from postal_plexus.deliver.aws.queue import RECEIVE_AT_MOST, Queue, QueueMessage, sqs_signer
from postal_plexus.deliver.aws.session import AwsAccount, full_jitter
from postal_plexus.deliver.aws.store import Store, s3_signer
from postal_plexus.deliver.config import Config, ConfigError, read_config
from postal_plexus.deliver.courier import Courier
from postal_plexus.deliver.delivery import Delivery
from postal_plexus.deliver.directory_follower import DirectoryFollower
from postal_plexus.deliver.failure_policy import Policy
from postal_plexus.deliver.forward_bounces import ForwardBounces
from postal_plexus.deliver.forward_seal import ForwardSeal
from postal_plexus.deliver.gate import Gate
from postal_plexus.deliver.journal import Journal, JournalBusyError, read_boot_id
from postal_plexus.deliver.metrics import Metrics
from postal_plexus.deliver.pace import BouncePace
from postal_plexus.deliver.post import Post
from postal_plexus.deliver.question import Question
from postal_plexus.deliver.route import Route
from postal_plexus.deliver.settlement import VISIBILITY_SECONDS, Settlement
from postal_plexus.deliver.twins import Twins

if TYPE_CHECKING:
    from postal_plexus.deliver.feedback import FeedbackReceiver

EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h
EXIT_STATE = 73  # EX_CANTCREAT: the volume cannot hold the journal

_WORKERS = 20
_UNDER_WAY = 60
_STACK = 256 * 1024
_TICK_SECONDS = 5.0
_STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})
_FINISH_SECONDS = 15.0
_SETTLE_SECONDS = 8.0
_AWS_LONGEST_WAIT = 60.0
_JOURNAL_PATIENCE_SECONDS = 60.0
_POLL_AT_MOST_SECONDS = 120.0
_STUCK_SECONDS = 900.0


def main(environ: Mapping[str, str]) -> int:
    """Run until told to stop. Returns the process's exit status."""
    # Held back in all threads, and asked for by `_told_to_stop`. A handler would run in the middle
    # of whatever the main thread does; setting an Event there can wait for ever for a lock that the
    # main thread itself holds.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    stopping = threading.Event()
    try:
        config = read_config(environ)
        account = AwsAccount.from_environment(environ, config.region, stopping)
        if not account.credentials.configured:
            raise ConfigError("neither AWS_ACCESS_KEY_ID nor AWS_CONTAINER_CREDENTIALS_* is set")
    except ValueError as error:
        sys.stderr.write(f"deliver: {error}\n")
        return EXIT_CONFIG
    try:
        journal = _open_journal(config)
    except OSError as error:
        sys.stderr.write(f"deliver: the journal in {config.state_path}: {error}\n")
        return EXIT_STATE
    Service(config, account, journal, stopping).run()
    return 0


def _told_to_stop(seconds: float) -> str:
    """Wait so long for the word to stop; the signal's name, or ""."""
    told = signal.sigtimedwait(_STOP_SIGNALS, seconds)
    return signal.Signals(told.si_signo).name if told else ""


def _open_journal(config: Config) -> Journal:
    """Open the journal, waiting for a former process that is about to end. Raises OSError."""
    deadline = time.monotonic() + _JOURNAL_PATIENCE_SECONDS
    while True:
        try:
            return Journal(config.state_path, read_boot_id())
        except JournalBusyError:
            if time.monotonic() > deadline or _told_to_stop(0.2):
                raise


class Service:
    """All parts, wired."""

    def __init__(
        self, config: Config, account: AwsAccount, journal: Journal, stopping: threading.Event
    ) -> None:
        threading.stack_size(_STACK)
        self._config = config
        self._stopping = stopping
        self._s3, self._sqs = s3_signer(account.region), sqs_signer(account.region)
        self._account = account
        self._courier = Courier(config.lmtp_socket, config.hostname, config.lmtp_connections)
        self._postfix = Courier(config.inject_socket, config.hostname, 2, smtp=True)
        self._gate = Gate("dovecot", self._courier.reachable, stopping)
        self._settlement = Settlement(lambda: Queue(account, self._sqs, config.queue_url))
        self._metrics = Metrics(config.hostname, lambda: host_room.look(config.state_path))
        self._follower = DirectoryFollower(
            Store(account, self._s3),
            config.directory_bucket,
            config.directory_key,
            config.directory_path,
            self._metrics.directory_refused,
        )
        self._journal = journal
        self._post = Post(
            config=config,
            account=account,
            s3_signer=self._s3,
            sqs_signer=self._sqs,
            follower=self._follower,
            journal=journal,
            dovecot=Route(self._courier, self._gate, Question(config.question_socket)),
            postfix=Route(self._postfix),
            forward_seal=ForwardSeal(config.state_path),
            forward_bounces=ForwardBounces(config.state_path),
            settlement=self._settlement,
            policy=Policy(config.over_quota_seconds),
            twins=Twins(),
            metrics=self._metrics,
            bounce_pace=BouncePace(),
            stopping=stopping,
        )
        self._waiting: SimpleQueue[QueueMessage | None] = SimpleQueue()
        self._room = _UNDER_WAY
        self._freed = threading.Condition()
        self._crowded = threading.Event()
        self._lock = threading.Lock()
        self._workers: list[tuple[threading.Thread, Delivery]] = []
        self._idle = 0
        self._receivers: list[Queue] = []
        self._feedback: FeedbackReceiver | None = None
        self._alive_at = time.monotonic()

    def run(self) -> None:
        """Start everything, stay until told to stop by a signal, end everything."""
        self._follower.load_last()
        maillog.started(
            self._config.hostname,
            self._config.queue_url,
            self._config.configuration_set,
            directory=self._follower.wait_available(0),
        )
        self._beat()
        settlers = [self._start(f"settler {index}", self._settlement.run) for index in (1, 2)]
        self._start(
            "follower",
            lambda: self._follower.run(self._config.directory_seconds, self._stopping),
        )
        receivers = [self._start_receiver(second=second) for second in (False, True)]
        if self._config.events_queue_url:
            receivers.append(self._start_feedback())
        while not (reason := _told_to_stop(_TICK_SECONDS)):
            self._settlement.extend()
            self._courier.close_idle()
            self._postfix.close_idle()
            self._metrics.tick(self._settlement.held)
            self._beat()
        self._stopping.set()
        self._end(receivers, settlers, reason)

    def _start_receiver(self, *, second: bool) -> threading.Thread:
        queue = Queue(self._account, self._sqs, self._config.queue_url)
        self._receivers.append(queue)
        name = "receiver 2" if second else "receiver 1"
        return self._start(name, lambda: self._receive(queue, second=second))

    def _start_feedback(self) -> threading.Thread:
        from postal_plexus.deliver.feedback import FeedbackReceiver  # noqa: PLC0415  (needs its queue)

        self._feedback = FeedbackReceiver(self._post)
        return self._start("feedback", self._feedback.run)

    def _receive(self, queue: Queue, *, second: bool) -> None:
        """A receiver's loop."""
        failures = 0
        failing_since = 0.0
        while not self._stopping.is_set():
            self._alive_at = time.monotonic()
            if not self._may_receive(second=second):
                continue
            room = self._take_room()
            if not room:
                continue
            messages: list[QueueMessage] = []
            try:
                messages = queue.receive(VISIBILITY_SECONDS, room)
                if failures:
                    maillog.aws_back("ReceiveMessage", time.monotonic() - failing_since)
                    failures = 0
            except AwsError as error:
                if not self._stopping.is_set():
                    failures += 1
                    if failures == 1:
                        failing_since = time.monotonic()
                        maillog.aws_down("ReceiveMessage", str(error))
                    self._stopping.wait(full_jitter(failures, 0.2, _AWS_LONGEST_WAIT))
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

    def _may_receive(self, *, second: bool) -> bool:
        """Whether this receiver should ask for mail now; waits a while before it says no."""
        if not self._follower.wait_available(0.5):
            return False
        if not self._gate.open:
            self._stopping.wait(0.1)
            return False
        return not second or self._crowded.wait(0.5)

    def _take_room(self) -> int:
        """Places for a whole answer's entries; 0 when they did not come free in a while.

        A request costs the same for one entry as for ten.
        """
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
                delivery = Delivery(self._post)
                name = f"worker {len(self._workers) + 1}"
                thread = self._start(name, lambda: self._work(delivery))
                self._workers.append((thread, delivery))

    def _work(self, delivery: Delivery) -> None:
        """A worker's loop."""
        while True:
            with self._lock:
                self._idle += 1
            message = self._waiting.get()
            with self._lock:
                self._idle -= 1
            if message is None:
                delivery.close()
                return
            if self._stopping.is_set():
                self._settlement.release(message, 0)
            else:
                delivery.handle(message)
            self._give_room()

    def _end(
        self,
        receivers: list[threading.Thread],
        settlers: list[threading.Thread],
        reason: str,
    ) -> None:
        maillog.stopping(reason)
        for queue in self._receivers:
            queue.abort()
        if self._feedback is not None:
            self._feedback.abort()
        _join(receivers, 2.0)
        with self._lock:
            workers = list(self._workers)
        for _ in workers:
            self._waiting.put(None)
        threads = [thread for thread, _ in workers]
        _join(threads, _FINISH_SECONDS)
        if any(thread.is_alive() for thread in threads):
            self._courier.abort()
            self._postfix.abort()
            for _, delivery in workers:
                delivery.abort()
            _join(threads, 2.0)
        released = self._settlement.release_all()
        self._settlement.close()
        _join(settlers, _SETTLE_SECONDS)
        self._courier.close()
        self._postfix.close()
        self._journal.close()
        self._post.forward_bounces.close()
        self._metrics.tick(released, force=True)
        maillog.stopped(self._settlement.deleted, released)

    def _start(self, name: str, run: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread

    def _beat(self) -> None:
        """Touch the heartbeat while the receivers turn and what is under way gets somewhere.

        That Dovecot or AWS is away is no reason to be restarted.
        """
        now = time.monotonic()
        receiving = now - self._alive_at < _POLL_AT_MOST_SECONDS
        working = not self._settlement.held or not self._gate.open
        if receiving and (working or now - self._settlement.progressed_at < _STUCK_SECONDS):
            self._touch()

    def _touch(self) -> None:
        with contextlib.suppress(OSError), open(self._config.heartbeat_path, "ab") as file:
            os.utime(file.fileno())


def _join(threads: list[threading.Thread], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
