"""SES's pure parts: header reading, verdicts, SMTP password, ids, reports, what leaves."""

from __future__ import annotations

import base64
import email
import hmac
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ministack.core.sigv4 import derive_signing_key

from awsdesk.ses import header, notification, report, submission, trace_fields, verdicts
from awsdesk.ses.credentials import is_smtp_password, smtp_password
from awsdesk.ses.report import FailedRecipient, Report
from awsdesk.ses.trace_fields import Arrival
from awsdesk.ses.verdicts import EICAR, GTUBE, Origin, Scan, Status

NOW = datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC)


def arrival(**more: object) -> Arrival:
    """Give an arrival."""
    given: dict[str, object] = {
        "message_id": "id",
        "helo": "client.example",
        "client_address": "192.0.2.1",
        "sender": "w@e.example",
        "recipients": ("ann@example.org",),
        "received_at": NOW,
        "region": "us-east-1",
    }
    return Arrival(**{**given, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"\r\nbody\r\n", []),
        (b"A: 1\r\nB: 2\r\n\r\nC: 3\r\n", [("A", "1"), ("B", "2")]),
        (b"A: 1\nB: 2\n\nbody", [("A", "1"), ("B", "2")]),
        (b"A: one\r\n two\r\n\tthree\r\n\r\n", [("A", "one two three")]),
        (b"no field\r\nA: 1\r\n\r\n", [("A", "1")]),
        (b"A: 1", [("A", "1")]),
        (b"A: \xff\r\n\r\n", [("A", "\ufffd")]),
    ],
)
def test_fields(content: bytes, expected: list[tuple[str, str]]) -> None:
    """Folded lines are joined; what is no field is passed over."""
    assert expected == [(field.name, field.value) for field in header.fields(content)]


@given(st.binary())
def test_any_bytes_can_be_read_and_kept(content: bytes) -> None:
    """Taking no field out changes nothing, whatever the bytes are."""
    assert content == header.without(content, frozenset())
    assert content == header.without(content, frozenset({"not-there"}))


def test_fields_are_taken_out_whole() -> None:
    """Folded fields too; the rest stays byte for byte."""
    content = b"A: 1\r\nBcc: x\r\n y\r\nC: 3\r\nbcc: z\r\n\r\nBcc: body\r\n"
    assert b"A: 1\r\nC: 3\r\n\r\nBcc: body\r\n" == header.without(content, frozenset({"bcc"}))


def test_addresses_and_encoded_words() -> None:
    """Groups, comments and RFC 2047 are read as mail programs mean them."""
    found = header.fields(
        b"From: =?utf-8?q?J=C3=BCrgen?= <j@e.example>\r\nTo: a@x, B <b@y>\r\n\r\n"
    )
    assert ["j@e.example"] == header.addresses(found, "from")
    assert ["a@x", "b@y"] == header.addresses(found, "To")
    assert "J\u00fcrgen" == header.decoded("=?utf-8?q?J=C3=BCrgen?=")
    assert "=?nonsense?q?x?=" == header.decoded("=?nonsense?q?x?=")


def test_headers_over_10_kb_are_truncated() -> None:
    """The notification says so."""
    content = b"".join(b"X-%d: %s\r\n" % (n, b"v" * 100) for n in range(200)) + b"\r\n"
    mail = notification.mail_object(arrival(), content)
    assert True is mail["headersTruncated"]
    assert 0 < len(mail["headers"]) < 200  # type: ignore[arg-type]


@pytest.mark.parametrize("needle", [GTUBE, EICAR], ids=["gtube", "eicar"])
@pytest.mark.parametrize("before", [b"", b"x", b"xy", b"xyz"])
def test_the_test_strings_are_found(needle: bytes, before: bytes) -> None:
    """Plain, in base64 at any alignment and with line breaks, and soft-wrapped."""
    encoded = base64.encodebytes(before + needle + b" and more").replace(b"\n", b"\r\n")
    wrapped = needle[:30] + b"=\r\n" + needle[30:]
    for body in (before + needle, encoded, wrapped):
        found = verdicts.scan(b"Subject: t\r\n\r\n" + body)
        assert (needle == GTUBE) == (found.spam is Status.FAIL)
        assert (needle == EICAR) == (found.virus is Status.FAIL)


@given(st.binary(max_size=300))
def test_nothing_else_is_found(content: bytes) -> None:
    """Anything without the two strings passes."""
    assert Scan(Status.PASS, Status.PASS) == verdicts.scan(content)


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (Origin(), (Status.GRAY, Status.GRAY, Status.GRAY)),
        (Origin(passes_spf=True), (Status.PASS, Status.GRAY, Status.GRAY)),
        (Origin(relayed_by_ses=True), (Status.PASS, Status.GRAY, Status.GRAY)),
        (Origin(relayed_by_ses=True, signed_by_ses=True), (Status.PASS,) * 3),
    ],
)
def test_authentication_verdicts(origin: Origin, expected: tuple[Status, ...]) -> None:
    """The documented rule."""
    found = verdicts.judge(Scan(Status.PASS, Status.PASS), origin)
    assert expected == (found.spf, found.dkim, found.dmarc)


def test_the_smtp_password_is_awss() -> None:
    """A version byte, then SigV4's key for a fixed date signing `SendRawEmail`."""
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    key = derive_signing_key(secret, "11111111", "us-east-1", "ses")
    signature = hmac.digest(key, b"SendRawEmail", "sha256")
    made = smtp_password(secret, "us-east-1")
    assert b"\x04" + signature == base64.b64decode(made)
    assert is_smtp_password(made, secret, "us-east-1")
    assert not is_smtp_password(made, secret, "eu-west-1")
    assert not is_smtp_password("\u00e4", secret, "us-east-1")


def test_ids_are_of_sess_form() -> None:
    """40 characters of base32hex, different for different bytes."""
    assert "0" * 40 == trace_fields.receipt_id(bytes(25))
    assert "v" * 40 == trace_fields.receipt_id(b"\xff" * 25)
    assert "0" * 39 + "1" == trace_fields.receipt_id(bytes(24) + b"\x01")


def test_the_lines_on_top() -> None:
    """CRLF, no `for` with several recipients, spam lines only where scanned."""
    judged = verdicts.judge(Scan(Status.PASS, Status.FAIL), Origin())
    block = trace_fields.header_block(arrival(), judged)
    assert block.count(b"\n") == block.count(b"\r\n")
    parsed = email.message_from_bytes(block)
    assert "<w@e.example>" == parsed["Return-Path"]
    assert "for ann@example.org;" in parsed["Received"]
    assert "FAIL" == parsed["X-SES-Virus-Verdict"]
    several = trace_fields.header_block(
        arrival(recipients=("a@x", "b@x")), verdicts.unscanned(judged)
    )
    assert b" for " not in several
    assert b"X-SES-Spam-Verdict" not in several


def test_times_are_written_as_ses_writes_them() -> None:
    """Milliseconds and Z."""
    assert "2026-11-24T12:00:00.123Z" == notification.timestamp(NOW)


def test_a_report_can_be_read_by_machines() -> None:
    """multipart/report with one block a recipient, in CRLF."""
    content = report.compose(
        Report(
            sender="m@example.org",
            to="w@e.example",
            message_id="<x@y>",
            written_at=NOW,
            reporting_mta="dns; mx",
            explanation="Gr\u00fc\u00dfe\n",
            recipients=(
                FailedRecipient("a@x", "failed", "5.1.1", "smtp; 550"),
                FailedRecipient("b@x", "failed", "5.2.2"),
            ),
            original_header=b"Subject: \xff\r\n",
        )
    )
    parsed = email.message_from_bytes(content)
    text, status, original = parsed.get_payload()  # type: ignore[misc]
    assert "multipart/report" == parsed.get_content_type()
    assert "text/plain" == text.get_content_type()
    assert ["dns; mx", None, None] == [b["Reporting-MTA"] for b in status.get_payload()]
    assert [None, "rfc822; a@x", "rfc822; b@x"] == [
        b["Final-Recipient"] for b in status.get_payload()
    ]
    assert "text/rfc822-headers" == original.get_content_type()
    assert content.count(b"\n") == content.count(b"\r\n")


def test_what_leaves_has_sess_own_id_and_date() -> None:
    """Message-ID, Date, Bcc and control fields are replaced; all else is as it came."""
    content = b"X-SES-CONFIGURATION-SET: c\r\nFrom: a@x\r\nmessage-id: <m>\r\n\r\nbody\n.\r\n"
    left = submission.outgoing(content, "id", NOW, "eu-west-1", "192.0.2.25")
    assert left.startswith(b"Message-ID: <id@eu-west-1.amazonses.com>\r\nDate: Tue, 24 Nov 2026")
    assert left.endswith(b"From: a@x\r\n\r\nbody\n.\r\n")
    assert b"CONFIGURATION" not in left
