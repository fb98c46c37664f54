"""Forward a message: pass it to Postfix, which sends it to outside addresses through SES.

Each address gets one transaction, by SMTP on Postfix's unix socket. The content is sent as it
arrived, below trace headers that say on whose behalf. How it must be rewritten to leave is decided
in Postfix's container (`mail.outgoing`), which replies to each message. Postfix cannot be asked
whether it has a message, so a forward with an unknown outcome is sent again: at least once. Spam is
not forwarded, because it would be sent in our name. Nor is mail to an address from which too much
bounced (`forward_bounces`). A header block of more than 256 KB or 10,000 fields is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass

from postal_plexus.deliver.content import Content
from postal_plexus.deliver.forward_bounces import ForwardBounces
from postal_plexus.deliver.journal import Journal, State
from postal_plexus.deliver.policy import forward_stopped, not_forwarded, queued
from postal_plexus.deliver.recipients import Addressee
from postal_plexus.deliver.return_path import ReturnPath
from postal_plexus.deliver.trace_fields import Copy, forward_copy
from postal_plexus.deliver.transfer import Mail, Transfer
from postal_plexus.directory import Directory
from postal_plexus.mail.disposition import Disposition, Fate
from postal_plexus.mail.receipt import Receipt


@dataclass(frozen=True, slots=True)
class Forward:
    """The transfer to outside addresses. Threads share it.

    Attributes:
        journal: what was intended and how it ended.
        transfer: the transfer to Postfix.
        return_path: signs the envelope sender of each forward.
        bounces: which addresses keep bouncing.
    """

    journal: Journal
    transfer: Transfer
    return_path: ReturnPath
    bounces: ForwardBounces

    def forward(
        self,
        mail: Mail,
        receipt: Receipt,
        addressees: tuple[Addressee, ...],
        directory: Directory,
        open_content: Callable[[Copy], Content],
    ) -> list[Disposition]:
        """Forward the message to each. Return a disposition for each who is still owed it.

        Raises:
            StoppingError: as `Transfer.transfer`.
        """
        refused: list[Disposition] = []
        copies: list[Copy] = []
        for addressee in addressees:
            state = self.journal.state(mail.receipt_id, addressee.name)
            if state in (State.DELIVERED, State.ACCOUNTED):
                continue
            refusal = self._refusal(receipt, addressee, directory, state)
            if refusal is not None:
                refused.append(refusal)
            else:
                return_path = self.return_path.sign(addressee.forwarder.rpartition("@")[2])
                copies.append(forward_copy(receipt, addressee, return_path))
        found = self.transfer.transfer(mail, copies, open_content).dispositions
        for taken in found:
            if taken.fate is Fate.DELIVERED:
                self.bounces.sent(taken.recipient)
        return refused + [queued(each) for each in found]

    def _refusal(
        self, receipt: Receipt, addressee: Addressee, directory: Directory, state: State | None
    ) -> Disposition | None:
        to_return_path = self.return_path.verify(addressee.original) is not None
        refusal = not_forwarded(receipt, addressee.name, to_return_path=to_return_path)
        # A forward that may have been sent or reported already is not stopped; the transfer knows
        # more.
        fresh = state in (None, State.OWED)
        if refusal is None and fresh and self.bounces.stopped(addressee.name, directory):
            return forward_stopped(addressee.name)
        return refusal
