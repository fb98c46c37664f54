"""What follows when delivery has failed for good: the sender is told, or the operator is.

A bounce goes out where `failure_policy.bounce_is_safe` has no objection: one for all recipients of
a mail that failed in this attempt, written by SES (RFC 3464). Else, or when SES does not take it,
the notification goes to the dead letters, whole, with recipient and reason as attributes.

The journal has FAILING before and ACCOUNTED after. A process that dies in between leaves it unknown
whether the bounce went out; the recipient then goes to the dead letters, so that no sender is told
twice and no failure is untold. Raises AwsError when the dead letters cannot be reached.
"""

import time
from typing import NamedTuple

from postal_plexus.deliver import maillog
from postal_plexus.deliver.aws.errors import AwsError, Throttled
from postal_plexus.deliver.aws.queue import Queue, QueueMessage
from postal_plexus.deliver.aws.sender import BounceSender
from postal_plexus.deliver.failure_policy import bounce_is_safe, bounce_type
from postal_plexus.deliver.journal import State, journal_key
from postal_plexus.deliver.post import Post
from postal_plexus.mail.disposition import Disposition
from postal_plexus.mail.envelope import ascii_domain
from postal_plexus.mail.receipt import Receipt

_THROTTLED_TRIES = 5


class Failed(NamedTuple):
    """A failure, and the envelope recipient that the sender knows."""

    disposition: Disposition
    original: str


class Failing:
    """One worker's way to the senders and to the dead letters."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._queue: Queue | None = None
        self._sender: BounceSender | None = None

    def account_for(self, message: QueueMessage, receipt: Receipt, failed: list[Failed]) -> None:
        """Tell of each failure once. Raises AwsError; what was told by then is recorded."""
        objection = bounce_is_safe(receipt, time.time() - receipt.accepted_at)
        loud = [] if objection else [each for each in failed if not each.disposition.quiet]
        if loud and self._bounce(receipt, loud):
            failed = [each for each in failed if each.disposition.quiet]
        for each in failed:
            key = [journal_key(receipt.message_id, each.disposition.recipient)]
            self._post.journal.record(key, State.FAILING)
            reason = f"{each.disposition.status} {each.disposition.reason}"
            self.dead_letter(message, receipt, each.disposition.recipient, reason)
            self._post.journal.record(key, State.ACCOUNTED)

    def dead_letter(
        self, message: QueueMessage, receipt: Receipt | None, recipient: str | None, reason: str
    ) -> None:
        """Put the entry into the dead-letter queue, whole. Raises AwsError."""
        if self._queue is None:
            config = self._post.config
            self._queue = Queue(
                self._post.account, self._post.sqs_signer, config.dead_letter_queue_url
            )
        self._queue.send(
            message.body,
            {
                "Reason": _printable(reason),
                "Recipient": _printable(recipient or ""),
                "Receipt": receipt.message_id if receipt else "",
            },
        )
        self._post.metrics.dead_lettered()
        receipt_id = receipt.message_id if receipt else None
        maillog.dead_lettered(receipt_id, message.queue_id, reason, recipient)

    def close(self) -> None:
        """Close the connections."""
        if self._queue is not None:
            self._queue.close()
        if self._sender is not None:
            self._sender.close()

    def _bounce(self, receipt: Receipt, failed: list[Failed]) -> bool:
        """Whether SES has taken a bounce for all of them."""
        post = self._post
        keys = [journal_key(receipt.message_id, each.disposition.recipient) for each in failed]
        fields = bounce_fields(receipt, failed, post.config.hostname)
        if self._sender is None:
            self._sender = BounceSender(post.account)
        for attempt in range(_THROTTLED_TRIES):
            if not post.bounce_pace.wait(post.stopping):
                raise Throttled("SendBounce", "Postponed", "too many bounces come before this one")
            post.journal.record(keys, State.FAILING)
            try:
                self._sender.send(fields)
            except Throttled as error:
                post.journal.record(keys, State.OWED)  # SES surely has not taken it
                maillog.bounce_refused(receipt, str(error))
                if attempt == _THROTTLED_TRIES - 1:
                    return False
            except AwsError as error:
                maillog.bounce_refused(receipt, str(error))
                return False
            else:
                break
        post.journal.record(keys, State.ACCOUNTED)
        maillog.bounced(receipt, [each.original for each in failed])
        return True


def bounce_fields(receipt: Receipt, failed: list[Failed], hostname: str) -> dict[str, str]:
    """SendBounce's parameters. Pure."""
    domain = ascii_domain(failed[0].original.rpartition("@")[2])
    fields = {
        "OriginalMessageId": receipt.message_id,
        "BounceSender": f"mailer-daemon@{domain}",
        "MessageDsn.ReportingMta": f"dns; {hostname}",
    }
    for number, each in enumerate(failed, 1):
        member = f"BouncedRecipientInfoList.member.{number}"
        disposition = each.disposition
        fields |= {
            f"{member}.Recipient": each.original,
            f"{member}.BounceType": bounce_type(disposition.status),
            f"{member}.RecipientDsnFields.FinalRecipient": f"rfc822; {each.original}",
            f"{member}.RecipientDsnFields.Action": "failed",
            f"{member}.RecipientDsnFields.Status": disposition.status,
            f"{member}.RecipientDsnFields.DiagnosticCode": (
                f"smtp; {_printable(disposition.reason)[:400]}"
            ),
        }
    return fields


def _printable(text: str) -> str:
    """One line without control characters, of at most 1,000 characters."""
    return "".join(char if char.isprintable() else " " for char in text)[:1000]
