"""How an attempt ends, and that a hold's count goes with its entry."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from postal_plexus.deliver.aws.errors import AwsError
from postal_plexus.deliver.aws.queue import QueueMessage
from postal_plexus.deliver.mailbox_holds import MailboxHolds
from postal_plexus.deliver.policy import held
from postal_plexus.deliver.retry import attempted
from postal_plexus.deliver.transfer import StoppingError
from postal_plexus.mail.disposition import Disposition, Fate

MESSAGE = QueueMessage("{}", "handle", "entry-1", 1)
DELIVERED = Disposition("ann@example.org", Fate.DELIVERED, "2.0.0", "Saved")


def ending(found: Sequence[Disposition] | Exception) -> Callable[[int], Sequence[Disposition]]:
    def attempt(_in_vain: int) -> Sequence[Disposition]:
        if isinstance(found, Exception):
            raise found
        return found

    return attempt


def test_a_hold_is_counted_until_the_entry_is_settled() -> None:
    """Both queues forget it then: mail's and the events'."""
    holds = MailboxHolds("/nothing", b"")
    for count in range(3):
        assert count == holds.receives_in_vain(MESSAGE.queue_id)
        assert attempted("feedback", MESSAGE, holds, ending([held("ann@example.org")]))
    assert attempted("feedback", MESSAGE, holds, ending([DELIVERED])) is None
    assert 0 == holds.receives_in_vain(MESSAGE.queue_id)


@pytest.mark.parametrize(
    ("failure", "again"),
    [
        (StoppingError(), False),
        (AwsError("SQS", "ServiceUnavailable", "away"), True),
        (ValueError("a bug"), True),
    ],
    ids=["stopping", "aws", "bug"],
)
def test_no_failure_settles_an_entry(
    failure: Exception, again: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    """It comes again, at once when this service stops."""
    seconds = attempted("delivery", MESSAGE, MailboxHolds("/nothing", b""), ending(failure))
    assert seconds is not None
    assert again == (seconds > 0)
    assert again == bool(capfd.readouterr().out)
