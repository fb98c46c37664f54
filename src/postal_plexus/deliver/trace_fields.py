"""The trace fields on top of a mail: what filters and people get to know of it. Pure.

    X-Plexus-Receipt          SES's message id
    X-Plexus-Verdicts         SES's verdicts
    Authentication-Results    SES's verdicts once more (RFC 8601)
    X-Plexus-Policy           what follows: `dmarc=junk` or `dmarc=junk-always`, `answer=no`,
                              `redirect=no` of a mail that is replayed: the filters sent it on then;
                              `filters=none` where Dovecot could not deliver it with filters
    X-Plexus-Stopped          addresses to which no filter of this mailbox redirects for now
    X-Plexus-Sender           the envelope sender, where Return-Path cannot say it
    X-Original-To             each envelope recipient that led to this mailbox, and no other
    X-Auto-Response-Suppress  where nothing may answer by itself; Dovecot's `vacation` obeys it

What a sender wrote into `X-Plexus-*` has been renamed (`mail.content`), so filters may trust these.
A mail may be answered by a machine where a bounce would be safe (`policy`), and where the
mailbox was addressed in its header (RFC 5230, section 4.5), under any address that leads there.
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
# How many octets of a field are read that names a hundred thousand people.
_MOST_LOOKED_AT = 64 * 1024
_LONGEST_ORIGINAL = 320


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of a mail: what its recipients share, and nobody else may see.

    All recipients of a transaction get the same octets, so who has trace fields of its own has a
    copy of its own.
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
    """Return the copies of a mail for mailboxes.

    Args:
        receipt: SES's record of the mail.
        addressees: the mailboxes.
        directory: who has mail here.
        hostname: the authserv-id.
        dmarc_to_junk: whether a mail that its From's domain disowns goes to Junk.
        unfiltered: names of mailboxes that get it past their filters.
        stopped: by name of the mailbox, the addresses to which its filters redirect nothing.
        is_replay: it was delivered once, so nothing is answered or sent on again.
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
    """Return the copies of a notice that a machine may answer."""
    trace = (("X-Plexus-Receipt", receipt_id),)
    return _copies("", trace, addressees, lambda each: own_fields(each, answered=True))


def forward_copy(receipt: Receipt, addressee: Addressee, return_path: str) -> Copy:
    """Return the copy of a mail for one address outside."""
    forwarder = addressee.forwarder
    trace = (
        # By this one's right it leaves (`mail.outgoing.rules`), so it must be the first.
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
    """Return the body of X-Plexus-Policy; "" where there is nothing to say.

    A From of a hosted domain that fails DMARC goes to Junk whatever its reader has learned: all
    that we send is signed, so it is forged. Of other domains it may be a mailing list's doing.
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
    """Return the fields that are this mailbox's own."""
    fields = [("X-Original-To", one_line(each)) for each in addressee.originals]
    if not answered:
        fields.append(("X-Auto-Response-Suppress", "All"))
    if not filtered:
        fields.append(("X-Plexus-Policy", "filters=none"))
    fields += [("X-Plexus-Stopped", one_line(each)) for each in stopped]
    return tuple(fields)


def is_addressed(receipt: Receipt, mailbox: str, directory: Directory) -> bool:
    """Return whether the mail's header names the mailbox, by any address that leads to it."""
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
    """Return the text as it can stand in a header field: one line, not endless."""
    return printable(text, _LONGEST_ORIGINAL, "?")
