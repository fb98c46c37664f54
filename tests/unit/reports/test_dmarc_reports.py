"""DMARC and TLS reports, and what they say together."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from postal_plexus.reports import digest, dmarc, tls
from postal_plexus.reports.attachments import ReportError
from postal_plexus.reports.digest import Kind
from postal_plexus.reports.recognition import is_authenticated, may_hold_report

START = datetime(2026, 11, 1, tzinfo=UTC)


def record(
    count: int = 1,
    dkim: str = "fail",
    spf: str = "fail",
    proofs: str = "",
    source: str = "192.0.2.1",
    reason: str = "",
) -> str:
    why = f"<reason><type>{reason}</type></reason>" if reason else ""
    return (
        f"<record><row><source_ip>{source}</source_ip><count>{count}</count><policy_evaluated>"
        f"<disposition>none</disposition><dkim>{dkim}</dkim><spf>{spf}</spf>{why}"
        "</policy_evaluated></row><identifiers><header_from>example.org</header_from>"
        f"</identifiers><auth_results>{proofs}</auth_results></record>"
    )


def signed(domain: str, result: str = "pass") -> str:
    return f"<dkim><domain>{domain}</domain><result>{result}</result></dkim>"


def report(*records: str, days: int = 20, id_: str = "1", policy: str = "none") -> dmarc.Aggregate:
    begin = int(START.timestamp())
    return dmarc.read(
        (
            "<?xml version='1.0'?><feedback><report_metadata><org_name>receiver.example</org_name>"
            f"<report_id>{id_}</report_id><date_range><begin>{begin}</begin>"
            f"<end>{begin + days * 86400}</end></date_range></report_metadata><policy_published>"
            f"<domain>Example.org</domain><p>{policy}</p></policy_published>"
            f"{''.join(records)}</feedback>"
        ).encode()
    )


def summed(*records: str, **more: object) -> digest.DomainDigest:
    (found,) = digest.domains([report(*records, **more)])
    return found


GOOD = record(100, "pass", "fail", signed("example.org"))


def test_a_report_is_read_whole() -> None:
    """Each field of an aggregate report (RFC 7489, appendix C) that the summary uses."""
    found = report(record(3, "pass", "fail", signed("example.org"), "2001:db8::1"))
    assert ("receiver.example", "1", "example.org", "none", 100) == (
        found.organisation,
        found.report_id,
        found.domain,
        found.policy,
        found.percent,
    )
    assert (START, START + timedelta(days=20)) == (found.begin, found.end)
    (row,) = found.rows
    assert ("2001:db8::1", 3, True, False) == (row.source, row.count, row.dkim, row.spf)
    assert row.passes
    assert (dmarc.Proof("example.org", "pass"),) == row.signatures


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (record(proofs=signed("example.org", "fail")), Kind.FORWARDED),
        (record(proofs=signed("list.example"), reason="mailing_list"), Kind.FORWARDED),
        (record(proofs=signed("amazonses.com")), Kind.OURS),
        (record(proofs=signed("mailer.example")), Kind.SERVICE),
        (record(), Kind.UNPROVED),
        # Both signatures of a mail of ours, changed on its way and then signed by a list.
        (record(proofs=signed("example.org", "fail") + signed("list.example")), Kind.FORWARDED),
        # A name that only ends like ours.
        (record(proofs=signed("notexample.org")), Kind.SERVICE),
    ],
)
def test_why_a_mail_failed(text: str, kind: Kind) -> None:
    """By its signatures: forwarded, sent by us without our DKIM, by a service, or unproved."""
    assert [kind] == [source.kind for source in summed(text).failing]


@pytest.mark.parametrize(
    ("records", "days", "safe"),
    [
        ([GOOD], 20, "reject"),
        ([GOOD], 13, "none"),
        ([GOOD, record(50)], 20, "reject"),
        ([GOOD, record(proofs=signed("amazonses.com"))], 20, "none"),
        ([GOOD, record(proofs=signed("mailer.example"))], 20, "none"),
        ([GOOD, record(5, proofs=signed("example.org", "fail"))], 20, "quarantine"),
        ([], 20, "none"),
    ],
)
def test_which_policy_is_safe(records: list[str], days: int, safe: str) -> None:
    """Forgeries do not hold a policy back; own mail that fails does."""
    assert safe == summed(*records, days=days).safe_policy


def test_advice_follows_the_policy_that_is_there() -> None:
    """With nothing but good mail: from quarantine to reject, and then no further."""
    assert "reject is safe now" in summed(GOOD, policy="quarantine").advice
    assert "stay at reject" == summed(GOOD, policy="reject").advice


def test_a_report_that_came_twice_counts_once() -> None:
    """By reporter and report id: mail is delivered at least once."""
    (found,) = digest.domains([report(GOOD), report(GOOD), report(GOOD, id_="2")])
    assert (200, 200, 1) == (found.mails, found.passed, len(found.reporters))


def test_entities_are_not_expanded() -> None:
    """Neither a file of this machine nor a billion laughs."""
    text = (
        '<?xml version="1.0"?><!DOCTYPE f [<!ENTITY a SYSTEM "file:///etc/passwd">'
        '<!ENTITY b "xx"><!ENTITY c "&b;&b;&b;">]><feedback><report_metadata><org_name>&a;&c;'
        "</org_name><date_range><begin>1</begin><end>2</end></date_range></report_metadata>"
        "<policy_published><domain>example.org</domain></policy_published></feedback>"
    )
    found = dmarc.read(text.encode())
    assert "root:" not in found.organisation
    assert "xx" not in found.organisation


def test_what_a_terminal_would_obey_is_not_printed() -> None:
    """A report's organisation may hold control characters and text directions."""
    found = report().organisation
    assert found.isprintable()
    hostile = dmarc.read(
        b"<feedback><report_metadata><org_name>a&#155;31m\n\nb&#x202e;c</org_name><date_range>"
        b"<begin>1</begin><end>2</end></date_range></report_metadata><policy_published>"
        b"<domain>example.org</domain></policy_published></feedback>"
    )
    assert "a 31m b c" == hostile.organisation


@pytest.mark.parametrize(
    "octets",
    [
        b"<feedback/>",
        b"<html/>",
        b"",
        b"<feedback><report_metadata/><policy_published/></feedback>",
        (
            b"<feedback><report_metadata><date_range><begin>x</begin></date_range></report_metadata>"
            b"<policy_published><domain>d</domain></policy_published></feedback>"
        ),
    ],
)
def test_what_is_no_aggregate_is_an_error(octets: bytes) -> None:
    """Other XML, none, and reports without a domain or with a time that is no number."""
    with pytest.raises(ReportError):
        dmarc.read(octets)


@pytest.mark.parametrize("octets", [b"{}", b"[1]", b"{" * 100_000, b'{"date-range": 1}', b"nul"])
def test_what_is_no_tls_report_is_an_error(octets: bytes) -> None:
    """Other JSON, nesting without end, and text that is none."""
    with pytest.raises(ReportError):
        tls.read(octets)


def test_tls_failures_are_summed_by_kind() -> None:
    """Failed sessions without details (RFC 8460, section 4.4) are counted, too, as unexplained."""
    whole = {
        "organization-name": "receiver.example",
        "report-id": "1",
        "date-range": {
            "start-datetime": "2026-11-01T00:00:00Z",
            "end-datetime": "2026-11-01T23:59:59Z",
        },
        "policies": [
            {
                "policy": {"policy-type": "sts", "policy-domain": "example.org"},
                "summary": {
                    "total-successful-session-count": 10,
                    "total-failure-session-count": 5,
                },
                "failure-details": [
                    {"result-type": "certificate-expired", "failed-session-count": 3}
                ],
            }
        ],
    }
    (found,) = digest.tls([tls.read(json.dumps(whole).encode())])
    assert ("example.org", 10) == (found.domain, found.successes)
    assert (("certificate-expired", 3), ("unexplained", 2)) == found.failures


def test_only_what_ses_authenticated_is_believed() -> None:
    """The sender writes what it likes below SES's own field."""
    proved = b"Authentication-Results: amazonses.com;\r\n spf=pass;\r\n dkim=fail\r\n"
    forged = b"Authentication-Results: amazonses.com;\r\n spf=fail\r\n"
    assert is_authenticated(b"Return-Path: <a@b>\r\n" + proved + b"Subject: x\r\n\r\n")
    assert not is_authenticated(forged + proved + b"\r\n")
    assert not is_authenticated(b"Subject: x\r\n\r\n" + proved)
    helo = b"Authentication-Results: amazonses.com;\r\n spf=fail helo=x dkim=pass;\r\n"
    assert not is_authenticated(helo + b"\r\n")
    assert not is_authenticated(b"Authentication-Results: evil.example; dkim=pass\r\n\r\n")


def test_reports_are_recognised_by_their_head() -> None:
    """By subject (RFC 7489, 7.2.1.1), type or file name, without reading the body."""
    assert may_hold_report(b"Subject: Report Domain: example.org Submitter: x Report-ID: 1\r\n")
    assert may_hold_report(b"Content-Type: application/gzip\r\n")
    assert may_hold_report(b'Content-Type: x/y;\r\n filename="a.example!b.example!1!2.xml.gz"\r\n')
    assert not may_hold_report(b"Subject: lunch!\r\nContent-Type: text/plain\r\n\r\nAt one!\r\n")
