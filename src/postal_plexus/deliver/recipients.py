"""Resolve a message's envelope recipients with the directory. Pure.

Each mailbox and each outside address appears once, however many recipients lead to it; the first
one determines the subaddress. A recipient that is not an address, or does not exist, is unknown and
does not affect the others.
"""

from dataclasses import dataclass, replace

from postal_plexus.directory import Directory, without_subaddress
from postal_plexus.directory.address import Address, AddressError, envelope_parts
from postal_plexus.mail.delivered import Replay
from postal_plexus.mail.envelope import RawEnvelope, is_address


@dataclass(frozen=True, slots=True)
class Addressee:
    """One mailbox, or one outside address.

    Attributes:
        name: the name in the journal: a mailbox without a subaddress, or an outside address.
        address: where the message is sent.
        originals: the envelope recipients that led here, in their order.
        outside: whether the message is forwarded.
        former: the first name of a renamed mailbox; otherwise "".
    """

    name: str
    address: str
    originals: tuple[str, ...]
    outside: bool = False
    former: str = ""

    @property
    def original(self) -> str:
        """The first envelope recipient that led here."""
        return self.originals[0]

    @property
    def forwarder(self) -> str:
        """The local address in whose name a forward is sent, without its subaddress."""
        name, _, domain = envelope_parts(self.original)
        try:
            return str(Address(name, domain))
        except AddressError:  # a catch-all also matches what is not a valid address
            return f"postmaster@{domain}"

    @property
    def loops_at(self) -> str:
        """The address in a Delivered-To field that shows that the message has been here before."""
        return self.forwarder if self.outside else self.name


@dataclass(frozen=True, slots=True)
class Recipients:
    """All addressees of a message, and the recipients that do not exist."""

    mailboxes: tuple[Addressee, ...]
    forwards: tuple[Addressee, ...]
    unknown: tuple[str, ...]

    def original(self, name: str) -> str:
        """Return the envelope recipient, as its sender knows it, for an addressee's name."""
        for each in self.mailboxes + self.forwards:
            if each.name == name:
                return each.original
        return name

    def only(self, name: str) -> "Recipients":
        """Return only the part about one addressee, or about one envelope recipient."""

        def named(each: Addressee) -> bool:
            return name == each.name or name in each.originals

        return Recipients(
            tuple(filter(named, self.mailboxes)),
            tuple(filter(named, self.forwards)),
            tuple(each for each in self.unknown if each == name),
        )

    def of_shard(self, directory: Directory, shard: int) -> "Recipients":
        """Return the part on which one host acts; each part belongs to exactly one host.

        A mailbox belongs to its home. Everything else belongs to host 1: its journal knows which
        forwards have left, and it has the key of their return paths. `shard` is 0 in a stack of one
        host, which acts on everything.
        """
        if not shard:
            return self
        return Recipients(
            tuple(each for each in self.mailboxes if directory.home(each.name) == shard),
            self.forwards if shard == 1 else (),
            self.unknown if shard == 1 else (),
        )

    def brought_to(self, shard: int) -> "Recipients":
        """Return the part of a dead letter, put back into one host's queue, on which that acts.

        No other host has the entry. Dovecot proxies to mailboxes of others, and is asked whether
        they have the message already; what is not for a mailbox remains host 1's.
        """
        return self if shard <= 1 else replace(self, forwards=(), unknown=())

    def __bool__(self) -> bool:
        """Return whether there is anybody."""
        return bool(self.mailboxes or self.forwards or self.unknown)


def resolve(envelope: RawEnvelope, directory: Directory) -> Recipients:
    """Return who should get a message with this envelope."""
    mailboxes: dict[str, Addressee] = {}
    forwards: dict[str, Addressee] = {}
    unknown: list[str] = []
    for recipient in envelope.recipients:
        resolution = directory.resolve(recipient)
        for mailbox in filter(is_address, resolution.mailboxes):
            name = without_subaddress(mailbox)
            former = directory.first_address(name)
            _lead(mailboxes, Addressee(name, mailbox, (recipient,), former=former))
        for outside in resolution.outside:
            _lead(forwards, Addressee(outside, outside, (recipient,), outside=True))
        if not resolution.known or not all(map(is_address, resolution.mailboxes)):
            unknown.append(recipient)
    return Recipients(tuple(mailboxes.values()), tuple(forwards.values()), tuple(unknown))


def replayed(replay: Replay, directory: Directory) -> Recipients:
    """Return only the mailbox of a replay, or nobody if the directory does not have it.

    The recipients need not lead to it today: it gets what it had.
    """
    name = replay.mailbox
    if without_subaddress(name) != name or directory.resolve(name).mailboxes != (name,):
        return Recipients((), (), ())
    return Recipients((Addressee(name, name, replay.originals or (name,)),), (), ())


def _lead(known: dict[str, Addressee], new: Addressee) -> None:
    former = known.get(new.name)
    if former is not None:
        new = replace(former, originals=former.originals + new.originals)
    known[new.name] = new
