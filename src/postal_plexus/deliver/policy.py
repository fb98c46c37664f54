"""Decide what happens to a message, and what a failure means. No other module does. Pure.

`screen` decides about the whole message before anything is done with it; `Policy` and the functions
below it decide about one recipient in one attempt.

The scope is as in Postfix: what concerns the service stops everything (`circuit_breaker`), what
concerns the message affects all its recipients, and a reply affects one recipient.

    failure                                 consequence
    --------------------------------------  -------------------------------------------------------
    Dovecot unreachable, volume unwritable  intake stops, messages wait; resumes automatically
    SQS unreachable, throttles              waits, with backoff and jitter to 60 s; one log line
    S3 unreachable, throttles, denies       deferred
    object missing                          deferred; at the 5th receive failed, dead letter
    notification cannot be parsed           dead letter, unchanged, with the reason
    bucket is not our archive               dead letter, unchanged, with the reason
    no mailbox at that address              failed 5.1.1, if the directory is not older
    with several hosts: it may be new       again in seconds, until its directory is settled
    the directory cannot be read for that   deferred for 15 minutes, then the last good one is used
    reply 4xx (recipient, MAIL, DATA)       deferred
    over quota (x.2.2, 552), 4xx or 5xx     deferred for the configured time, then failed 5.2.2
    any other 5xx reply                     failed, with the reply's status
    connection lost, nothing sent whole     deferred, briefly
    outcome unknown                         deferred until it is old enough to ask Dovecot
    unknown again at the 5th receive        transferred without the user's filters
    header above 3.5 MB, or 100,000 fields  failed 5.3.4; a forward's above 256 KB, or 10,000
    more than 50 Received, our Delivered-To failed 5.4.6, dead letter: a loop is never bounced
    virus                                   as configured: dead letter, Junk, dropped
    a forward's destination keeps bouncing  failed 5.2.1 for a week (`forward_bounces`)
    mailbox held by an operator's task      again in seconds, as long as it is held
    deferred for more than 5 days           failed 4.4.7
    a bug in this service                   deferred

    failed, and a bounce is safe            bounce; if SES refuses it, dead letter; if five others
                                            are waiting for the rate limit, deferred
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
# SES refuses a bounce 24 hours after the receipt; a bounce that is not sent before never is.
BOUNCE_SECONDS = 23.5 * 3600.0
# What LMTP can handle within its memory (dovecot.conf), without a filter that needs more. Measured,
# with a margin: it crashes at 8 MB in one field, at 4 MB in a subject, and at 350,000 short fields.
HEADER_BOUND = HeaderBound(octets=3584 * 1024, fields=100_000)
# What is read before a forward begins, because a loop may show anywhere in it.
FORWARD_HEADER_BOUND = HeaderBound(octets=256 * 1024, fields=10_000)
# A message on which Dovecot's process crashed this often, perhaps because of a filter, is delivered
# without the filters.
UNFILTERED_RECEIVES = 5
_FIRST_RETRY_SECONDS = 15
_LONGEST_RETRY_SECONDS = 2 * 3600
# A hold usually lasts a few seconds. With one receive a minute, the queue's own limit is far away.
_FIRST_HELD_SECONDS = 3
_LONGEST_HELD_SECONDS = 60
# How long a message to an unknown address waits while the directory cannot be read.
DIRECTORY_SECONDS = 900.0
_LIST_PRECEDENCES = ("bulk", "list", "junk")
# DISABLED: the operator has turned scanning off.
_NO_SPAM = (Verdict.PASS, Verdict.DISABLED)


class VirusPolicy(Enum):
    """What happens to a message in which SES found a virus. It never goes to the inbox."""

    DEAD_LETTER = "dead-letter"
    JUNK = "junk"
    DROP = "drop"


class Action(Enum):
    """What is done with a message as a whole."""

    DELIVER = auto()
    HOLD = auto()  # as a dead letter, with a notice to each reader
    DROP = auto()


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator can choose.

    Attributes:
        over_quota_seconds: how long a message for a full mailbox is retried.
        virus: what happens to a message with a virus. Sieve files those for Junk.
        dmarc_to_junk: whether a message goes to Junk if it fails DMARC and its domain asks for
            that.
    """

    over_quota_seconds: float
    virus: VirusPolicy = VirusPolicy.DEAD_LETTER
    dmarc_to_junk: bool = True

    def screen(self, receipt: Receipt) -> Action:
        """Return what is done with the whole message."""
        if receipt.verdicts.virus is Verdict.FAIL:
            if self.virus is VirusPolicy.DEAD_LETTER:
                return Action.HOLD
            if self.virus is VirusPolicy.DROP:
                return Action.DROP
        return Action.DELIVER

    def of_reply(self, recipient: str, reply: Reply, age: float) -> Disposition:
        """Return the disposition for the reply about a message accepted `age` seconds ago."""
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
    """Return the disposition to retry, or to give up after 5 days of retries."""
    if age > GIVE_UP_SECONDS:
        return Disposition(recipient, Fate.FAILED, "4.4.7", f"given up: {reason}")
    return Disposition(recipient, Fate.DEFERRED, status, reason)


def held(recipient: str) -> Disposition:
    """Return the disposition for a mailbox held by a task, however old the message is."""
    return Disposition(recipient, Fate.HELD, "4.2.1", "the mailbox is held for a task")


def too_early(recipient: str) -> Disposition:
    """Return the disposition while it is not known which version of the directory counts."""
    reason = "the address may be new: waiting for the directory of its acceptance"
    return Disposition(recipient, Fate.HELD, "4.4.3", reason)


def unreadable(
    recipient: str, reason: str, *, missing: bool, attempts: int, age: float
) -> Disposition:
    """Return the disposition if the content cannot be read.

    `missing`: the object does not exist.
    """
    if missing and attempts >= MISSING_OBJECT_RECEIVES:
        return Disposition(recipient, Fate.FAILED, "5.3.0", f"the content is gone: {reason}")
    return deferred(recipient, "4.3.0", reason, age)


def header_too_long(recipient: str, reason: str) -> Disposition:
    """Return the failure of a message whose header block exceeds its limit."""
    return Disposition(recipient, Fate.FAILED, "5.3.4", reason)


def unknown_mailbox(recipient: str) -> Disposition:
    """Return the failure of a recipient that does not exist."""
    return Disposition(recipient, Fate.FAILED, "5.1.1", "no such mailbox")


def forged_bounce(recipient: str) -> Disposition:
    """Return the failure of a message that claims to be the bounce of a forward and is not."""
    reason = "not a genuine bounce of a forward"
    return Disposition(recipient, Fate.FAILED, "5.7.1", reason, quiet=True)


def untold(recipient: str) -> Disposition:
    """Return the failure for which it is not known whether the sender has been told."""
    reason = "failed earlier; whether that was told is unknown"
    return Disposition(recipient, Fate.FAILED, "5.3.0", reason, quiet=True)


def loops(
    addressees: Sequence[Addressee], received: int, delivered_to: set[str]
) -> list[Disposition]:
    """Return a failure for each addressee whose message is in a loop. A loop is never bounced.

    Args:
        addressees: who is about to get the message.
        received: how many Received fields it has.
        delivered_to: the addresses of its Delivered-To fields.
    """
    if received > MOST_RECEIVED:
        reason = f"loop: more than {MOST_RECEIVED} Received headers"
        looping = addressees
    else:
        reason = "loop: the message was delivered here before"
        looping = [each for each in addressees if each.loops_at in delivered_to]
    return [Disposition(each.name, Fate.FAILED, "5.4.6", reason, quiet=True) for each in looping]


def not_forwarded(receipt: Receipt, recipient: str, *, to_return_path: bool) -> Disposition | None:
    """Return the failure of a message that must not be forwarded in our name, or None."""
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

    The sender knows only the alias, so the text does not reveal its destination.
    """
    reason = "mail to this address cannot be passed on at present"
    return Disposition(recipient, Fate.FAILED, "5.2.1", reason)


def queued(disposition: Disposition) -> Disposition:
    """Return a forward's disposition from Postfix's: what it accepted is queued, not delivered."""
    if disposition.fate is Fate.DELIVERED:
        return replace(disposition, fate=Fate.FORWARDED)
    # A loop is never bounced, because the bounce would loop as well.
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
    """Return seconds until the next attempt: 15, doubled each time, up to 2 h; `jitter` in 0..1."""
    growing = _FIRST_RETRY_SECONDS * 2 ** min(max(receive_count, 1) - 1, 16)
    return int(min(growing, _LONGEST_RETRY_SECONDS) * (1.0 + 0.2 * jitter))


def is_held(found: Sequence[Disposition]) -> bool:
    """Return whether only held mailboxes keep a message in the queue."""
    fates = {each.fate for each in found}
    return Fate.HELD in fates and Fate.DEFERRED not in fates


def next_attempt(
    found: Sequence[Disposition], receive_count: int, in_vain: int, jitter: float
) -> int | None:
    """Return seconds until a message's next attempt, or None if nobody is owed it.

    Args:
        found: its dispositions.
        receive_count: how often its entry was received from the queue, including this time.
        in_vain: how many of those receives, before this one, were deferred only for a held mailbox.
        jitter: in 0..1.
    """
    if any(each.fate is Fate.DEFERRED for each in found):
        return retry_after(receive_count - in_vain, jitter)
    if is_held(found):
        return min(_FIRST_HELD_SECONDS * 2 ** min(in_vain, 16), _LONGEST_HELD_SECONDS)
    return None


def bounce_is_safe(receipt: Receipt, age: float) -> str:
    """Return why no bounce may be sent, or "" if it reaches only the true sender."""
    return answer_is_safe(receipt) or ("too old for SES to bounce" if age > BOUNCE_SECONDS else "")


def answer_is_safe(receipt: Receipt) -> str:
    """Return why no automatic reply may be sent, or "".

    Applies to bounces, `vacation` and `reject`.

    The sender must exist and be authentic, otherwise the reply is backscatter. It must not be
    automatic (RFC 3834, section 2), and the message must be neither spam nor contain a virus.
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
    """Return whether mail to the envelope sender reaches the message's real sender.

    SPF proves this. DMARC proves only the domain in From, so it counts only for a sender of that
    domain: a sender who signs for its own domain may still write any address into MAIL FROM.
    """
    verdicts = receipt.verdicts
    if verdicts.spf is Verdict.PASS:
        return True
    domain = ascii_domain(receipt.envelope.sender.rpartition("@")[2])
    proven = ascii_domain(receipt.header("from").rpartition("@")[2].rstrip(" \t\r\n>"))
    # Without a From, DMARC cannot pass.
    return verdicts.dmarc is Verdict.PASS and f".{domain}".endswith(f".{proven}" if proven else "")


def bounce_type(status: str) -> str:
    """Return SES's bounce type for an enhanced status code."""
    known = {
        "5.1.1": "DoesNotExist",
        "5.2.2": "ExceededQuota",
        "5.2.3": "MessageTooLarge",
        "5.3.4": "MessageTooLarge",
        "5.6.0": "ContentRejected",
        "5.7.1": "ContentRejected",
    }
    return known.get(status, "TemporaryFailure" if status.startswith("4") else "Undefined")
