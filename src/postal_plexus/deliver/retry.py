"""End an attempt for a queue entry: nothing is owed any more, or it is retried later.

An attempt that fails because of AWS or a bug is retried too, so neither loses a message.
"""

from collections.abc import Callable, Sequence

from postal_plexus.deliver import maillog
from postal_plexus.deliver.aws.errors import AwsError
from postal_plexus.deliver.aws.queue import QueueMessage
from postal_plexus.deliver.aws.session import jitter
from postal_plexus.deliver.mailbox_holds import MailboxHolds
from postal_plexus.deliver.policy import is_held, next_attempt, retry_after
from postal_plexus.deliver.transfer import StoppingError
from postal_plexus.mail.disposition import Disposition


def attempted(
    what: str,
    message: QueueMessage,
    holds: MailboxHolds,
    attempt: Callable[[int], Sequence[Disposition]],
    receipt_id: Callable[[QueueMessage], str | None] = lambda _: None,
) -> int | None:
    """Make an attempt; return the seconds until the next one, None if nothing is owed.

    Args:
        what: the kind of work, for the log of a bug.
        message: the entry.
        holds: counts the receives deferred by holds, and forgets them with the entry.
        attempt: gets that number; returns the dispositions.
        receipt_id: returns SES's id of the message, for the log.
    """
    in_vain = holds.receives_in_vain(message.queue_id)
    later = retry_after(message.receive_count - in_vain, jitter())
    try:
        found = attempt(in_vain)
        retry = next_attempt(found, message.receive_count, in_vain, jitter())
    except StoppingError:
        return 0
    except AwsError as error:
        maillog.postponed(message.queue_id, later, str(error), receipt_id(message))
        return later
    except Exception as error:  # noqa: BLE001  (a bug must not lose the mail)
        maillog.crashed(what, error, receipt_id(message))
        return later
    if is_held(found):
        holds.received_in_vain(message.queue_id)
    elif retry is None:
        holds.forget(message.queue_id)
    return retry
