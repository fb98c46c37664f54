"""The way of one mail: from a queue entry to a disposition for each recipient, and to its end.

`Delivery` belongs to one worker thread. `handle` takes an entry and settles it exactly once:
deleted when nothing is owed to anyone any more, released otherwise. It never raises. What a failure
means is decided in `failure_policy`; how a mailbox gets a mail exactly once, in `handover`.
"""

import time
from typing import TYPE_CHECKING

from postal_plexus.deliver import maillog
from postal_plexus.deliver.addressing import Addressee, Addressing, address
from postal_plexus.deliver.aws.errors import AwsError, AwsTransient, Missing
from postal_plexus.deliver.aws.queue import QueueMessage
from postal_plexus.deliver.aws.session import jitter
from postal_plexus.deliver.aws.store import Store
from postal_plexus.deliver.config import VirusPolicy
from postal_plexus.deliver.content import Content
from postal_plexus.deliver.failing import Failed, Failing
from postal_plexus.deliver.failure_policy import (
    DIRECTORY_SECONDS,
    MISSING_OBJECT_RECEIVES,
    UNFILTERED_RECEIVES,
    answer_is_safe,
    retry_after,
)
from postal_plexus.deliver.handover import Consignment, Handover, Stopping
from postal_plexus.deliver.journal import State, journal_key
from postal_plexus.deliver.marking import (
    is_addressed,
    mailbox_policy,
    own_fields,
    trace_fields,
)
from postal_plexus.deliver.notice import Notice
from postal_plexus.deliver.post import Post
from postal_plexus.directory import Directory
from postal_plexus.mail.content import TraceFields
from postal_plexus.mail.disposition import Disposition, Fate
from postal_plexus.mail.envelope import wire_sender
from postal_plexus.mail.held import held_id, render_held
from postal_plexus.mail.receipt import (
    NotificationError,
    Receipt,
    SetupNotification,
    read_notification,
)
from postal_plexus.mail.verdicts import Verdict

if TYPE_CHECKING:
    from postal_plexus.deliver.forwarding import Forwarding


class Delivery:
    """One worker's ways."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._store = Store(post.account, post.s3_signer)
        self._failing = Failing(post)
        self._handover = Handover(post, post.dovecot)
        self._forwarding: Forwarding | None = None

    def handle(self, message: QueueMessage) -> None:
        """See one entry through, and settle it."""
        post = self._post
        try:
            retry = self._read_and_deliver(message)
        except Stopping:
            retry = 0
        except AwsError as error:
            retry = self._retry(message)
            maillog.postponed(message.queue_id, retry, str(error))
        except Exception as error:  # noqa: BLE001  (a fault of ours must not lose the mail)
            retry = self._retry(message)
            maillog.crashed("delivery", error)
        if retry is None:
            post.settlement.delete(message)
        else:
            post.settlement.release(message, retry)

    def close(self) -> None:
        """Close this worker's connections."""
        self._store.close()
        self._failing.close()

    def abort(self) -> None:
        """Wake this worker if it waits for AWS. For other threads."""
        self._store.abort()

    def _retry(self, message: QueueMessage) -> int:
        return retry_after(message.receive_count, jitter())

    def _read_and_deliver(self, message: QueueMessage) -> int | None:
        """Seconds until the mail should come again, or None when nothing is owed."""
        try:
            receipt = read_notification(message.body)
        except NotificationError as error:
            self._failing.dead_letter(message, None, None, str(error))
            return None
        if isinstance(receipt, SetupNotification):
            maillog.setup_notification(message.queue_id)
            return None
        config = self._post.config
        if receipt.bucket != config.archive_bucket:
            reason = f"the bucket {receipt.bucket!r} is not our archive"
            self._failing.dead_letter(message, receipt, None, reason)
            return None
        if receipt.verdicts.virus is Verdict.FAIL and config.virus is not VirusPolicy.JUNK:
            if config.virus is VirusPolicy.DROP:
                maillog.dropped(receipt, "virus")
                return None
            with self._post.twins.alone(receipt.message_id):
                return self._hold(message, receipt)
        with self._post.twins.alone(receipt.message_id):
            return self._deliver(message, receipt)

    def _deliver(self, message: QueueMessage, receipt: Receipt) -> int | None:
        began = time.perf_counter()
        directory = self._directory(receipt)
        addressing = address(receipt.envelope, directory)
        found: list[Disposition] = []
        addressing = self._without_forged_bounces(receipt, addressing, found)
        for recipient in addressing.unknown:
            state = self._state(receipt, recipient)
            if state is not State.ACCOUNTED:
                quiet = state is State.FAILING
                found.append(
                    Disposition(recipient, Fate.FAILED, "5.1.1", "no such mailbox", quiet=quiet)
                )
        octets = self._to_mailboxes(message, receipt, directory, addressing.mailboxes, found)
        if addressing.forwards:
            self._to_outside(message, receipt, addressing.forwards, found)
        if not found:
            maillog.nothing_owed(receipt)
            return None
        maillog.dispositions(receipt, found, seconds=time.perf_counter() - began, octets=octets)
        self._post.metrics.dispositions(found, time.time() - receipt.accepted_at, octets)
        originals = {
            each.name: each.original for each in addressing.mailboxes + addressing.forwards
        }
        failed = [
            Failed(disposition, originals.get(disposition.recipient, disposition.recipient))
            for disposition in found
            if disposition.fate is Fate.FAILED
        ]
        if failed:
            self._failing.account_for(message, receipt, failed)
        if any(disposition.fate is Fate.DEFERRED for disposition in found):
            return self._retry(message)
        return None

    def _hold(self, message: QueueMessage, receipt: Receipt) -> int | None:
        """A mail with a virus: whole to the dead letters, with a notice to each mailbox."""
        # By the entry: one that is put back into the queue as it was must be held again, not lost.
        kept = f"virus {message.queue_id}"
        if self._state(receipt, kept) is not State.ACCOUNTED:
            self._failing.dead_letter(message, receipt, None, "virus")
            key = journal_key(receipt.message_id, kept)
            self._post.journal.record([key], State.ACCOUNTED)
        addressing = address(receipt.envelope, self._directory(receipt))
        found: list[Disposition] = []
        hostname = self._post.config.hostname
        consignment = Consignment(held_id(receipt), "", receipt.accepted_at, message.receive_count)

        def notice(own: TraceFields) -> Notice:
            to = next((value for name, value in own if name == "X-Original-To"), "")
            trace = (("X-Plexus-Receipt", held_id(receipt)), *own)
            return Notice(render_held(receipt, to, hostname), trace)

        self._handover.hand_over(
            consignment,
            addressing.mailboxes,
            notice,
            found,
            lambda each: own_fields(each, answered=True),
        )
        maillog.held(receipt, found)
        deferred = any(disposition.fate is Fate.DEFERRED for disposition in found)
        return self._retry(message) if deferred else None

    def _directory(self, receipt: Receipt) -> Directory:
        """The directory by which this mail is delivered. Raises AwsError.

        Whom the one at hand does not know, or knows by a catch-all only, may have come with a newer
        one, which is then read before anybody is told that nobody has that address, or somebody
        else gets the mail.
        """
        follower = self._post.follower
        directory = follower.current
        if not any(map(directory.may_be_new, receipt.envelope.recipients)):
            return directory
        try:
            return follower.refresh(receipt.accepted_at)
        except AwsError:
            if time.time() - receipt.accepted_at < DIRECTORY_SECONDS:
                raise
            return directory

    def _without_forged_bounces(
        self, receipt: Receipt, addressing: Addressing, found: list[Disposition]
    ) -> Addressing:
        """What claims to be the bounce of a forward of ours and is none reaches no mailbox."""
        seal = self._post.forward_seal
        forged = [each for each in addressing.mailboxes if seal.is_sealed(each.original) is False]
        if not forged:
            return addressing
        reason = "not the bounce of a forward of ours"
        found += [
            Disposition(each.name, Fate.FAILED, "5.7.1", reason, quiet=True)
            for each in forged
            if self._state(receipt, each.name) is not State.ACCOUNTED
        ]
        kept = tuple(each for each in addressing.mailboxes if each not in forged)
        return Addressing(kept, addressing.forwards, addressing.unknown)

    def _state(self, receipt: Receipt, name: str) -> State | None:
        entry = self._post.journal.look_up(journal_key(receipt.message_id, name))
        return entry.state if entry else None

    def _to_mailboxes(
        self,
        message: QueueMessage,
        receipt: Receipt,
        directory: Directory,
        mailboxes: tuple[Addressee, ...],
        found: list[Disposition],
    ) -> int:
        consignment = Consignment(
            receipt.message_id,
            wire_sender(receipt.envelope.sender),
            receipt.accepted_at,
            message.receive_count,
        )
        config = self._post.config
        may_answer = not answer_is_safe(receipt)
        policy = mailbox_policy(
            receipt, directory, dmarc_to_junk=config.dmarc_to_junk, may_answer=may_answer
        )
        trace = trace_fields(receipt, config.hostname, policy)
        unfiltered: set[str] = set()
        if message.receive_count >= UNFILTERED_RECEIVES:
            unfiltered = {
                each.name for each in mailboxes if self._state(receipt, each.name) is State.INTENDED
            }

        def own(each: Addressee) -> TraceFields:
            filtered = each.name not in unfiltered
            if not filtered:
                maillog.unfiltered(receipt, each.name, message.receive_count)
            answered = may_answer and is_addressed(receipt, each.name, directory)
            stopped = self._post.forward_bounces.came_to(each.name)
            return own_fields(each, answered=answered, filtered=filtered, stopped=stopped)

        try:
            return self._handover.hand_over(
                consignment, mailboxes, lambda more: self._open(receipt, trace + more), found, own
            )
        except (Missing, AwsTransient) as error:
            self._unreadable(message, receipt, mailboxes, error, found)
            return 0

    def _to_outside(
        self,
        message: QueueMessage,
        receipt: Receipt,
        forwards: tuple[Addressee, ...],
        found: list[Disposition],
    ) -> None:
        if self._forwarding is None:
            # Few hosts forward: the others need not load it.
            from postal_plexus.deliver.forwarding import Forwarding  # noqa: PLC0415

            self._forwarding = Forwarding(self._post, self._store)
        waiting = tuple(
            each
            for each in forwards
            if self._state(receipt, each.name) not in (State.DELIVERED, State.ACCOUNTED)
        )
        try:
            self._forwarding.forward(receipt, message.receive_count, waiting, found)
        except (Missing, AwsTransient) as error:
            self._unreadable(message, receipt, waiting, error, found)

    def _unreadable(
        self,
        message: QueueMessage,
        receipt: Receipt,
        addressees: tuple[Addressee, ...],
        error: AwsError,
        found: list[Disposition],
    ) -> None:
        """The content could not be read: a disposition for all who are still without one."""
        settled = {disposition.recipient for disposition in found}
        age = time.time() - receipt.accepted_at
        found += [
            self._of_unreadable(each.name, error, message, age)
            for each in addressees
            if each.name not in settled
            and self._state(receipt, each.name) not in (State.DELIVERED, State.ACCOUNTED)
        ]

    def _open(self, receipt: Receipt, trace: TraceFields) -> Content:
        answer = self._store.open(receipt.bucket, receipt.key)
        return Content(answer, trace, self._post.config.hostname)

    def _of_unreadable(
        self, name: str, error: AwsError, message: QueueMessage, age: float
    ) -> Disposition:
        gone = isinstance(error, Missing)
        if gone and message.receive_count >= MISSING_OBJECT_RECEIVES:
            return Disposition(name, Fate.FAILED, "5.3.0", f"the content is gone: {error}")
        return self._post.policy.deferred(name, "4.3.0", str(error), age)
