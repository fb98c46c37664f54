"""The directory as SES receipt rules: which recipients each rule names.

SES refuses a recipient that no rule names during the SMTP session, so unknown mailboxes are refused
there. An address in a rule also matches its subaddresses; a domain matches all its addresses, which
a catch-all needs. SES allows 500 recipients per rule and 200 rules per set (Amazon SES Developer
Guide, "Service quotas in Amazon SES"). All rules do the same, and none may stop the evaluation: a
message to recipients of two rules must be received by both.

Recipients are distributed by a hash of each: one rule while they fit, otherwise two by the hash's
first bit, each of which is split by the next bit only when it is full. So the rules depend only on
the directory, and adding or removing an address changes one rule, splits one, or joins two. A rule
is named by its bits, so that the others keep their names.

Raises DirectoryError if 200 rules cannot hold the recipients. Because rules are split in half, this
happens between 60,000 and 65,000 recipients.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

from postal_plexus.directory.entries import DirectoryError
from postal_plexus.directory.model import Directory

RECIPIENTS_A_RULE = 500
RULES_A_SET = 200


@dataclass(frozen=True, slots=True)
class RuleRecipients:
    """The recipients of one receipt rule, and a name that stays when others change."""

    name: str
    recipients: tuple[str, ...]


def receipt_rules(directory: Directory) -> tuple[RuleRecipients, ...]:
    """Distribute what the directory knows over receipt rules, in the order of their names."""
    caught = {domain.name for domain in directory.domains if domain.catch_all is not None}
    addresses = (
        address
        for address in directory.hosted_addresses()
        if address.rpartition("@")[2] not in caught
    )
    rules = tuple(_split("recipients", sorted({*caught, *addresses}), 0))
    if len(rules) > RULES_A_SET:
        raise DirectoryError(
            f"needs {len(rules)} receipt rules for its addresses, and SES allows {RULES_A_SET}"
        )
    return rules


def _split(name: str, recipients: list[str], depth: int) -> Iterator[RuleRecipients]:
    if len(recipients) <= RECIPIENTS_A_RULE:
        # An empty half gets no rule: for SES an empty list means "every recipient".
        if recipients:
            yield RuleRecipients(name, tuple(recipients))
        return
    for bit in (0, 1):
        half = [recipient for recipient in recipients if _bit(recipient, depth) == bit]
        yield from _split(f"{name}-{bit}" if depth == 0 else f"{name}{bit}", half, depth + 1)


def _bit(recipient: str, depth: int) -> int:
    digest = sha256(recipient.encode()).digest()
    return digest[depth // 8] >> (7 - depth % 8) & 1
