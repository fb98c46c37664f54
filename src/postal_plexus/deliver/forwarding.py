"""Forwards: a mail for addresses outside, handed to Postfix, which sends it on through SES.

One transaction for each address, by SMTP on Postfix's unix socket. The content goes as it came,
below trace headers that say on whose behalf; how it must look to leave is decided on the way out,
in Postfix's container (`mail.outgoing`), which answers for each mail. Postfix cannot be asked
whether it has a mail, so a forward whose outcome is unknown is sent again: at least once. Spam is
not forwarded: it would be sent in our name. Nor is what goes to an address from which too much came
back (`forward_bounces`). A header block of more than 256 KB is refused.
"""

from collections.abc import Iterator

from postal_plexus.deliver.addressing import Addressee
from postal_plexus.deliver.aws.http import Answer
from postal_plexus.deliver.aws.store import Store
from postal_plexus.deliver.handover import Consignment, Handover
from postal_plexus.deliver.journal import State, journal_key
from postal_plexus.deliver.post import Post
from postal_plexus.mail.content import HeaderBlock, HeaderBound, HeaderTooLong, LineEnds
from postal_plexus.mail.disposition import Disposition, Fate
from postal_plexus.mail.envelope import wire_sender
from postal_plexus.mail.receipt import Receipt
from postal_plexus.mail.verdicts import Verdict

_CHUNK = 64 * 1024
_BOUND = HeaderBound(octets=256 * 1024, fields=10_000)


class Forwarding:
    """One worker's way to Postfix."""

    def __init__(self, post: Post, store: Store) -> None:
        self._post = post
        self._store = store
        self._handover = Handover(post, post.postfix)

    def forward(
        self,
        receipt: Receipt,
        receive_count: int,
        forwards: tuple[Addressee, ...],
        found: list[Disposition],
    ) -> None:
        """Send the mail on to each; dispositions go into `found`. Raises AwsError."""
        for addressee in forwards:
            if objection := self._objection(receipt, addressee):
                found.append(
                    Disposition(addressee.name, Fate.FAILED, "5.7.1", objection, quiet=True)
                )
                continue
            if self._stopped(receipt, addressee):
                # The sender knows the alias only: where it leads is not told.
                reason = "mail to this address cannot be passed on at present"
                found.append(Disposition(addressee.name, Fate.FAILED, "5.2.1", reason))
                continue
            consignment = Consignment(
                receipt.message_id,
                self._post.forward_seal.sender(addressee.forwarder.rpartition("@")[2]),
                receipt.accepted_at,
                receive_count,
            )
            taken: list[Disposition] = []
            try:
                self._handover.hand_over(
                    consignment,
                    (addressee,),
                    lambda _, to=addressee: self._open(receipt, to),
                    taken,
                )
            except HeaderTooLong as error:
                taken.append(Disposition(addressee.name, Fate.FAILED, "5.3.4", str(error)))
            found += map(self._forwarded, taken)

    def _forwarded(self, disposition: Disposition) -> Disposition:
        """What Postfix has taken is queued there; what becomes of it, SES tells later."""
        if disposition.fate is not Fate.DELIVERED:
            # A loop is never answered: the answer would go round as well.
            return disposition._replace(quiet=disposition.quiet or disposition.status == "5.4.6")
        self._post.forward_bounces.sent(disposition.recipient)
        return disposition._replace(fate=Fate.FORWARDED)

    def _stopped(self, receipt: Receipt, addressee: Addressee) -> bool:
        post = self._post
        entry = post.journal.look_up(journal_key(receipt.message_id, addressee.name))
        if entry is not None and entry.state is not State.OWED:
            return False  # perhaps sent or told already: the handover knows what that means
        return post.forward_bounces.stopped(addressee.name, post.follower.current)

    def _objection(self, receipt: Receipt, addressee: Addressee) -> str:
        if self._post.forward_seal.is_sealed(addressee.original) is not None:
            return "a bounce of a forward is not forwarded"
        if receipt.verdicts.spam is Verdict.FAIL:
            return "spam is not forwarded"
        if receipt.verdicts.virus is Verdict.FAIL:
            return "a virus is not forwarded"
        return ""

    def _open(self, receipt: Receipt, addressee: Addressee) -> "ForwardContent":
        answer = self._store.open(receipt.bucket, receipt.key)
        return ForwardContent(answer, receipt, addressee, self._post.config.hostname)


class ForwardContent:
    """A content as it came, below what the way out must know of it; streamed behind its header."""

    def __init__(
        self, answer: Answer, receipt: Receipt, addressee: Addressee, hostname: str
    ) -> None:
        self._answer = answer
        self._ends = LineEnds()
        self.length = answer.length
        forwarder = addressee.forwarder
        self._header = HeaderBlock(
            (
                # By this one's right it leaves (`mail.outgoing.rules`), so it must be the first.
                ("X-Plexus-Forwarder", forwarder),
                ("X-Plexus-Receipt", receipt.message_id),
                ("X-Plexus-Verdicts", receipt.verdicts.header_value()),
                ("Return-Path", f"<{wire_sender(receipt.envelope.sender)}>"),
                ("Delivered-To", forwarder),
            ),
            hostname,
            _BOUND,
        )
        octets = bytearray(self._read())
        while not self._header.complete and not self._answer.over:
            octets += self._read()
        self._first = bytes(octets)
        self.received = self._header.received
        # A forward loops when it comes back to the alias that forwarded it.
        loops = forwarder in self._header.delivered_to
        self.delivered_to = {addressee.name} if loops else set[str]()

    def chunks(self) -> Iterator[tuple[bytes, bool]]:
        """(chunk, whether it is the last). To be taken once."""
        yield self._first, self._answer.over
        while not self._answer.over:
            chunk = self._read()
            if chunk or self._answer.over:
                yield chunk, self._answer.over

    def close(self) -> None:
        """Give up what was not read."""
        self._answer.discard()

    def _read(self) -> bytes:
        chunk = self._header.feed(self._ends.feed(self._answer.read(_CHUNK)))
        if not self._answer.over:
            return chunk
        return chunk + self._header.feed(self._ends.finish()) + self._header.finish()
