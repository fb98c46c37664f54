"""Decide what becomes of a mail, and what a failure means: the one place that does. Pure.

`screen` decides about the whole mail before anything is done with it; `Policy` and the functions
below it, about one recipient in one attempt.

Scope, as Postfix has it: what concerns the service holds everything (`circuit_breaker`), what
concerns the mail concerns all its recipients, what a reply says concerns one recipient.

    trouble                                 then
    --------------------------------------  -------------------------------------------------------
    Dovecot unreachable, volume unwritable  intake stops, mails under way wait; resumes by itself
    SQS unreachable, throttles              waits, growing with jitter to 60 s; one log line
    S3 unreachable, throttles, denies       deferred
    object missing                          deferred; at the 5th receive failed, dead letter
    notification cannot be read             dead letter, whole, with the reason
    bucket is not our archive               dead letter, whole, with the reason
    no mailbox at that address              failed 5.1.1, by a directory not older than the mail
    the directory cannot be read for that   deferred for 15 minutes, then by the last good one
    reply 4xx (recipient, MAIL, DATA)       deferred
    over quota (x.2.2, 552), 4xx or 5xx     deferred for the configured time, then failed 5.2.2
    reply 5xx otherwise                     failed, with the reply's status
    connection lost, nothing sent whole     deferred, soon
    outcome unknown                         deferred until it is old enough to ask Dovecot
    unknown again at the 5th receive        then transferred past the user's filters
    header above 3.5 MB, or 100,000 fields  failed 5.3.4; a forward's above 256 KB, or 10,000
    more than 50 Received, our Delivered-To failed 5.4.6, dead letter: a loop is never answered
    virus                                   as configured: dead letter, Junk, dropped
    a forward's destination keeps bouncing  failed 5.2.1 for a week (`forward_bounces`)
    mailbox held by an operator's task      again in seconds, for as long as that takes
    deferred for more than 5 days           failed 4.4.7
    a fault of our own                      deferred

    failed, and a bounce is safe            bounce; if SES refuses it, dead letter; if five others
                                            wait for their turn, deferred
    failed otherwise                        dead letter with recipient and reason
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

from postal_plexus.deliver.recipients import Addressee
from postal_plexus.mail.content import HeaderBound
from postal_plexus.mail.disposition import Disposition, Fate
from postal_plexus.mail.envelope import ascii_domain, is_address
from postal_plexus.mail.receipt import Receipt
from postal_plexus.mail.reply import Reply
from postal_plexus.mail.verdicts import Verdict

GIVE_UP_SECONDS = 5 * 86400.0
MOST_RECEIVED = 50
MISSING_OBJECT_RECEIVES = 5
# SES refuses a bounce 24 hours after the receipt; what is not on its way by then never goes.
BOUNCE_SECONDS = 23.5 * 3600.0
# What LMTP bears within its memory (dovecot.conf) where no filter takes more; measured, with a
# margin: it ends at 8 MB in one field, at 4 MB in a subject, and at 350,000 short fields.
HEADER_BOUND = HeaderBound(octets=3584 * 1024, fields=100_000)
# What is read before a forward begins, since a loop may show anywhere in it.
FORWARD_HEADER_BOUND = HeaderBound(octets=256 * 1024, fields=10_000)
# A mail that Dovecot's process ended at so often, perhaps by what a filter makes of it, is filed
# without the filters.
UNFILTERED_RECEIVES = 5
_FIRST_RETRY_SECONDS = 15
_LONGEST_RETRY_SECONDS = 2 * 3600
# A hold of a few seconds is the rule; at one a minute the queue's own limit of receives is far.
_FIRST_HELD_SECONDS = 3
_LONGEST_HELD_SECONDS = 60
# How long a directory that cannot be read keeps a mail from an address that seems not to exist.
DIRECTORY_SECONDS = 900.0
_LIST_PRECEDENCES = ("bulk", "list", "junk")
# DISABLED: the operator has turned scanning off.
_NO_SPAM = (Verdict.PASS, Verdict.DISABLED)


class VirusPolicy(Enum):
    """What becomes of a mail in which SES found a virus. Never the inbox."""

    DEAD_LETTER = "dead-letter"
    JUNK = "junk"
    DROP = "drop"


class Action(Enum):
    """What is done with a mail as a whole."""

    DELIVER = auto()
    HOLD = auto()  # as a dead letter, with a notice to each reader
    DROP = auto()


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator can choose.

    Attributes:
        over_quota_seconds: how long a full mailbox is waited for.
        virus: what becomes of a mail with a virus. One that goes to Junk is filed there by Sieve.
        dmarc_to_junk: whether a mail that fails DMARC goes to Junk, where its domain asks for that.
    """

    over_quota_seconds: float
    virus: VirusPolicy = VirusPolicy.DEAD_LETTER
    dmarc_to_junk: bool = True

    def screen(self, receipt: Receipt) -> Action:
        """Return what is done with the whole mail."""
        if receipt.verdicts.virus is Verdict.FAIL:
            if self.virus is VirusPolicy.DEAD_LETTER:
                return Action.HOLD
            if self.virus is VirusPolicy.DROP:
                return Action.DROP
        return Action.DELIVER

    def of_reply(self, recipient: str, reply: Reply, age: float) -> Disposition:
        """Return a recipient's disposition by the reply to a mail accepted `age` seconds ago."""
        if reply.positive:
            return Disposition(recipient, Fate.DELIVERED, reply.status, str(reply))
        if is_over_quota(reply):
            if age < self.over_quota_seconds:
                return Disposition(recipient, Fate.DEFERRED, "4.2.2", str(reply))
            return Disposition(recipient, Fate.FAILED, "5.2.2", str(reply))
        if reply.permanent:
            return Disposition(recipient, Fate.FAILED, reply.status, str(reply))
        return deferred(recipient, reply.status, str(reply), age)


def deferred(recipient: str, status: str, reason: str, age: float) -> Disposition:
    """Return the disposition to try again, or to give up where that has been done for 5 days."""
    if age > GIVE_UP_SECONDS:
        return Disposition(recipient, Fate.FAILED, "4.4.7", f"given up: {reason}")
    return Disposition(recipient, Fate.DEFERRED, status, reason)


def held(recipient: str) -> Disposition:
    """Return the disposition of a mailbox that a task works on, however old the mail."""
    return Disposition(recipient, Fate.HELD, "4.2.1", "the mailbox is held for a task")


def unreadable(
    recipient: str, reason: str, *, missing: bool, attempts: int, age: float
) -> Disposition:
    """Return the disposition where the content cannot be read; `missing`: there is no object."""
    if missing and attempts >= MISSING_OBJECT_RECEIVES:
        return Disposition(recipient, Fate.FAILED, "5.3.0", f"the content is gone: {reason}")
    return deferred(recipient, "4.3.0", reason, age)


def header_too_long(recipient: str, reason: str) -> Disposition:
    """Return the failure of a mail whose header block goes beyond its bound."""
    return Disposition(recipient, Fate.FAILED, "5.3.4", reason)


def unknown_mailbox(recipient: str) -> Disposition:
    """Return the failure of a recipient that nobody has."""
    return Disposition(recipient, Fate.FAILED, "5.1.1", "no such mailbox")


def forged_bounce(recipient: str) -> Disposition:
    """Return the failure of what claims to be the bounce of a forward and is not."""
    reason = "not a genuine bounce of a forward"
    return Disposition(recipient, Fate.FAILED, "5.7.1", reason, quiet=True)


def untold(recipient: str) -> Disposition:
    """Return the failure of which it is not known whether the sender has been told."""
    reason = "failed earlier; whether that was told is unknown"
    return Disposition(recipient, Fate.FAILED, "5.3.0", reason, quiet=True)


def loops(
    addressees: Sequence[Addressee], received: int, delivered_to: set[str]
) -> list[Disposition]:
    """Return a failure for each addressee whose mail goes round. A loop is never answered.

    Args:
        addressees: who is about to get the mail.
        received: how many Received fields it has.
        delivered_to: the addresses of its Delivered-To fields.
    """
    if received > MOST_RECEIVED:
        reason = f"loop: more than {MOST_RECEIVED} Received headers"
        looping = addressees
    else:
        reason = "loop: the mail was delivered here before"
        looping = [each for each in addressees if each.loops_at in delivered_to]
    return [Disposition(each.name, Fate.FAILED, "5.4.6", reason, quiet=True) for each in looping]


def not_forwarded(receipt: Receipt, recipient: str, *, to_return_path: bool) -> Disposition | None:
    """Return the failure of a mail that must not be sent on in our name, or None."""
    verdicts = receipt.verdicts
    objections = (
        (to_return_path, "a bounce of a forward is not forwarded"),
        (verdicts.spam is Verdict.FAIL, "spam is not forwarded"),
        (verdicts.virus is Verdict.FAIL, "a virus is not forwarded"),
    )
    for objects, why in objections:
        if objects:
            return Disposition(recipient, Fate.FAILED, "5.7.1", why, quiet=True)
    return None


def forward_stopped(recipient: str) -> Disposition:
    """Return the failure of a forward whose destination keeps bouncing.

    The sender knows the alias only, so where it leads is not told.
    """
    reason = "mail to this address cannot be passed on at present"
    return Disposition(recipient, Fate.FAILED, "5.2.1", reason)


def queued(disposition: Disposition) -> Disposition:
    """Return the disposition of a forward by Postfix's: what it took is queued, not delivered."""
    if disposition.fate is Fate.DELIVERED:
        return replace(disposition, fate=Fate.FORWARDED)
    # A loop is never answered: the answer would go round as well.
    return replace(disposition, quiet=disposition.quiet or disposition.status == "5.4.6")


def is_over_quota(reply: Reply) -> bool:
    """Return whether a mailbox is full.

    That is x.2.2 (RFC 3463, section 3.3), or a bare 552 (RFC 5321, section 4.2.3).
    """
    if reply.positive:
        return False
    if reply.enhanced:
        return reply.enhanced.endswith(".2.2")
    return reply.code == 552


def retry_after(receive_count: int, jitter: float) -> int:
    """Return seconds until the next attempt: 15, doubled each time, to 2 h; `jitter` in 0..1."""
    growing = _FIRST_RETRY_SECONDS * 2 ** min(max(receive_count, 1) - 1, 16)
    return int(min(growing, _LONGEST_RETRY_SECONDS) * (1.0 + 0.2 * jitter))


def is_held(found: Sequence[Disposition]) -> bool:
    """Return whether held mailboxes alone keep a mail in the queue."""
    fates = {each.fate for each in found}
    return Fate.HELD in fates and Fate.DEFERRED not in fates


def next_attempt(
    found: Sequence[Disposition], receive_count: int, in_vain: int, jitter: float
) -> int | None:
    """Return seconds until a mail's next attempt; None where nothing is owed to anyone.

    Args:
        found: its dispositions.
        receive_count: how often the queue has given its entry, this time included.
        in_vain: how many of those receives, before this one, met nothing but a held mailbox.
        jitter: in 0..1.
    """
    if any(each.fate is Fate.DEFERRED for each in found):
        return retry_after(receive_count - in_vain, jitter)
    if is_held(found):
        return min(_FIRST_HELD_SECONDS * 2 ** min(in_vain, 16), _LONGEST_HELD_SECONDS)
    return None


def bounce_is_safe(receipt: Receipt, age: float) -> str:
    """Return why no bounce may be sent, or "" where it reaches the true sender and no one else."""
    return answer_is_safe(receipt) or ("too old for SES to bounce" if age > BOUNCE_SECONDS else "")


def answer_is_safe(receipt: Receipt) -> str:
    """Return why no machine may answer, or "": the rule for bounces, `vacation` and `reject` alike.

    The sender must exist and be authentic, else the answer is backscatter; it must not be a
    machine's (RFC 3834, section 2), nor may the mail be spam or carry a virus.
    """
    verdicts = receipt.verdicts
    automatic = receipt.header("auto-submitted").strip().lower()
    listed = receipt.header("precedence").strip().lower() in _LIST_PRECEDENCES
    objections = (
        (not receipt.envelope.sender, "null sender"),
        (not is_address(receipt.envelope.sender), "the sender is not an address"),
        (not _sender_is_authentic(receipt), "neither SPF nor DMARC passed for the sender"),
        (verdicts.spam not in _NO_SPAM, f"spam verdict {verdicts.spam.value}"),
        (verdicts.virus is Verdict.FAIL, "virus"),
        (receipt.headers_truncated, "headers not all known"),
        (automatic not in {"", "no"}, f"auto-submitted: {automatic[:40]}"),
        (listed or bool(receipt.header("list-id")), "mailing list or bulk"),
    )
    return next((why for objects, why in objections if objects), "")


def _sender_is_authentic(receipt: Receipt) -> bool:
    """Whether mail to the envelope sender goes to who really sent this.

    SPF says so itself. DMARC proves the domain in From, which says it of a sender of that domain
    only: a sender who signs for its own domain may still write any address into MAIL FROM.
    """
    verdicts = receipt.verdicts
    if verdicts.spf is Verdict.PASS:
        return True
    domain = ascii_domain(receipt.envelope.sender.rpartition("@")[2])
    proven = ascii_domain(receipt.header("from").rpartition("@")[2].rstrip(" \t\r\n>"))
    # Without a From among all headers DMARC has nothing to pass by.
    return verdicts.dmarc is Verdict.PASS and f".{domain}".endswith(f".{proven}" if proven else "")


def bounce_type(status: str) -> str:
    """Return SES's word for an enhanced status code."""
    known = {
        "5.1.1": "DoesNotExist",
        "5.2.2": "ExceededQuota",
        "5.2.3": "MessageTooLarge",
        "5.3.4": "MessageTooLarge",
        "5.6.0": "ContentRejected",
        "5.7.1": "ContentRejected",
    }
    return known.get(status, "TemporaryFailure" if status.startswith("4") else "Undefined")
