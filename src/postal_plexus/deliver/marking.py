"""What a mailbox's filters and people get to know of a mail: the trace fields on top of it. Pure.

    X-Plexus-Receipt          SES's message id
    X-Plexus-Verdicts         SES's verdicts
    Authentication-Results    SES's verdicts once more (RFC 8601)
    X-Plexus-Policy           what follows: `dmarc=junk` or `dmarc=junk-always`, `answer=no`;
                              `filters=none` where Dovecot could not deliver it with filters
    X-Plexus-Stopped          addresses to which no filter of this mailbox redirects for now
    X-Plexus-Sender           the envelope sender, where Return-Path cannot say it
    X-Original-To             each envelope recipient that led to this mailbox, and no other
    X-Auto-Response-Suppress  where nothing may answer by itself; Dovecot's `vacation` obeys it

What a sender wrote into `X-Plexus-*` has been renamed (`mail.content`), so filters may trust these.
A mail may be answered by a machine where a bounce would be safe (`failure_policy`), and where the
mailbox was addressed in its header (RFC 5230, section 4.5), under any address that leads there.
"""

import re
from collections.abc import Iterable

from postal_plexus.deliver.addressing import Addressee
from postal_plexus.directory import Directory, without_subaddress
from postal_plexus.mail.content import TraceFields
from postal_plexus.mail.envelope import ascii_domain, wire_sender
from postal_plexus.mail.receipt import Receipt

_ADDRESSED = ("to", "cc", "bcc", "resent-to", "resent-cc", "resent-bcc")
_AN_ADDRESS = re.compile(r"""[^\s<>,;:"()\[\]]+@[^\s<>,;:"()\[\]]+""")
_COMMENT = re.compile(r"\([^()]*\)")
_AT_A_DOMAIN = re.compile(r"""@([^\s<>,;:"()\[\]@]+)""")
# Of a field that names a hundred thousand people, so many octets are looked at.
_MOST_LOOKED_AT = 64 * 1024
_LONGEST_ORIGINAL = 320


def trace_fields(receipt: Receipt, hostname: str, policy: str) -> TraceFields:
    """The fields that every mailbox gets. `policy` is that of `mailbox_policy`."""
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
    """The body of X-Plexus-Policy; "" where there is nothing to say.

    A From of ours that DMARC disowns goes to Junk whatever its reader has learned: all that we send
    is signed, so it is forged. Of other domains it may be a mailing list's doing.
    """
    words: list[str] = []
    if dmarc_to_junk and receipt.verdicts.from_is_disowned:
        ours = names_us(receipt.header_values("from"), directory)
        words.append("dmarc=junk-always" if ours else "dmarc=junk")
    if not may_answer:
        words.append("answer=no")
    return "; ".join(words)


def own_fields(
    addressee: Addressee, *, answered: bool, filtered: bool = True, stopped: tuple[str, ...] = ()
) -> TraceFields:
    """The fields that are this mailbox's own."""
    fields = [("X-Original-To", one_line(each)) for each in addressee.originals]
    if not answered:
        fields.append(("X-Auto-Response-Suppress", "All"))
    if not filtered:
        fields.append(("X-Plexus-Policy", "filters=none"))
    fields += [("X-Plexus-Stopped", one_line(each)) for each in stopped]
    return tuple(fields)


def is_addressed(receipt: Receipt, mailbox: str, directory: Directory) -> bool:
    """Whether the mail's header names the mailbox, by any address that leads to it."""
    text = " ".join(receipt.header_values(*_ADDRESSED))[:_MOST_LOOKED_AT]
    return any(
        mailbox in map(without_subaddress, directory.resolve(found).mailboxes)
        for found in dict.fromkeys(_AN_ADDRESS.findall(text))
    )


def names_us(values: Iterable[str], directory: Directory) -> bool:
    """Whether an address of a domain of ours, or below one, is in a From field."""
    text = "".join(_COMMENT.sub("", value) for value in values)[:_MOST_LOOKED_AT]
    found = _AT_A_DOMAIN.findall(re.sub(r"\s+", "", text))
    return any(directory.hosts(ascii_domain(domain)) for domain in found)


def one_line(text: str) -> str:
    """The text as it can stand in a header field: one line, not endless."""
    return "".join(char if char.isprintable() else "?" for char in text)[:_LONGEST_ORIGINAL]
