"""What SES says of sent mail, from the events queue to the sender's mailbox, one event at a time.

A notice is handed over like a mail, with the event's own identity in place of a receipt: it reaches
each mailbox exactly once. An event that cannot be read, or whose sender has no mailbox here, goes
to the dead letters; feedback on a forward goes to the postmaster, whose address signed its return
path, and is counted (`forward_bounces`). An event that nobody needs to hear of is logged.
"""

from postal_plexus.deliver import maillog
from postal_plexus.deliver.addressing import address
from postal_plexus.deliver.aws.errors import AwsError
from postal_plexus.deliver.aws.queue import Queue, QueueMessage
from postal_plexus.deliver.aws.session import full_jitter, jitter
from postal_plexus.deliver.failing import Failing
from postal_plexus.deliver.failure_policy import retry_after
from postal_plexus.deliver.forward_bounces import bounced_addresses
from postal_plexus.deliver.handover import Consignment, Handover, Stopping
from postal_plexus.deliver.journal import State, journal_key
from postal_plexus.deliver.notice import Notice
from postal_plexus.deliver.post import Post
from postal_plexus.deliver.settlement import VISIBILITY_SECONDS
from postal_plexus.mail.disposition import Disposition, Fate
from postal_plexus.mail.envelope import Envelope, EnvelopeError
from postal_plexus.mail.feedback import Feedback, Remark, read_event
from postal_plexus.mail.feedback_notice import render
from postal_plexus.mail.receipt import NotificationError

_LONGEST_WAIT = 60.0


class FeedbackReceiver:
    """The events queue's thread."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._queue = Queue(post.account, post.sqs_signer, post.config.events_queue_url)
        self._failing = Failing(post)
        self._handover = Handover(post, post.dovecot)

    def run(self) -> None:
        """Until the service stops."""
        post = self._post
        failures = 0
        while not post.stopping.is_set():
            if not post.follower.wait_available(0.5):
                continue
            gate = post.dovecot.gate
            if gate is not None and not gate.open:
                post.stopping.wait(0.5)
                continue
            try:
                messages = self._queue.receive(VISIBILITY_SECONDS)
                failures = 0
            except AwsError as error:
                failures += 1
                if failures == 1 and not post.stopping.is_set():
                    maillog.aws_down("ReceiveMessage (events)", str(error))
                post.stopping.wait(full_jitter(failures, 0.2, _LONGEST_WAIT))
                continue
            for message in messages:
                self._settle(message)
        self._queue.close()
        self._failing.close()

    def abort(self) -> None:
        """Wake the thread. For other threads."""
        self._queue.abort()

    def _settle(self, message: QueueMessage) -> None:
        retry: int | None = retry_after(message.receive_count, jitter())
        try:
            if self._done(message):
                retry = None
        except Stopping:
            retry = 0
        except AwsError as error:
            maillog.postponed(message.queue_id, retry or 0, str(error))
        except Exception as error:  # noqa: BLE001  (a fault of ours must not lose the event)
            maillog.crashed("feedback", error)
        try:
            if retry is None:
                self._queue.delete([message.receipt_handle])
            else:
                self._queue.change_visibility([(message.receipt_handle, retry)])
        except AwsError as error:
            maillog.unsettled("feedback", str(error), 1)

    def _done(self, message: QueueMessage) -> bool:
        """Whether nothing is owed for this event any more. Raises AwsError, Stopping."""
        try:
            feedback = read_event(message.body)
            if isinstance(feedback, Remark):
                maillog.event_remarked(message.queue_id, feedback.event, feedback.message_id)
                return True
            envelope = Envelope("", (feedback.sender,))
        except (NotificationError, EnvelopeError) as error:
            self._failing.dead_letter(message, None, None, str(error))
            return True
        addressing = address(envelope, self._post.follower.current)
        self._count(feedback, {each.name for each in addressing.mailboxes})
        if not addressing.mailboxes:
            reason = "feedback on mail whose sender has no mailbox here"
            self._failing.dead_letter(message, None, feedback.sender, reason)
            return True
        found: list[Disposition] = []
        consignment = Consignment(
            feedback.feedback_id, "", feedback.happened_at, message.receive_count
        )
        with self._post.twins.alone(feedback.feedback_id):
            self._handover.hand_over(
                consignment, addressing.mailboxes, lambda _: self._notice(feedback), found
            )
        maillog.feedback(
            feedback.feedback_id, feedback.event, feedback.reason, feedback.sender, found
        )
        for failed in (each for each in found if each.fate is Fate.FAILED):
            reason = f"{failed.status} {failed.reason}"
            self._failing.dead_letter(message, None, failed.recipient, reason)
        return all(each.fate is not Fate.DEFERRED for each in found)

    def _count(self, feedback: Feedback, mailboxes: set[str]) -> None:
        """Once for each event about a forward or a redirect, however often it comes."""
        post = self._post
        bounced = bounced_addresses(feedback)
        if not bounced:
            return
        # What a redirect is sent by is the mailbox whose filter it is.
        is_forward = post.forward_seal.is_sealed(feedback.sender)
        owner = "" if is_forward else feedback.sent_on_by
        if not is_forward and owner not in mailboxes:
            return
        key = journal_key(feedback.feedback_id, "")
        if post.journal.look_up(key) is not None:
            return
        post.journal.record([key], State.ACCOUNTED)
        for destination in bounced:
            post.metrics.forward_bounced()
            if post.forward_bounces.bounced(destination, post.follower.current, owner):
                maillog.forward_stopped(destination, feedback.sender)

    def _notice(self, feedback: Feedback) -> Notice:
        octets = render(feedback, feedback.sender, self._post.config.hostname)
        return Notice(octets, (("X-Plexus-Receipt", feedback.feedback_id),))
