"""Receipt rules: which rule applies to which recipients of a mail.

The evaluation that SES documents for its active receipt rule set
(https://docs.aws.amazon.com/ses/latest/dg/receiving-email-concepts.html). Rules are taken in
order. A rule that matches any recipient runs all its actions once for the whole message, and gets
only the recipients that it matched. `Stop` ends the rule set, for every recipient.

Pure. Nothing here fails: an invalid condition matches no recipient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


@dataclass(frozen=True)
class StoreAction:
    """The S3 action: store the content, then notify the topic."""

    bucket: str
    key_prefix: str = ""
    topic_arn: str | None = None


@dataclass(frozen=True)
class PublishAction:
    """The SNS action: publish the notification with the content in it (at most 150 KB)."""

    topic_arn: str
    encoding: str = "UTF-8"


@dataclass(frozen=True)
class HeaderAction:
    """Add a header field; the actions after this one see it."""

    name: str
    value: str


@dataclass(frozen=True)
class BounceAction:
    """Answer with a bounce from `sender`."""

    sender: str
    smtp_reply_code: str
    message: str
    status_code: str | None = None
    topic_arn: str | None = None


@dataclass(frozen=True)
class StopAction:
    """End the evaluation of the whole rule set."""

    topic_arn: str | None = None


Action = StoreAction | PublishAction | HeaderAction | BounceAction | StopAction


@dataclass(frozen=True)
class Rule:
    """One receipt rule. No recipients means: everyone at a verified domain."""

    name: str
    actions: tuple[Action, ...]
    recipients: tuple[str, ...] = ()
    enabled: bool = True
    scan: bool = True
    requires_tls: bool = False


@dataclass(frozen=True)
class RuleSet:
    """Rules in the order in which they are evaluated."""

    name: str
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Match:
    """A rule that applies to a mail, and the envelope recipients that made it apply."""

    rule: Rule
    recipients: tuple[str, ...]


def condition_matches(condition: str, recipient: str) -> bool:
    """Return whether one recipient condition matches one envelope recipient.

    Three forms: `user@example.com` (with any `+label`, unless the condition itself has one),
    `example.com` (that domain, not its subdomains), `.example.com` (its subdomains, not itself).
    Letter case never matters.
    """
    condition = condition.strip().lower()
    local_part, at, domain = recipient.lower().rpartition("@")
    if not at or not local_part or not domain or not condition:
        return False
    wanted_local, wanted_at, wanted_domain = condition.rpartition("@")
    if wanted_at:
        if wanted_domain != domain:
            return False
        return wanted_local == local_part or (
            "+" not in wanted_local and wanted_local == local_part.partition("+")[0]
        )
    if condition.startswith("."):
        return domain.endswith(condition) and len(domain) > len(condition)
    return domain == condition


def is_at_verified_domain(recipient: str, verified_domains: Collection[str]) -> bool:
    """Return whether the recipient's domain, or a parent of it, is a verified identity."""
    labels = recipient.lower().rpartition("@")[2].split(".")
    parents = {".".join(labels[start:]) for start in range(len(labels))}
    return any(domain.lower() in parents for domain in verified_domains)


def rule_matches(rule: Rule, recipient: str, verified_domains: Collection[str]) -> bool:
    """Return whether an enabled rule applies to the recipient."""
    if not rule.enabled or not is_at_verified_domain(recipient, verified_domains):
        return False
    if not rule.recipients:
        return True
    return any(condition_matches(condition, recipient) for condition in rule.recipients)


def matching_rules(
    rule_set: RuleSet | None, recipient: str, verified_domains: Collection[str]
) -> tuple[Rule, ...]:
    """Return every enabled rule that names the recipient; none means that SES refuses it."""
    if rule_set is None:
        return ()
    return tuple(r for r in rule_set.rules if rule_matches(r, recipient, verified_domains))


def evaluate(
    rule_set: RuleSet | None, recipients: Iterable[str], verified_domains: Collection[str]
) -> tuple[Match, ...]:
    """Return the rules to run for a mail, in order, up to and including the first with a Stop."""
    if rule_set is None:
        return ()
    envelope = tuple(recipients)
    matches: list[Match] = []
    for rule in rule_set.rules:
        matched = tuple(r for r in envelope if rule_matches(rule, r, verified_domains))
        if not matched:
            continue
        matches.append(Match(rule, matched))
        if any(isinstance(action, StopAction) for action in rule.actions):
            break
    return tuple(matches)
