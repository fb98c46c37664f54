"""Parse TLS reports, RFC 8460: whether other servers reached us encrypted, and found our policy."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from postal_plexus.reports.attachments import ReportError
from postal_plexus.reports.fields import moment, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

MOST_POLICIES, MOST_DETAILS = 1000, 1000


@dataclass(frozen=True, slots=True)
class Failure:
    """One kind of failure: its type (RFC 8460, section 4.3) and the number of sessions."""

    kind: str
    count: int


@dataclass(frozen=True, slots=True)
class PolicyResult:
    """Sessions under one policy; `policy` is sts, tlsa or no-policy-found."""

    domain: str
    policy: str
    successes: int
    failures: int
    details: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class TlsReport:
    """One report of one organisation."""

    organisation: str
    report_id: str
    begin: datetime
    end: datetime
    results: tuple[PolicyResult, ...]


def read(octets: bytes) -> TlsReport:
    """Parse one report.

    Raises:
        ReportError: it is not a TLS report, or lacks its identification.
    """
    try:
        found: object = json.loads(octets.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ReportError(f"the JSON is broken ({error})") from error
    whole = _object(found)
    period = _object(whole.get("date-range"))
    if not period or "policies" not in whole:
        raise ReportError("the JSON is no TLS report: it lacks date-range or policies")
    return TlsReport(
        organisation=_text(whole.get("organization-name")) or "an unnamed reporter",
        report_id=_text(whole.get("report-id")),
        begin=_moment(period.get("start-datetime")),
        end=_moment(period.get("end-datetime")),
        results=tuple(_results(whole.get("policies"))),
    )


def _results(policies: object) -> Iterator[PolicyResult]:
    for each in _list(policies)[:MOST_POLICIES]:
        policy, summary = _object(each.get("policy")), _object(each.get("summary"))
        domain = _text(policy.get("policy-domain")).lower().rstrip(".")
        if not domain:
            continue
        yield PolicyResult(
            domain=domain,
            policy=_text(policy.get("policy-type")).lower(),
            successes=_count(summary.get("total-successful-session-count")),
            failures=_count(summary.get("total-failure-session-count")),
            details=tuple(_failures(each.get("failure-details"))),
        )


def _failures(details: object) -> Iterator[Failure]:
    for each in _list(details)[:MOST_DETAILS]:
        yield Failure(
            kind=_text(each.get("result-type")) or "unknown",
            count=_count(each.get("failed-session-count")),
        )


def _object(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _list(value: object) -> list[dict[str, Any]]:
    """Return the objects in a list; Google once sent a single object where the RFC has a list."""
    if isinstance(value, dict):
        return [cast("dict[str, Any]", value)]
    members = cast("list[object]", value) if isinstance(value, list) else []
    return [_object(each) for each in members]


def _text(value: object) -> str:
    return one_line(value) if isinstance(value, str) else ""


def _count(value: object) -> int:
    return value if type(value) is int and 0 <= value < 10**12 else 0


def _moment(value: object) -> datetime:
    try:
        return moment(_text(value))
    except ValueError as error:
        raise ReportError(f"the TLS report has the date {value!r:.60}") from error
