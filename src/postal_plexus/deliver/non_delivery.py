"""Report permanent failures: a non-delivery report to the sender, or a dead letter.

A report is sent if `policy.bounce_is_safe` has no objection: one for all recipients of a message
that failed in this attempt, written by SES (RFC 3464). Otherwise, or if SES does not accept it, the
notification goes to the dead-letter queue, with recipient and reason as attributes.

The journal has FAILING before and ACCOUNTED after. If the process dies in between, it is unknown
whether the report was sent. The recipient then becomes a dead letter, so that no sender is told
twice and no failure remains unreported.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from postal_plexus.deliver import maillog
from postal_plexus.deliver.aws.errors import AwsError, ThrottledError
from postal_plexus.deliver.aws.queue import Queue, QueueMessage
from postal_plexus.deliver.aws.sender import BounceSender
from postal_plexus.deliver.journal import Journal, State, journal_key
from postal_plexus.deliver.metrics import Metrics
from postal_plexus.deliver.policy import bounce_is_safe, bounce_type
from postal_plexus.mail.dead_letter import REASON, RECEIPT, RECIPIENT
from postal_plexus.mail.disposition import Disposition
from postal_plexus.mail.envelope import ascii_domain
from postal_plexus.mail.printable import printable
from postal_plexus.mail.receipt import Receipt

_THROTTLED_TRIES = 5
_BOUNCES_APART_SECONDS = 1.05  # SES accepts one a second
# A sender to many unknown addresses must not keep the workers from other messages.
_LONGEST_WAIT = 5.0


class RateLimiter:
    """Limits bounces to one a second, over all threads.

    https://docs.aws.amazon.com/ses/latest/APIReference/API_SendBounce.html
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._next_at = 0.0

    def wait(self, stopping: threading.Event) -> bool:
        """Wait for this thread's turn, or until `stopping` is set.

        Returns:
            False, immediately, if more than five others wait; this thread then has no turn.
        """
        with self._lock:
            now = self._clock()
            turn = max(now, self._next_at)
            if turn - now > _LONGEST_WAIT:
                return False
            self._next_at = turn + _BOUNCES_APART_SECONDS
        stopping.wait(turn - now)
        return True


@dataclass(frozen=True, slots=True)
class Failure:
    """A permanent failure, and the envelope recipient that the sender knows."""

    disposition: Disposition
    original: str


@dataclass(slots=True, kw_only=True)
class NonDelivery:
    """One worker's reports to senders and to the dead-letter queue.

    Attributes:
        dead_letters: creates the dead-letter queue, with this worker's own connection to it.
        sender: creates this worker's own connection to SES. Both are created when first needed.
        hostname: the reporting MTA in the report.
        rate: shared by all workers.
        stopping: set when the service stops.
    """

    dead_letters: Callable[[], Queue]
    sender: Callable[[], BounceSender]
    hostname: str
    journal: Journal
    metrics: Metrics
    rate: RateLimiter
    stopping: threading.Event
    _queue: Queue | None = field(default=None, init=False)
    _sender: BounceSender | None = field(default=None, init=False)

    def report(self, message: QueueMessage, receipt: Receipt, failures: Sequence[Failure]) -> None:
        """Report each failure once.

        Raises:
            AwsError: not all could be reported; those that were are recorded.
        """
        objection = bounce_is_safe(receipt, time.time() - receipt.accepted_at)
        loud = [] if objection else [each for each in failures if not each.disposition.quiet]
        if loud and self._bounce(receipt, loud):
            failures = [each for each in failures if each.disposition.quiet]
        for each in failures:
            recipient = each.disposition.recipient
            key = [journal_key(receipt.message_id, recipient)]
            self.journal.record(key, State.FAILING)
            reason = f"{each.disposition.status} {each.disposition.reason}"
            self.dead_letter(message, reason, receipt=receipt, recipient=recipient)
            self.journal.record(key, State.ACCOUNTED)

    def dead_letter(
        self,
        message: QueueMessage,
        reason: str,
        *,
        receipt: Receipt | None = None,
        recipient: str = "",
    ) -> None:
        """Move the entry to the dead-letter queue. Raise AwsError."""
        if self._queue is None:
            self._queue = self.dead_letters()
        receipt_id = receipt.message_id if receipt else ""
        self._queue.send(
            message.body,
            {
                REASON: printable(reason, 1000),
                RECIPIENT: printable(recipient, 1000),
                RECEIPT: receipt_id,
            },
        )
        self.metrics.dead_lettered()
        maillog.dead_lettered(receipt, message.queue_id, reason, recipient or None)

    def close(self) -> None:
        """Close the connections."""
        if self._queue is not None:
            self._queue.close()
        if self._sender is not None:
            self._sender.close()

    def _bounce(self, receipt: Receipt, failures: Sequence[Failure]) -> bool:
        """Return whether SES has accepted a bounce for all of them. Raise ThrottledError."""
        keys = [journal_key(receipt.message_id, each.disposition.recipient) for each in failures]
        fields = bounce_fields(receipt, failures, self.hostname)
        if self._sender is None:
            self._sender = self.sender()
        for attempt in range(_THROTTLED_TRIES):
            if not self.rate.wait(self.stopping):
                why = "too many bounces come before this one"
                raise ThrottledError("SendBounce", "Postponed", why)
            self.journal.record(keys, State.FAILING)
            try:
                self._sender.send(fields)
            except ThrottledError as error:
                self.journal.record(keys, State.OWED)  # SES certainly has not accepted it
                maillog.bounce_refused(receipt, str(error))
                if attempt == _THROTTLED_TRIES - 1:
                    return False
            except AwsError as error:
                maillog.bounce_refused(receipt, str(error))
                return False
            else:
                break
        self.journal.record(keys, State.ACCOUNTED)
        maillog.bounced(receipt, [each.original for each in failures])
        return True


def bounce_fields(receipt: Receipt, failures: Sequence[Failure], hostname: str) -> dict[str, str]:
    """Return the parameters of SendBounce. Pure.

    https://docs.aws.amazon.com/ses/latest/APIReference/API_SendBounce.html
    """
    domain = ascii_domain(failures[0].original.rpartition("@")[2])
    fields = {
        "OriginalMessageId": receipt.message_id,
        "BounceSender": f"mailer-daemon@{domain}",
        "MessageDsn.ReportingMta": f"dns; {hostname}",
    }
    for number, each in enumerate(failures, 1):
        member = f"BouncedRecipientInfoList.member.{number}"
        disposition = each.disposition
        fields |= {
            f"{member}.Recipient": each.original,
            f"{member}.BounceType": bounce_type(disposition.status),
            f"{member}.RecipientDsnFields.FinalRecipient": f"rfc822; {each.original}",
            f"{member}.RecipientDsnFields.Action": "failed",
            f"{member}.RecipientDsnFields.Status": disposition.status,
            f"{member}.RecipientDsnFields.DiagnosticCode": (
                f"smtp; {printable(disposition.reason, 400)}"
            ),
        }
    return fields
