"""Forwards: a mail for addresses outside, handed to Postfix, which sends it on through SES.

One transaction for each address, by SMTP on Postfix's unix socket. Postfix cannot be asked whether
it has a mail, so a forward whose outcome is unknown is sent again: at least once. Spam is not
forwarded: it would be sent in our name. A header block of more than 256 KB is refused.
"""

from collections.abc import Iterator

from postal_plexus.deliver.addressing import Addressee
from postal_plexus.deliver.aws.http import Answer
from postal_plexus.deliver.aws.store import Store
from postal_plexus.deliver.handover import Consignment, Handover
from postal_plexus.deliver.post import Post
from postal_plexus.mail.content import LineEnds
from postal_plexus.mail.disposition import Disposition, Fate
from postal_plexus.mail.envelope import wire_sender
from postal_plexus.mail.forward import field_name, forward_header, split_fields
from postal_plexus.mail.receipt import Receipt
from postal_plexus.mail.verdicts import Verdict

_CHUNK = 64 * 1024
_LONGEST_HEADER = 256 * 1024


class HeaderTooLong(Exception):
    """The header block does not end in time."""


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
            consignment = Consignment(
                receipt.message_id,
                self._post.forward_seal.sender(addressee.forwarder.rpartition("@")[2]),
                receipt.accepted_at,
                receive_count,
            )
            try:
                self._handover.hand_over(
                    consignment,
                    (addressee,),
                    lambda _, to=addressee: self._open(receipt, to),
                    found,
                )
            except HeaderTooLong:
                reason = "header block too long to forward"
                found.append(Disposition(addressee.name, Fate.FAILED, "5.3.4", reason))

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
        return ForwardContent(
            answer, addressee.forwarder, wire_sender(receipt.envelope.sender), addressee.name
        )


class ForwardContent:
    """A content with the header block of a forward; streamed behind it."""

    def __init__(self, answer: Answer, forwarder: str, author: str, name: str) -> None:
        self._answer = answer
        self._ends = LineEnds()
        self.length = answer.length
        self.received = 0
        self.delivered_to: set[str] = set()
        self._first = self._header(forwarder, author, name)

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
        chunk = self._ends.feed(self._answer.read(_CHUNK))
        return chunk + self._ends.finish() if self._answer.over else chunk

    def _header(self, forwarder: str, author: str, name: str) -> bytes:
        octets = self._read()
        while (end := _block_end(octets)) < 0 and not self._answer.over:
            if len(octets) > _LONGEST_HEADER:
                raise HeaderTooLong
            octets += self._read()
        block, rest = (octets[:end], octets[end:]) if end >= 0 else (octets, b"")
        fields = split_fields(block)
        for field in fields:
            match field_name(field):
                case b"received":
                    self.received += 1
                case b"delivered-to":
                    address = field.partition(b":")[2].strip().strip(b"<>").lower()
                    # A forward loops when it comes back to the alias that forwarded it.
                    if address == forwarder.encode():
                        self.delivered_to.add(name)
                case _:
                    pass
        return forward_header(fields, forwarder, author) + (rest or b"\r\n")


def _block_end(octets: bytes) -> int:
    """Where the blank line begins that ends the header block; -1 if it is not there."""
    if octets.startswith(b"\r\n"):
        return 0
    end = octets.find(b"\r\n\r\n")
    return end + 2 if end >= 0 else -1
