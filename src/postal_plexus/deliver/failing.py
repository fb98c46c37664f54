"""What follows when delivery has failed for good: the operator or the sender is told."""

from postal_plexus.deliver import maillog
from postal_plexus.deliver.aws.queue import Queue, QueueMessage
from postal_plexus.deliver.journal import State, journal_key
from postal_plexus.deliver.post import Post
from postal_plexus.mail.disposition import Disposition
from postal_plexus.mail.receipt import Receipt


class Failing:
    """One worker's way to the dead letters."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._queue: Queue | None = None

    def account_for(
        self, message: QueueMessage, receipt: Receipt, failed: list[Disposition], age: float
    ) -> None:
        """Dead-letter what failed for good."""
        del age
        for disposition in failed:
            key = journal_key(receipt.message_id, disposition.recipient)
            self._post.journal.record([key], State.FAILING)
            self.dead_letter(
                message,
                receipt,
                disposition.recipient,
                f"{disposition.status} {disposition.reason}",
            )
            self._post.journal.record([key], State.ACCOUNTED)

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
        maillog.dead_lettered(
            receipt.message_id if receipt else None, message.queue_id, reason, recipient
        )

    def close(self) -> None:
        """Close the connection."""
        if self._queue is not None:
            self._queue.close()


def _printable(text: str) -> str:
    """What SQS takes as an attribute's value: no control characters, at most 1 KB of it here."""
    return "".join(char if char.isprintable() else "?" for char in text)[:1000]
