"""Parse DMARC aggregate reports: RFC 7489, appendix C, and the deviations of reporters."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from lxml import etree

from postal_plexus.reports.attachments import ReportError
from postal_plexus.reports.fields import moment, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

# lxml has no public name for it.
Element: TypeAlias = etree._Element  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

MOST_RECORDS = 100_000
_UTF_16 = {b"\xff\xfe", b"\xfe\xff"}
_ENCODING = re.compile(rb"encoding=[\"'](?!utf-8[\"'])", re.IGNORECASE)
_LATEST = 253402300799  # year 9999


@dataclass(frozen=True, slots=True)
class Proof:
    """What one DKIM signature or the SPF check authenticated: the domain, and the result."""

    domain: str
    result: str
    selector: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """Messages from one IP address with the same results.

    `dkim` and `spf` are whether the check passed *and* its domain is aligned with From, as DMARC
    requires; `signatures` and `senders` are the raw results.
    """

    source: str
    count: int
    disposition: str
    dkim: bool
    spf: bool
    header_from: str
    reasons: tuple[str, ...]
    signatures: tuple[Proof, ...]
    senders: tuple[Proof, ...]

    @property
    def passes(self) -> bool:
        """Whether DMARC passed."""
        return self.dkim or self.spf


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One report of one organisation on one domain."""

    organisation: str
    report_id: str
    begin: datetime
    end: datetime
    domain: str
    policy: str
    percent: int
    rows: tuple[Row, ...]


def read(octets: bytes) -> Aggregate:
    """Parse one report.

    Raises:
        ReportError: it is not an aggregate report, or lacks its identification.
    """
    # Some reporters wrap it into an element from the schema.
    root = next((each for each in _parse(octets).iter() if _name(each) == "feedback"), None)
    if root is None:
        raise ReportError("the XML is no DMARC report: it has no <feedback>")
    metadata, published = _child(root, "report_metadata"), _child(root, "policy_published")
    if metadata is None or published is None:
        raise ReportError("the DMARC report lacks report_metadata or policy_published")
    period = _child(metadata, "date_range")
    if period is None:
        raise ReportError("the DMARC report lacks date_range")
    domain = _text(published, "domain").lower().rstrip(".")
    if not domain:
        raise ReportError("the DMARC report names no domain")
    return Aggregate(
        organisation=_text(metadata, "org_name")
        or _text(metadata, "email").rpartition("@")[2]
        or "an unnamed reporter",
        report_id=_text(metadata, "report_id"),
        begin=_moment(_text(period, "begin")),
        end=_moment(_text(period, "end")),
        domain=domain,
        policy=_text(published, "p").lower() or "none",
        percent=_number(_text(published, "pct"), 100),
        rows=tuple(_rows(root)),
    )


def _parse(octets: bytes) -> Element:
    """Parse a stranger's XML: without entities and network, and despite small mistakes."""
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, recover=True, huge_tree=False
    )
    if octets[:2] not in _UTF_16 and not _ENCODING.search(octets[:200]):
        # An octet that is not UTF-8 would lose the text around it.
        octets = octets.decode("utf-8", "replace").encode()
    try:
        root = etree.fromstring(octets, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise ReportError(f"the XML is broken ({error})") from error
    if root is None:  # pyright: ignore[reportUnnecessaryComparison] - what `recover` gives for none
        raise ReportError("the XML is empty or broken")
    return root


def _rows(root: Element) -> Iterator[Row]:
    for number, record in enumerate(_children(root, "record")):
        if number >= MOST_RECORDS:
            raise ReportError(f"more than {MOST_RECORDS} records in one DMARC report")
        row, identifiers = _child(record, "row"), _child(record, "identifiers")
        if row is None:
            continue
        evaluated, results = _child(row, "policy_evaluated"), _child(record, "auth_results")
        yield Row(
            source=_address(_text(row, "source_ip")),
            count=_number(_text(row, "count"), 0),
            disposition=_text(evaluated, "disposition").lower() or "none",
            dkim=_text(evaluated, "dkim").lower() == "pass",
            spf=_text(evaluated, "spf").lower() == "pass",
            header_from=_text(identifiers, "header_from").lower().rstrip("."),
            reasons=tuple(_text(each, "type").lower() for each in _children(evaluated, "reason")),
            signatures=tuple(_proofs(results, "dkim")),
            senders=tuple(_proofs(results, "spf")),
        )


def _proofs(results: Element | None, method: str) -> Iterator[Proof]:
    for each in _children(results, method):
        domain, result = _text(each, "domain").lower().rstrip("."), _text(each, "result").lower()
        if domain:
            yield Proof(domain, result or "none", _text(each, "selector"))


# What XML gives --------------------------------------------------------------------------------


def _name(element: Element) -> str:
    """Return an element's name without its namespace; "" for a comment or an entity."""
    return str(element.tag).rpartition("}")[2].lower()


def _children(parent: Element | None, name: str) -> Iterator[Element]:
    """Return the children of a name, including those within an element from the schema."""
    for each in parent if parent is not None else ():
        if _name(each) == name:
            yield each
        elif _name(each) == "schema":
            yield from (one for one in each if _name(one) == name)


def _child(parent: Element | None, name: str) -> Element | None:
    return next(_children(parent, name), None)


def _text(parent: Element | None, name: str) -> str:
    """Return the text of a child, on one line of at most 300 characters; empty if there is none."""
    found = _child(parent, name)
    text = found.text if found is not None else None
    return one_line(text or "")


def _number(text: str, default: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 13 else default


def _moment(text: str) -> datetime:
    """Parse a time in seconds since 1970 (the RFC), or in text form (some reporters)."""
    whole = text.partition(".")[0]
    if whole.isascii() and whole.isdigit() and len(whole) < 13 and int(whole) <= _LATEST:
        return datetime.fromtimestamp(int(whole), UTC)
    try:
        return moment(text)
    except ValueError as error:
        raise ReportError(f"the DMARC report has the date {text!r:.60}") from error


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text or "unknown"
