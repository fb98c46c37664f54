"""Turn SES's bounce, complaint and delay events into notices in the sender's mailbox.

A notice is transferred like a message, with the event's identity in place of a receipt, so it
reaches each mailbox exactly once. An event that cannot be parsed, or whose sender has no mailbox
here, becomes a dead letter. Feedback about a forward goes to the postmaster, whose address is its
return path, and is counted (`forward_bounces`). Events that need no notice, such as a delivery, are
logged.
"""

import threading
from dataclasses import dataclass
from functools import partial

from postal_plexus.deliver import maillog
from postal_plexus.deliver.aws.errors import AwsError
from postal_plexus.deliver.aws.queue import QueueMessage
from postal_plexus.deliver.circuit_breaker import CircuitBreaker
from postal_plexus.deliver.content import Notice
from postal_plexus.deliver.directory_sync import DirectorySync, TooEarlyError
from postal_plexus.deliver.forward_bounces import ForwardBounces, bounced_addresses
from postal_plexus.deliver.intake import Receiver
from postal_plexus.deliver.journal import Journal, State, journal_key
from postal_plexus.deliver.mailbox_holds import MailboxHolds
from postal_plexus.deliver.metrics import Metrics
from postal_plexus.deliver.non_delivery import NonDelivery
from postal_plexus.deliver.policy import is_held, too_early
from postal_plexus.deliver.recipients import resolve
from postal_plexus.deliver.retry import attempted
from postal_plexus.deliver.return_path import ReturnPath
from postal_plexus.deliver.trace_fields import Copy
from postal_plexus.deliver.transfer import Mail, Transfer
from postal_plexus.directory import Directory
from postal_plexus.mail.disposition import Disposition, Fate
from postal_plexus.mail.envelope import Envelope, EnvelopeError
from postal_plexus.mail.feedback import Arrival, Feedback, Remark, read_event
from postal_plexus.mail.feedback_notice import render
from postal_plexus.mail.receipt import NotificationError


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackLoop:
    """The thread of the events queue.

    Attributes:
        receiver, reports: this thread's own connections.
        breaker: open while Dovecot is unavailable.
        mailboxes: the transfer to Dovecot.
    """

    receiver: Receiver
    reports: NonDelivery
    breaker: CircuitBreaker
    mailboxes: Transfer
    directory: DirectorySync
    holds: MailboxHolds
    journal: Journal
    return_path: ReturnPath
    forward_bounces: ForwardBounces
    metrics: Metrics
    hostname: str
    shard: int
    stopping: threading.Event

    def run(self) -> None:
        """Turn events into notices until the service stops."""
        while not self.stopping.is_set():
            if not self.directory.wait_available(0.5):
                continue
            if not self.breaker.closed:
                self.stopping.wait(0.5)
                continue
            for message in self.receiver.receive():
                self._handle(message)
        self.receiver.queue.close()
        self.reports.close()

    def abort(self) -> None:
        """Wake the thread. For other threads."""
        self.receiver.queue.abort()

    def _handle(self, message: QueueMessage) -> None:
        retry = attempted("feedback", message, self.holds, partial(self._attempt, message))
        try:
            if retry is None:
                self.receiver.queue.delete([message.receipt_handle])
            else:
                self.receiver.queue.change_visibility([(message.receipt_handle, retry)])
        except AwsError as error:
            maillog.unsettled("feedback", str(error), 1)

    def _attempt(self, message: QueueMessage, in_vain: int) -> list[Disposition]:
        """Return the outcome of an event's notice. Raise AwsError, StoppingError."""
        try:
            return self._notify(message, in_vain)
        except TooEarlyError:
            return [too_early("")]

    def _notify(self, message: QueueMessage, in_vain: int) -> list[Disposition]:
        try:
            feedback = read_event(message.body)
            if isinstance(feedback, Arrival):
                maillog.arrived(feedback)
                return []
            if isinstance(feedback, Remark):
                maillog.event_remarked(message.queue_id, feedback.event, feedback.message_id)
                return []
            envelope = Envelope("", (feedback.sender,))
        except (NotificationError, EnvelopeError) as error:
            self.reports.dead_letter(message, str(error))
            return []
        directory = self.directory.current
        if self.shard:
            directory = self.directory.for_mail(envelope.recipients, feedback.happened_at)
        recipients = resolve(envelope, directory)
        addressees = recipients.of_shard(directory, self.shard).mailboxes
        self._count(feedback, directory, {each.name for each in addressees})
        if not addressees and (recipients.mailboxes or self.shard > 1):
            # Another host's: it has a copy of the event.
            return []
        if not addressees:
            maillog.feedback(feedback, [])
            reason = "feedback on mail whose sender has no mailbox here"
            self.reports.dead_letter(message, reason, recipient=feedback.sender)
            return []
        mail = Mail(feedback.feedback_id, feedback.happened_at, message.receive_count, in_vain)
        copy = Copy("", (("X-Plexus-Receipt", feedback.feedback_id),), addressees)
        notice = render(feedback, feedback.sender, self.hostname)
        found = self.mailboxes.transfer(
            mail, [copy], lambda copy: Notice(notice, copy.trace)
        ).dispositions
        if not is_held(found):
            maillog.feedback(feedback, found)
        self._account_for(message, found)
        return found

    def _account_for(self, message: QueueMessage, found: list[Disposition]) -> None:
        for failed in (each for each in found if each.fate is Fate.FAILED):
            reason = f"{failed.status} {failed.reason}"
            self.reports.dead_letter(message, reason, recipient=failed.recipient)

    def _count(self, feedback: Feedback, directory: Directory, mailboxes: set[str]) -> None:
        """Count an event about a forward or a redirect once, however often it is received."""
        bounced = bounced_addresses(feedback)
        if not bounced:
            return
        # A redirect is sent by the mailbox whose filter it is.
        is_forward = self.return_path.verify(feedback.sender)
        owner = "" if is_forward else feedback.sent_on_by
        if not is_forward and owner not in mailboxes:
            return
        key = journal_key(feedback.feedback_id, "")
        if self.journal.look_up(key) is not None:
            return
        self.journal.record([key], State.ACCOUNTED)
        for destination in bounced:
            self.metrics.forward_bounced()
            if self.forward_bounces.bounced(destination, directory, owner):
                maillog.forward_stopped(destination, feedback.sender)
