"""One delivery attempt: a queue entry passes through each step once, and is settled.

read        parse the notification into a receipt                    mail.receipt
screen      decide whether to deliver, hold or drop the message      policy
lock        never two attempts for one message at a time             keyed_lock
resolve     resolve the envelope's recipients to addressees          directory_sync, recipients
transfer    to mailboxes, exactly once                               trace_fields, content, transfer
forward     to outside addresses                                     forward
report      failures to the sender or to the dead-letter queue       non_delivery
settle      delete if nobody is owed the message, else release       settlement
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial

from postal_plexus.deliver import maillog
from postal_plexus.deliver.aws.queue import QueueMessage
from postal_plexus.deliver.aws.store import Store
from postal_plexus.deliver.content import Notice, open_stored
from postal_plexus.deliver.directory_sync import DirectorySync, TooEarlyError
from postal_plexus.deliver.forward import Forward
from postal_plexus.deliver.forward_bounces import ForwardBounces
from postal_plexus.deliver.journal import Journal, State, journal_key
from postal_plexus.deliver.keyed_lock import KeyedLock
from postal_plexus.deliver.mailbox_holds import MailboxHolds
from postal_plexus.deliver.metrics import Metrics
from postal_plexus.deliver.non_delivery import Failure, NonDelivery
from postal_plexus.deliver.policy import (
    UNFILTERED_RECEIVES,
    Action,
    Policy,
    forged_bounce,
    too_early,
    unknown_mailbox,
)
from postal_plexus.deliver.recipients import Addressee, Recipients, replayed, resolve
from postal_plexus.deliver.retry import attempted
from postal_plexus.deliver.return_path import ReturnPath
from postal_plexus.deliver.settlement import Settlement
from postal_plexus.deliver.trace_fields import Copy, mailbox_copies, notice_copies
from postal_plexus.deliver.transfer import Mail, Transfer, Transferred
from postal_plexus.directory import Directory
from postal_plexus.mail.dead_letter import VIRUS
from postal_plexus.mail.delivered import Record, write_record
from postal_plexus.mail.disposition import Disposition, Fate
from postal_plexus.mail.held import held_id, render_held
from postal_plexus.mail.receipt import (
    NotificationError,
    Receipt,
    SetupNotification,
    read_notification,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """One worker's delivery attempts.

    Attributes:
        hostname: the authserv-id of the trace fields.
        shard: the number of this host in a stack of several, or 0.
        archive_bucket: the only bucket from which content is read.
        store: this worker's own connection to S3.
        reports: this worker's own reports to senders and the dead-letter queue.
        mailboxes: the transfer to Dovecot. It and all attributes below are shared by all workers.
    """

    hostname: str
    shard: int
    archive_bucket: str
    store: Store
    reports: NonDelivery
    mailboxes: Transfer
    outside: Forward
    policy: Policy
    directory: DirectorySync
    return_path: ReturnPath
    forward_bounces: ForwardBounces
    locks: KeyedLock
    holds: MailboxHolds
    journal: Journal
    settlement: Settlement
    metrics: Metrics

    def run(self, message: QueueMessage) -> None:
        """Make one attempt for an entry and settle it, exactly once. Never raises."""
        record = b""

        def attempt(in_vain: int) -> list[Disposition]:
            nonlocal record
            made = self._attempt(message, in_vain)
            record = made.record
            return made.found

        retry = attempted("delivery", message, self.holds, attempt, _receipt_id)
        if retry is None:
            self.settlement.delete(message, record)
        else:
            self.settlement.release(message, retry)

    def close(self) -> None:
        """Close this worker's connections."""
        self.store.close()
        self.reports.close()

    def abort(self) -> None:
        """Wake this worker if it is waiting for AWS. For other threads."""
        self.store.abort()

    def _attempt(self, message: QueueMessage, in_vain: int) -> "_Attempted":
        try:
            receipt = read_notification(message.body)
        except NotificationError as error:
            self.reports.dead_letter(message, str(error))
            return _Attempted()
        if isinstance(receipt, SetupNotification):
            maillog.setup_notification(message.queue_id)
            return _Attempted()
        if receipt.bucket != self.archive_bucket:
            reason = f"the bucket {receipt.bucket!r} is not our archive"
            self.reports.dead_letter(message, reason, receipt=receipt)
            return _Attempted()
        action = self.policy.screen(receipt)
        if action is Action.DROP or (action is Action.HOLD and message.replay):
            maillog.dropped(receipt, "virus")
            return _Attempted()
        with self.locks.holding(receipt.message_id):
            return self._act(action, message, receipt, in_vain)

    def _act(
        self, action: Action, message: QueueMessage, receipt: Receipt, in_vain: int
    ) -> "_Attempted":
        try:
            if action is Action.HOLD:
                return _Attempted(self._hold(message, receipt, in_vain))
            return self._deliver(message, receipt, in_vain)
        except TooEarlyError:
            return _Attempted([too_early(each) for each in receipt.envelope.recipients])

    def _directory_for(self, message: QueueMessage, receipt: Receipt) -> Directory:
        """Return the directory with which a message is delivered.

        A replay goes to the host on which its mailbox lives now, and a dead letter that an operator
        puts back goes where its recipient leads now: only this host has the entry, so hosts need
        not agree about it.
        """
        if self.shard and message.redriven:
            return self.directory.current
        if message.replay is None or not self.shard:
            return self.directory.for_mail(receipt.envelope.recipients, receipt.accepted_at)
        directory = self.directory.current
        if directory.home(message.replay.mailbox) == self.shard:
            return directory
        return self.directory.newest_at(message.sent_at)

    def _deliver(self, message: QueueMessage, receipt: Receipt, in_vain: int) -> "_Attempted":
        """Deliver a message to everybody who is owed it."""
        began = time.perf_counter()
        directory = self._directory_for(message, receipt)
        recipients = self._recipients(message, receipt, directory)
        brought_back = _brought_back(message)
        if brought_back and not recipients:
            reason = "the directory does not lead there, or to another host"
            self.reports.dead_letter(message, reason, receipt=receipt, recipient=brought_back)
            return _Attempted()
        if self.shard and not recipients:
            # Other hosts have a copy of the notification, and act on it.
            return _Attempted()
        receives = message.receive_count
        if message.redriven:
            self._reopen(message, receipt, recipients)
            # The journal may have forgotten who has it; Dovecot is asked at a second receive.
            receives += 1
        mail = Mail(
            *(receipt.message_id, receipt.accepted_at, receives, in_vain),
            owed_since=message.owed_since,
            asked_for=message.replay is not None,
        )
        # A replayed message was delivered once, so it is not a loop.
        forged = [
            each.name
            for each in recipients.mailboxes
            if not mail.asked_for and self._is_forged_bounce(each.original)
        ]
        found = self._untold(
            receipt, [*map(unknown_mailbox, recipients.unknown), *map(forged_bounce, forged)]
        )
        mailboxes = tuple(each for each in recipients.mailboxes if each.name not in forged)
        delivered = self._to_mailboxes(mail, receipt, mailboxes, directory)
        found += delivered.dispositions
        if recipients.forwards:
            content = partial(open_stored, self.store, receipt, self.hostname, forwarded=True)
            found += self.outside.forward(mail, receipt, recipients.forwards, directory, content)
        if mail.asked_for:
            # Its sender has long been told the outcome.
            found = [replace(each, quiet=True) for each in found]
        took = _Took(time.perf_counter() - began, mail.age, delivered.octets)
        self._account_for(message, receipt, recipients, found, took)
        return _Attempted(found, self._record(message, receipt, mailboxes))

    def _recipients(
        self, message: QueueMessage, receipt: Receipt, directory: Directory
    ) -> Recipients:
        """Return to whom this host delivers; of what was brought back, only whom it was for."""
        if message.replay is not None:
            maillog.replayed(receipt, _brought_back(message))
            return replayed(message.replay, directory).of_shard(directory, self.shard)
        recipients = resolve(receipt.envelope, directory)
        if message.redriven:
            return recipients.only(message.redriven).brought_to(self.shard)
        return recipients.of_shard(directory, self.shard)

    def _to_mailboxes(
        self,
        mail: Mail,
        receipt: Receipt,
        mailboxes: tuple[Addressee, ...],
        directory: Directory,
    ) -> Transferred:
        """Deliver to those of these mailboxes that are owed the message."""
        unfiltered = self._unfiltered(mail, mailboxes)
        copies = mailbox_copies(
            receipt,
            mailboxes,
            directory,
            self.hostname,
            dmarc_to_junk=self.policy.dmarc_to_junk,
            unfiltered=unfiltered,
            is_replay=mail.asked_for,
            stopped={
                each.name: self.forward_bounces.came_to(each.name)
                for each in mailboxes
                if self.forward_bounces.redirects(each.name)
                and self._known(mail, each) not in (State.DELIVERED, State.ACCOUNTED)
            },
        )
        content = partial(open_stored, self.store, receipt, self.hostname)
        delivered = self.mailboxes.transfer(mail, copies, content)
        for each in delivered.dispositions:
            if each.fate is Fate.DELIVERED and each.recipient in unfiltered:
                maillog.unfiltered(receipt, each.recipient, mail.attempts)
        return delivered

    def _record(
        self, message: QueueMessage, receipt: Receipt, mailboxes: tuple[Addressee, ...]
    ) -> bytes:
        """Return the record of who has the message, or b"" if no mailbox here has it."""
        having = {
            each.name: each.originals
            for each in mailboxes
            if self.journal.state(receipt.message_id, each.name) is State.DELIVERED
        }
        return write_record(Record(having, message.body)) if having else b""

    def _account_for(
        self,
        message: QueueMessage,
        receipt: Receipt,
        recipients: Recipients,
        found: list[Disposition],
        took: "_Took",
    ) -> None:
        """Log, count and report the outcome of a message. A hold is logged where it occurs."""
        if not found:
            maillog.nothing_owed(receipt)
        found = [each for each in found if each.fate is not Fate.HELD]
        if not found:
            return
        maillog.dispositions(
            receipt, found, recipients.original, seconds=took.seconds, octets=took.octets
        )
        self.metrics.dispositions(found, took.age, took.octets)
        failures = [
            Failure(each, recipients.original(each.recipient))
            for each in found
            if each.fate is Fate.FAILED
        ]
        if failures:
            self.reports.report(message, receipt, failures)

    def _hold(self, message: QueueMessage, receipt: Receipt, in_vain: int) -> list[Disposition]:
        """Hold a message with a virus: as a dead letter, with a notice to each mailbox."""
        # Keyed by the entry: one that is put back into the queue unchanged must be held again, not
        # lost.
        kept = f"virus {message.queue_id}"
        # Each host has the notification; one dead letter is enough.
        if self.shard <= 1 and self.journal.state(receipt.message_id, kept) is not State.ACCOUNTED:
            self.reports.dead_letter(message, VIRUS, receipt=receipt)
            self.journal.record([journal_key(receipt.message_id, kept)], State.ACCOUNTED)
        directory = self.directory.for_mail(receipt.envelope.recipients, receipt.accepted_at)
        recipients = resolve(receipt.envelope, directory)
        addressees = recipients.of_shard(directory, self.shard).mailboxes
        mail = Mail(held_id(receipt), receipt.accepted_at, message.receive_count, in_vain)

        def notice(copy: Copy) -> Notice:
            to = next(value for name, value in copy.trace if name == "X-Original-To")
            return Notice(render_held(receipt, to, self.hostname), copy.trace)

        copies = notice_copies(mail.receipt_id, addressees)
        found = self.mailboxes.transfer(mail, copies, notice).dispositions
        maillog.held(receipt, found)
        return found

    def _reopen(self, message: QueueMessage, receipt: Receipt, recipients: Recipients) -> None:
        """Owe a message again whose dead letter was redriven, once for each redrive."""
        mark = f"redriven {message.queue_id}"
        if self.journal.state(receipt.message_id, mark) is State.ACCOUNTED:
            return
        names = (each.name for each in recipients.mailboxes + recipients.forwards)
        for name in {*names, *recipients.unknown, message.redriven or ""}:
            # Recipients who have it keep it; nobody gets it twice.
            if self.journal.state(receipt.message_id, name) in (State.FAILING, State.ACCOUNTED):
                self.journal.record([journal_key(receipt.message_id, name)], State.OWED)
        self.journal.record([journal_key(receipt.message_id, mark)], State.ACCOUNTED)
        maillog.redriven(receipt, message.redriven or "")

    def _unfiltered(self, mail: Mail, mailboxes: Iterable[Addressee]) -> set[str]:
        """Return the mailboxes for which Dovecot has crashed repeatedly on this message."""
        if mail.attempts < UNFILTERED_RECEIVES:
            return set()
        return {each.name for each in mailboxes if self._known(mail, each) is State.INTENDED}

    def _known(self, mail: Mail, addressee: Addressee) -> State | None:
        return self.journal.state(mail.receipt_id, addressee.name)

    def _is_forged_bounce(self, recipient: str) -> bool:
        return self.return_path.verify(recipient) is False

    def _untold(self, receipt: Receipt, failed: Iterable[Disposition]) -> list[Disposition]:
        """Return those of these failures that have not been reported yet."""
        found: list[Disposition] = []
        for each in failed:
            state = self.journal.state(receipt.message_id, each.recipient)
            if state is not State.ACCOUNTED:
                # FAILING: the sender may have been told.
                found.append(replace(each, quiet=each.quiet or state is State.FAILING))
        return found


def _brought_back(message: QueueMessage) -> str:
    """Return for whom an operator has put the message into the queue again; "" if nobody has."""
    if message.replay is not None:
        return message.replay.mailbox or "(none)"
    return message.redriven or ""


def _receipt_id(message: QueueMessage) -> str | None:
    """Return SES's id of the message, for the log."""
    try:
        receipt = read_notification(message.body)
    except NotificationError:
        return None
    return receipt.message_id if isinstance(receipt, Receipt) else None


@dataclass(frozen=True, slots=True)
class _Attempted:
    """The dispositions of all who were still owed the message, and the record of who has it."""

    found: list[Disposition] = field(default_factory=list[Disposition])
    record: bytes = b""


@dataclass(frozen=True, slots=True)
class _Took:
    """The duration of an attempt in seconds, the message's age in seconds, and its octets."""

    seconds: float
    age: float
    octets: int
