"""Who is to have a mail: the envelope's recipients, resolved by the directory. Pure.

Each mailbox and each address outside comes once, however many recipients lead to it; the first one
decides about the subaddress. A recipient that is no address, or that nobody has, is unknown; it
costs no other one the mail.
"""

from typing import NamedTuple

from postal_plexus.directory import Directory, without_subaddress
from postal_plexus.directory.address import Address, AddressError, envelope_parts
from postal_plexus.mail.envelope import RawEnvelope, is_address


class Addressee(NamedTuple):
    """One mailbox, or one address outside.

    `name` is what it is known by in the journal: the mailbox without a subaddress, or the address
    outside. `address` is where the mail goes; `originals` are the envelope recipients that led
    here, in their order.
    """

    name: str
    address: str
    originals: tuple[str, ...]

    @property
    def original(self) -> str:
        """The first envelope recipient that led here."""
        return self.originals[0]

    @property
    def forwarder(self) -> str:
        """The address of ours that a forward comes from: the recipient without its subaddress."""
        name, _, domain = envelope_parts(self.original)
        try:
            return str(Address(name, domain))
        except AddressError:  # a catch-all takes what no grammar knows
            return f"postmaster@{domain}"


class Addressing(NamedTuple):
    """All addressees, and the recipients that nobody has."""

    mailboxes: tuple[Addressee, ...]
    forwards: tuple[Addressee, ...]
    unknown: tuple[str, ...]


def address(envelope: RawEnvelope, directory: Directory) -> Addressing:
    """Resolve the envelope's recipients."""
    mailboxes: dict[str, Addressee] = {}
    forwards: dict[str, Addressee] = {}
    unknown: list[str] = []
    for recipient in envelope.recipients:
        resolution = directory.resolve(recipient)
        for mailbox in filter(is_address, resolution.mailboxes):
            _lead(mailboxes, without_subaddress(mailbox), mailbox, recipient)
        for outside in resolution.outside:
            _lead(forwards, outside, outside, recipient)
        if not resolution.known or not all(map(is_address, resolution.mailboxes)):
            unknown.append(recipient)
    return Addressing(tuple(mailboxes.values()), tuple(forwards.values()), tuple(unknown))


def _lead(known: dict[str, Addressee], name: str, address: str, recipient: str) -> None:
    former = known.get(name)
    originals = former.originals if former else ()
    known[name] = Addressee(name, former.address if former else address, (*originals, recipient))
