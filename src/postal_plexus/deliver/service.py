"""The service: all its parts, its threads, and the order in which they stop.

    receivers   entries from the queue, while there is room (`intake`)
    workers     one message each at a time (`attempt`)
    settlers    deletes and releases, in batches (`settlement`)
    directory   the directory object, every 30 s (`directory_sync`)
    feedback    SES's events about sent mail (`feedback`)
    main        signals, the heartbeat, and extending the visibility of entries in progress

On SIGTERM or SIGINT, the service stops in this order:

1. nothing new is received; entries that no worker has started are released;
2. workers finish their current message; after 15 s the rest is aborted and released;
3. settlers send everything that has been settled, and the journal is written back.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from functools import partial

from postal_plexus.deliver import host_room, maillog
from postal_plexus.deliver.attempt import Attempts
from postal_plexus.deliver.aws.queue import Queue, sqs_signer
from postal_plexus.deliver.aws.sender import BounceSender
from postal_plexus.deliver.aws.session import AwsAccount
from postal_plexus.deliver.aws.store import Store, s3_signer
from postal_plexus.deliver.circuit_breaker import CircuitBreaker
from postal_plexus.deliver.config import Config, ConfigError, read_config
from postal_plexus.deliver.directory_sync import DirectorySync
from postal_plexus.deliver.doveadm import Doveadm
from postal_plexus.deliver.feedback import FeedbackLoop
from postal_plexus.deliver.forward import Forward
from postal_plexus.deliver.forward_bounces import ForwardBounces
from postal_plexus.deliver.intake import Intake, Receiver, join, start
from postal_plexus.deliver.journal import Journal, JournalBusyError, read_boot_id
from postal_plexus.deliver.keyed_lock import KeyedLock
from postal_plexus.deliver.lmtp_pool import ConnectionPool
from postal_plexus.deliver.mailbox_holds import MailboxHolds
from postal_plexus.deliver.metrics import Metrics
from postal_plexus.deliver.non_delivery import NonDelivery, RateLimiter
from postal_plexus.deliver.policy import Policy
from postal_plexus.deliver.records import Records
from postal_plexus.deliver.return_path import ReturnPath
from postal_plexus.deliver.settlement import Settlement
from postal_plexus.deliver.transfer import Transfer, Transport

EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h
EXIT_STATE = 73  # EX_CANTCREAT: the volume cannot hold the journal

_STACK = 256 * 1024
_TICK_SECONDS = 5.0
STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})
_FINISH_SECONDS = 15.0
_SETTLE_SECONDS = 8.0
_JOURNAL_PATIENCE_SECONDS = 60.0
_POLL_AT_MOST_SECONDS = 120.0
_STUCK_SECONDS = 900.0


def main(environ: Mapping[str, str]) -> int:
    """Run until SIGTERM or SIGINT. Return the process's exit status."""
    # Blocked in all threads, and polled by `stop_signal`. A handler would run in the middle of
    # whatever the main thread does, and setting an Event there can wait forever for a lock that the
    # main thread itself holds.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    stopping = threading.Event()
    try:
        config = read_config(environ)
        account = AwsAccount.from_environment(environ, config.region, stopping)
        if not account.credentials.configured:
            raise ConfigError("neither AWS_ACCESS_KEY_ID nor AWS_CONTAINER_CREDENTIALS_* is set")
    except ValueError as error:
        sys.stderr.write(f"deliver: {error}\n")
        return EXIT_CONFIG
    if config.log_subjects:
        maillog.log_subjects()
    try:
        journal = _open_journal(config)
    except OSError as error:
        sys.stderr.write(f"deliver: the journal in {config.state_path}: {error}\n")
        return EXIT_STATE
    Service(config, account, journal, stopping).run()
    return 0


def stop_signal(seconds: float) -> str:
    """Wait up to `seconds` for SIGTERM or SIGINT. Return the signal's name, or ""."""
    told = signal.sigtimedwait(STOP_SIGNALS, seconds)
    # If the process was suspended (SIGSTOP) beyond that time, Python returns a structure that
    # nobody has filled.
    if told is None or told.si_signo not in STOP_SIGNALS:
        return ""
    return signal.Signals(told.si_signo).name


def _open_journal(config: Config) -> Journal:
    """Open the journal, waiting for a former process that is about to end. Raise OSError."""
    deadline = time.monotonic() + _JOURNAL_PATIENCE_SECONDS
    while True:
        try:
            return Journal(config.state_path, read_boot_id())
        except JournalBusyError:
            if time.monotonic() > deadline or stop_signal(0.2):
                raise


class Service:
    """All parts, connected: each class gets what it uses."""

    def __init__(
        self, config: Config, account: AwsAccount, journal: Journal, stopping: threading.Event
    ) -> None:
        threading.stack_size(_STACK)
        self._config = config
        self._account = account
        self._journal = journal
        self._stopping = stopping
        self._s3, self._sqs = s3_signer(account.region), sqs_signer(account.region)
        self._locks = KeyedLock()
        self._rate = RateLimiter()
        self._return_path = ReturnPath(config.state_path)
        self._forward_bounces = ForwardBounces(config.state_path)
        self._policy = Policy(config.over_quota_seconds, config.virus, config.dmarc_to_junk)
        self._metrics = Metrics(
            config.hostname, lambda: host_room.look(config.state_path), config.metrics_host
        )
        self._directory = DirectorySync(
            Store(account, self._s3),
            config.directory_bucket,
            config.directory_key,
            config.directory_path,
            self._metrics.directory_refused,
            has_versions=config.shard > 0,
        )
        self._dovecot = ConnectionPool(config.lmtp_socket, config.hostname, config.lmtp_connections)
        self._postfix = ConnectionPool(config.inject_socket, config.hostname, 2, smtp=True)
        self._breaker = CircuitBreaker("dovecot", self._dovecot.reachable, stopping)
        doveadm = Doveadm(config.doveadm_socket)
        self._holds = MailboxHolds(config.holds_path, read_boot_id())
        self._mailboxes = self._transfer(
            Transport(self._dovecot, self._breaker, doveadm, self._holds)
        )
        self._outside = Forward(
            journal,
            self._transfer(Transport(self._postfix)),
            self._return_path,
            self._forward_bounces,
        )
        self._settlement = Settlement(
            partial(self._queue, config.queue_url),
            lambda: Records(Store(account, self._s3), config.archive_bucket),
        )
        self._intake = Intake(
            self._directory,
            self._breaker,
            self._settlement,
            self._metrics,
            self._attempts,
            stopping,
        )

    def run(self) -> None:
        """Start everything, run until a signal says to stop, and stop everything."""
        config = self._config
        self._directory.load_last()
        maillog.started(
            config.hostname,
            config.queue_url,
            config.configuration_set,
            directory=self._directory.wait_available(0),
        )
        self._beat()
        settlers = [start(f"settler {index}", self._settlement.run) for index in (1, 2)]
        start("directory", partial(self._directory.run, config.directory_seconds, self._stopping))
        receivers = [self._receiver(config.queue_url, "ReceiveMessage") for _ in range(2)]
        threads = [
            start(f"receiver {index + 1}", partial(self._intake.receive, each, second=index > 0))
            for index, each in enumerate(receivers)
        ]
        if config.events_queue_url:
            feedback = self._feedback()
            receivers.append(feedback.receiver)
            threads.append(start("feedback", feedback.run))
        while not (reason := stop_signal(_TICK_SECONDS)):
            self._settlement.extend()
            self._dovecot.close_idle()
            self._postfix.close_idle()
            self._metrics.tick(self._settlement.held)
            self._beat()
        self._stopping.set()
        maillog.stopping(reason)
        for each in receivers:
            each.queue.abort()
        join(threads, 2.0)
        self._intake.finish(_FINISH_SECONDS, self._abort)
        self._end(settlers)

    def _end(self, settlers: list[threading.Thread]) -> None:
        """Release the rest, send everything that is settled, and close everything."""
        released = self._settlement.release_all()
        self._settlement.close()
        join(settlers, _SETTLE_SECONDS)
        self._dovecot.close()
        self._postfix.close()
        self._journal.close()
        self._forward_bounces.close()
        self._metrics.tick(released, force=True)
        maillog.stopped(self._settlement.deleted, released)

    def _abort(self) -> None:
        self._dovecot.abort()
        self._postfix.abort()

    def _attempts(self) -> Attempts:
        """Return a new worker's attempts, with its own connections to AWS."""
        return Attempts(
            hostname=self._config.hostname,
            shard=self._config.shard,
            archive_bucket=self._config.archive_bucket,
            store=Store(self._account, self._s3),
            reports=self._reports(),
            mailboxes=self._mailboxes,
            outside=self._outside,
            policy=self._policy,
            directory=self._directory,
            return_path=self._return_path,
            forward_bounces=self._forward_bounces,
            locks=self._locks,
            holds=self._holds,
            journal=self._journal,
            settlement=self._settlement,
            metrics=self._metrics,
        )

    def _feedback(self) -> FeedbackLoop:
        return FeedbackLoop(
            receiver=self._receiver(self._config.events_queue_url, "ReceiveMessage (events)"),
            reports=self._reports(),
            breaker=self._breaker,
            mailboxes=self._mailboxes,
            directory=self._directory,
            holds=self._holds,
            journal=self._journal,
            return_path=self._return_path,
            forward_bounces=self._forward_bounces,
            metrics=self._metrics,
            hostname=self._config.hostname,
            shard=self._config.shard,
            stopping=self._stopping,
        )

    def _reports(self) -> NonDelivery:
        return NonDelivery(
            dead_letters=partial(self._queue, self._config.dead_letter_queue_url),
            sender=partial(BounceSender, self._account),
            hostname=self._config.hostname,
            journal=self._journal,
            metrics=self._metrics,
            rate=self._rate,
            stopping=self._stopping,
        )

    def _transfer(self, transport: Transport) -> Transfer:
        return Transfer(self._journal, transport, self._policy, self._config.unknown_seconds)

    def _receiver(self, url: str, operation: str) -> Receiver:
        return Receiver(self._queue(url), operation, self._stopping)

    def _queue(self, url: str) -> Queue:
        return Queue(self._account, self._sqs, url)

    def _beat(self) -> None:
        """Touch the heartbeat while the receivers run and messages in progress advance.

        If Dovecot or AWS is unavailable, that is no reason to restart the service.
        """
        now = time.monotonic()
        receiving = now - self._intake.alive_at < _POLL_AT_MOST_SECONDS
        working = not self._settlement.held or not self._breaker.closed
        if receiving and (working or now - self._settlement.progressed_at < _STUCK_SECONDS):
            with contextlib.suppress(OSError), open(self._config.heartbeat_path, "ab") as file:
                os.utime(file.fileno())
