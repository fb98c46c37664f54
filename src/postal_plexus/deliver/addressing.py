"""Who is to have a mail: the envelope's recipients, resolved by the directory. Pure.

Each mailbox and each address outside comes once, however many recipients lead to it; the first one
decides about the subaddress.
"""

from typing import NamedTuple

from postal_plexus.directory import Directory, without_subaddress
from postal_plexus.mail.envelope import Envelope, is_address


class Addressee(NamedTuple):
    """One mailbox, or one address outside.

    `name` is what it is known by in the journal: the mailbox without a subaddress, or the address
    outside. `address` is where the mail goes; `original` the envelope recipient that led here.
    """

    name: str
    address: str
    original: str

    @property
    def forwarder(self) -> str:
        """The address of ours that a forward comes from."""
        return without_subaddress(self.original.lower())


class Addressing(NamedTuple):
    """All addressees, and the recipients that nobody has."""

    mailboxes: tuple[Addressee, ...]
    forwards: tuple[Addressee, ...]
    unknown: tuple[str, ...]


def address(envelope: Envelope, directory: Directory) -> Addressing:
    """Resolve the envelope's recipients."""
    mailboxes: dict[str, Addressee] = {}
    forwards: dict[str, Addressee] = {}
    unknown: list[str] = []
    for recipient in envelope.recipients:
        resolution = directory.resolve(recipient)
        for mailbox in resolution.mailboxes:
            name = without_subaddress(mailbox)
            mailboxes.setdefault(name, Addressee(name, mailbox, recipient))
        for outside in resolution.outside:
            forwards.setdefault(outside, Addressee(outside, outside, recipient))
        if not resolution.known or not all(map(is_address, resolution.mailboxes)):
            unknown.append(recipient)
    return Addressing(tuple(mailboxes.values()), tuple(forwards.values()), tuple(unknown))
