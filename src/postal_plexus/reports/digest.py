"""Summarize the reports of a domain: who sends in its name, and which policy is safe."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from postal_plexus.reports.dmarc import Aggregate, Row
    from postal_plexus.reports.tls import TlsReport

# Amazon also signs what SES sends with its own domain.
SES_DOMAIN = "amazonses.com"
# How many days of reports make a stricter policy safe: some mail is sent once a month.
ENOUGH_DAYS = 14
# If more than this share of failures was forwarded, `reject` would lose it.
FORWARDED_SHARE = 0.01


class Kind(Enum):
    """Why mail from a source failed DMARC, as far as the report shows."""

    OURS = "sent by this stack or one of your servers, but neither signed nor sent as your domain"
    FORWARDED = "your mail, changed by a forward or a mailing list"
    SERVICE = "another service in your name: set up its DKIM if it is yours, else it is forged"
    UNPROVED = "nothing proves it: forged, unless it is a server of yours"


@dataclass(frozen=True, slots=True)
class Source:
    """Messages that failed, from one IP address, of one kind."""

    address: str
    kind: Kind
    count: int
    proved: tuple[str, ...]
    """Domains that the messages did authenticate, such as that of a mailing service."""


@dataclass(frozen=True, slots=True)
class DomainDigest:
    """The content of DMARC reports about one domain."""

    domain: str
    policy: str
    reporters: tuple[str, ...]
    begin: datetime
    end: datetime
    mails: int
    passed: int
    failing: tuple[Source, ...]

    @property
    def days(self) -> int:
        """The number of days from the first report's begin to the last one's end."""
        return max(0, (self.end - self.begin).days)

    def count(self, kind: Kind) -> int:
        """Return how many messages failed for a reason."""
        return sum(source.count for source in self.failing if source.kind is kind)

    @property
    def safe_policy(self) -> str:
        """The strictest policy that, by these reports, affects none of the domain's own mail."""
        if self.days < ENOUGH_DAYS or not self.mails or self.count(Kind.OURS):
            return "none"
        if self.count(Kind.SERVICE):
            return "none"
        forwarded = self.count(Kind.FORWARDED) / self.mails
        return "quarantine" if forwarded > FORWARDED_SHARE else "reject"

    @property
    def advice(self) -> str:
        """The next step, in a sentence."""
        if not self.mails:
            return "no mail was reported yet"
        if self.days < ENOUGH_DAYS:
            return f"wait until the reports cover {ENOUGH_DAYS} days (now {self.days})"
        if ours := self.count(Kind.OURS):
            return f"first mend what sends the {ours} messages of your own that fail"
        if service := self.count(Kind.SERVICE):
            return f"first find out whether the services behind {service} messages are yours"
        if _STRICTNESS[self.policy] >= _STRICTNESS[self.safe_policy]:
            return f"stay at {self.policy}"
        return f"{self.safe_policy} is safe now: set dmarc-policy in the stack file"


_STRICTNESS = defaultdict(int, {"none": 0, "quarantine": 1, "reject": 2})


@dataclass(frozen=True, slots=True)
class TlsDigest:
    """The content of TLS reports about one domain."""

    domain: str
    reporters: tuple[str, ...]
    begin: datetime
    end: datetime
    successes: int
    failures: tuple[tuple[str, int], ...]
    """Each kind of failure (RFC 8460, section 4.3), with the number of sessions."""


def domains(reports: Iterable[Aggregate]) -> tuple[DomainDigest, ...]:
    """Summarize by domain; a report that arrived twice counts once."""
    once = {(each.organisation, each.report_id, each.domain, each.begin): each for each in reports}
    by_domain: defaultdict[str, list[Aggregate]] = defaultdict(list)
    for report in once.values():
        by_domain[report.domain].append(report)
    return tuple(_domain(name, by_domain[name]) for name in sorted(by_domain))


def _domain(name: str, reports: list[Aggregate]) -> DomainDigest:
    rows = [row for report in reports for row in report.rows]
    failed: Counter[tuple[str, Kind]] = Counter()
    proved: defaultdict[tuple[str, Kind], set[str]] = defaultdict(set)
    for row in rows:
        if not row.passes:
            key = (row.source, _kind(row, name))
            failed[key] += row.count
            proved[key].update(_proved(row))
    newest = max(reports, key=lambda report: report.end)
    return DomainDigest(
        domain=name,
        policy=newest.policy,
        reporters=tuple(sorted({report.organisation for report in reports})),
        begin=min(report.begin for report in reports),
        end=newest.end,
        mails=sum(row.count for row in rows),
        passed=sum(row.count for row in rows if row.passes),
        failing=tuple(
            Source(address, kind, count, tuple(sorted(proved[address, kind])))
            for (address, kind), count in failed.most_common()
            if count
        ),
    )


def _kind(row: Row, domain: str) -> Kind:
    proved = _proved(row)
    claims_us = any(_within(proof.domain, domain) for proof in row.signatures)
    if "mailing_list" in row.reasons or "forwarded" in row.reasons:
        return Kind.FORWARDED
    if claims_us and not any(_within(each, domain) for each in proved):
        # Our signature exists but no longer verifies: the message was ours before it was changed. A
        # forger could also write one, but gains nothing.
        return Kind.FORWARDED
    if any(_within(each, SES_DOMAIN) or _within(each, domain) for each in proved):
        return Kind.OURS
    return Kind.SERVICE if proved else Kind.UNPROVED


def _proved(row: Row) -> set[str]:
    """Return the domains that a row's messages authenticated, aligned or not."""
    return {proof.domain for proof in (*row.signatures, *row.senders) if proof.result == "pass"}


def _within(name: str, domain: str) -> bool:
    return name == domain or name.endswith(f".{domain}")


def tls(reports: Iterable[TlsReport]) -> tuple[TlsDigest, ...]:
    """Summarize TLS reports by domain; a report that arrived twice counts once."""
    once = {(each.organisation, each.report_id, each.begin): each for each in reports}
    found: defaultdict[str, list[TlsReport]] = defaultdict(list)
    for report in once.values():
        for domain in {result.domain for result in report.results}:
            found[domain].append(report)
    return tuple(_tls(name, found[name]) for name in sorted(found))


def _tls(domain: str, reports: list[TlsReport]) -> TlsDigest:
    results = [each for report in reports for each in report.results if each.domain == domain]
    failures: Counter[str] = Counter()
    for result in results:
        for detail in result.details:
            failures[detail.kind] += detail.count
        if unexplained := result.failures - sum(detail.count for detail in result.details):
            failures["unexplained"] += max(0, unexplained)
    return TlsDigest(
        domain=domain,
        reporters=tuple(sorted({report.organisation for report in reports})),
        begin=min(report.begin for report in reports),
        end=max(report.end for report in reports),
        successes=sum(result.successes for result in results),
        failures=tuple((kind, count) for kind, count in failures.most_common() if count),
    )
