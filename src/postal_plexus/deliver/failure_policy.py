"""What a failure means: the one place that decides. Pure.

Scope, as Postfix has it: what concerns the service holds everything (a gate), what concerns the
mail concerns all its recipients, what a reply says concerns one recipient.

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
    unknown again at the 5th receive        then handed over past the user's filters
    header above 3.5 MB, or 100,000 fields  failed 5.3.4
    more than 50 Received, our Delivered-To failed 5.4.6, dead letter: a loop is never answered
    virus                                   as configured: dead letter, Junk, dropped
    a forward's destination keeps bouncing  failed 5.2.1 for a week (`forward_bounces`)
    deferred for more than 5 days           failed 4.4.7
    a fault of our own                      deferred

    failed, and a bounce is safe            bounce; if SES refuses it, dead letter; if five others
                                            wait for their turn, deferred
    failed otherwise                        dead letter with recipient and reason
"""

from typing import NamedTuple

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
# A mail that Dovecot's process ended at so often, perhaps by what a filter makes of it, is filed
# without the filters.
UNFILTERED_RECEIVES = 5
_FIRST_RETRY_SECONDS = 15
_LONGEST_RETRY_SECONDS = 2 * 3600
# How long a directory that cannot be read keeps a mail from an address that seems not to exist.
DIRECTORY_SECONDS = 900.0
_LIST_PRECEDENCES = ("bulk", "list", "junk")
# DISABLED: the operator has turned scanning off.
_NO_SPAM = (Verdict.PASS, Verdict.DISABLED)


class Policy(NamedTuple):
    """What can be chosen about it."""

    over_quota_seconds: float

    def of_reply(self, recipient: str, reply: Reply, age: float) -> Disposition:
        """A recipient's disposition by Dovecot's reply, for a mail accepted `age` seconds ago."""
        if reply.positive:
            return Disposition(recipient, Fate.DELIVERED, reply.status, str(reply))
        if is_over_quota(reply):
            if age < self.over_quota_seconds:
                return Disposition(recipient, Fate.DEFERRED, "4.2.2", str(reply))
            return Disposition(recipient, Fate.FAILED, "5.2.2", str(reply))
        if reply.permanent:
            return Disposition(recipient, Fate.FAILED, reply.status, str(reply))
        return self.deferred(recipient, reply.status, str(reply), age)

    def deferred(self, recipient: str, status: str, reason: str, age: float) -> Disposition:
        """Try again, unless that has been done for long enough."""
        if age > GIVE_UP_SECONDS:
            return Disposition(recipient, Fate.FAILED, "4.4.7", f"given up: {reason}")
        return Disposition(recipient, Fate.DEFERRED, status, reason)


def is_over_quota(reply: Reply) -> bool:
    """Mailbox full: x.2.2 (RFC 3463, section 3.3), or a bare 552 (RFC 5321, section 4.2.3)."""
    if reply.positive:
        return False
    if reply.enhanced:
        return reply.enhanced.endswith(".2.2")
    return reply.code == 552


def retry_after(receive_count: int, jitter: float) -> int:
    """Seconds until the next attempt: 15 s, doubled each time, to 2 h; `jitter` in 0..1."""
    growing = _FIRST_RETRY_SECONDS * 2 ** min(receive_count - 1, 16)
    return int(min(growing, _LONGEST_RETRY_SECONDS) * (1.0 + 0.2 * jitter))


def bounce_is_safe(receipt: Receipt, age: float) -> str:
    """Why no bounce may be sent, or "" where it reaches the true sender and no one else."""
    return answer_is_safe(receipt) or ("too old for SES to bounce" if age > BOUNCE_SECONDS else "")


def answer_is_safe(receipt: Receipt) -> str:
    """Why no machine may answer, or "": the rule for bounces, `vacation` and `reject` alike.

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
    only: whoever signs for his own may still write anybody's address into MAIL FROM.
    """
    verdicts = receipt.verdicts
    if verdicts.spf is Verdict.PASS:
        return True
    domain = ascii_domain(receipt.envelope.sender.rpartition("@")[2])
    proven = ascii_domain(receipt.header("from").rpartition("@")[2].rstrip(" \t\r\n>"))
    # Without a From among all headers DMARC has nothing to pass by.
    return verdicts.dmarc is Verdict.PASS and f".{domain}".endswith(f".{proven}" if proven else "")


def bounce_type(status: str) -> str:
    """SES's word for an enhanced status code."""
    known = {
        "5.1.1": "DoesNotExist",
        "5.2.2": "ExceededQuota",
        "5.2.3": "MessageTooLarge",
        "5.3.4": "MessageTooLarge",
        "5.6.0": "ContentRejected",
        "5.7.1": "ContentRejected",
    }
    return known.get(status, "TemporaryFailure" if status.startswith("4") else "Undefined")
