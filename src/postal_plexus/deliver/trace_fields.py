"""The trace fields on top of a message, for filters and people. Pure.

    X-Plexus-Receipt          SES's message id
    X-Plexus-Verdicts         SES's verdicts
    Authentication-Results    SES's verdicts in standard form (RFC 8601)
    X-Plexus-Policy           their consequences: `dmarc=junk` or `dmarc=junk-always`, `answer=no`,
                              `redirect=no` for a replayed message (redirected before);
                              `filters=none` if Dovecot could not deliver it with filters
    X-Plexus-Stopped          addresses to which filters of this mailbox must not redirect for now
    X-Plexus-Sender           the envelope sender, if Return-Path cannot contain it
    X-Original-To             each envelope recipient that led to this mailbox, and no other
    X-Auto-Response-Suppress  if no automatic reply is allowed; Dovecot's `vacation` obeys it

Fields `X-Plexus-*` written by a sender have been renamed (`mail.content`), so filters may trust
these. A message may be answered automatically if a bounce would be safe (`policy`), and if the
mailbox was addressed in its header (RFC 5230, section 4.5), by any address that leads there.
"""

import re
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from postal_plexus.deliver.policy import answer_is_safe
from postal_plexus.deliver.recipients import Addressee
from postal_plexus.directory import Directory, without_subaddress
from postal_plexus.mail.content import TraceFields
from postal_plexus.mail.envelope import ascii_domain, wire_sender
from postal_plexus.mail.printable import printable
from postal_plexus.mail.receipt import Receipt

_ADDRESSED = ("to", "cc", "bcc", "resent-to", "resent-cc", "resent-bcc")
_AN_ADDRESS = re.compile(r"""[^\s<>,;:"()\[\]]+@[^\s<>,;:"()\[\]]+""")
_COMMENT = re.compile(r"\([^()]*\)")
_AT_A_DOMAIN = re.compile(r"""@([^\s<>,;:"()\[\]@]+)""")
# How many octets are read of a field that names a hundred thousand people.
_MOST_LOOKED_AT = 64 * 1024
_LONGEST_ORIGINAL = 320


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of a message: what its recipients share, and nobody else may see.

    All recipients of a transaction get the same octets, so a recipient with its own trace fields
    gets a copy of its own.
    """

    sender: str
    trace: TraceFields
    addressees: tuple[Addressee, ...]


def mailbox_copies(  # noqa: PLR0913  (all that decides what a mailbox gets to know)
    receipt: Receipt,
    addressees: tuple[Addressee, ...],
    directory: Directory,
    hostname: str,
    *,
    dmarc_to_junk: bool,
    unfiltered: Container[str] = (),
    stopped: Mapping[str, Iterable[str]] = MappingProxyType({}),
    is_replay: bool = False,
) -> list[Copy]:
    """Return the copies of a message for mailboxes.

    Args:
        receipt: SES's record of the message.
        addressees: the mailboxes.
        directory: who has mail here.
        hostname: the authserv-id.
        dmarc_to_junk: whether a message goes to Junk if it fails DMARC and its domain asks for
            that.
        unfiltered: names of mailboxes that get it without their filters.
        stopped: for each mailbox's name, the addresses to which its filters must not redirect.
        is_replay: it was delivered before, so nothing is answered or redirected again.
    """
    may_answer = not is_replay and not answer_is_safe(receipt)
    policy = mailbox_policy(receipt, directory, dmarc_to_junk=dmarc_to_junk, may_answer=may_answer)
    if is_replay:
        policy = f"{policy}; redirect=no"
    trace = _trace_of_mail(receipt, hostname, policy)
    sender = wire_sender(receipt.envelope.sender)

    def own(each: Addressee) -> TraceFields:
        answered = may_answer and is_addressed(receipt, each.name, directory)
        return own_fields(
            each,
            answered=answered,
            filtered=each.name not in unfiltered,
            stopped=stopped.get(each.name, ()),
        )

    return _copies(sender, trace, addressees, own)


def notice_copies(receipt_id: str, addressees: tuple[Addressee, ...]) -> list[Copy]:
    """Return the copies of a notice that may be answered automatically."""
    trace = (("X-Plexus-Receipt", receipt_id),)
    return _copies("", trace, addressees, lambda each: own_fields(each, answered=True))


def forward_copy(receipt: Receipt, addressee: Addressee, return_path: str) -> Copy:
    """Return the copy of a message for one outside address."""
    forwarder = addressee.forwarder
    trace = (
        # It names the owner in whose name the message leaves (`mail.outgoing.rules`), so it must be
        # first.
        ("X-Plexus-Forwarder", forwarder),
        ("X-Plexus-Receipt", receipt.message_id),
        ("X-Plexus-Verdicts", receipt.verdicts.header_value()),
        ("Return-Path", f"<{wire_sender(receipt.envelope.sender)}>"),
        ("Delivered-To", forwarder),
    )
    return Copy(return_path, trace, (addressee,))


def _copies(
    sender: str,
    trace: TraceFields,
    addressees: tuple[Addressee, ...],
    own: Callable[[Addressee], TraceFields],
) -> list[Copy]:
    sharing: dict[TraceFields, tuple[Addressee, ...]] = {}
    for addressee in addressees:
        theirs = own(addressee)
        sharing[theirs] = (*sharing.get(theirs, ()), addressee)
    return [Copy(sender, trace + theirs, sharers) for theirs, sharers in sharing.items()]


def _trace_of_mail(receipt: Receipt, hostname: str, policy: str) -> TraceFields:
    verdicts = receipt.verdicts
    fields = [
        ("X-Plexus-Receipt", receipt.message_id),
        ("X-Plexus-Verdicts", verdicts.header_value()),
        ("Authentication-Results", verdicts.authentication_results(hostname)),
    ]
    if policy:
        fields.append(("X-Plexus-Policy", policy))
    if wire_sender(receipt.envelope.sender) != receipt.envelope.sender:
        fields.append(("X-Plexus-Sender", one_line(receipt.envelope.sender)))
    return tuple(fields)


def mailbox_policy(
    receipt: Receipt, directory: Directory, *, dmarc_to_junk: bool, may_answer: bool
) -> str:
    """Return the body of X-Plexus-Policy, or "" if it is not needed.

    A From of a hosted domain that fails DMARC goes to Junk whatever its reader has learned: all
    that we send is signed, so it is forged. For other domains a mailing list may be the reason.
    """
    words: list[str] = []
    if dmarc_to_junk and receipt.verdicts.from_is_disowned:
        ours = names_us(receipt.header_values("from"), directory)
        words.append("dmarc=junk-always" if ours else "dmarc=junk")
    if not may_answer:
        words.append("answer=no")
    return "; ".join(words)


def own_fields(
    addressee: Addressee, *, answered: bool, filtered: bool = True, stopped: Iterable[str] = ()
) -> TraceFields:
    """Return the fields that are only for this mailbox."""
    fields = [("X-Original-To", one_line(each)) for each in addressee.originals]
    if not answered:
        fields.append(("X-Auto-Response-Suppress", "All"))
    if not filtered:
        fields.append(("X-Plexus-Policy", "filters=none"))
    fields += [("X-Plexus-Stopped", one_line(each)) for each in stopped]
    return tuple(fields)


def is_addressed(receipt: Receipt, mailbox: str, directory: Directory) -> bool:
    """Return whether the message's header names the mailbox, by any address that leads to it."""
    text = " ".join(receipt.header_values(*_ADDRESSED))[:_MOST_LOOKED_AT]
    return any(
        mailbox in map(without_subaddress, directory.resolve(found).mailboxes)
        for found in dict.fromkeys(_AN_ADDRESS.findall(text))
    )


def names_us(values: Iterable[str], directory: Directory) -> bool:
    """Return whether a From field names a hosted domain, or one below it."""
    text = "".join(_COMMENT.sub("", value) for value in values)[:_MOST_LOOKED_AT]
    found = _AT_A_DOMAIN.findall(re.sub(r"\s+", "", text))
    return any(directory.hosts(ascii_domain(domain)) for domain in found)


def one_line(text: str) -> str:
    """Return the text in a form that is safe in a header field: one line, truncated."""
    return printable(text, _LONGEST_ORIGINAL, "?")
