"""Mails that we write or rewrite: forwards and notices, read back by Python's own email parser."""

from __future__ import annotations

import json
from email import message_from_bytes, policy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postal_plexus.mail.echo import EchoKind, read_event, render
from postal_plexus.mail.forward import forward_header, split_fields
from postal_plexus.mail.receipt import NotificationError


def forwarded(header: bytes, author: str = "a@b.c") -> Any:
    """The forward's header, parsed."""
    fields = split_fields(header)
    return message_from_bytes(
        forward_header(fields, "info@example.org", author) + b"\r\n", policy=policy.default
    )


@pytest.mark.parametrize(
    ("written_by", "name"),
    [
        (b"Ann Author <ann@else.example>", 'Ann Author via info@example.org'),
        (b'"Author, Ann" <ann@else.example>', 'Author, Ann via info@example.org'),
        (b"ann@else.example", "ann@else.example via info@example.org"),
        (b"=?utf-8?q?Ren=C3=A9?= <ann@else.example>", "René via info@example.org"),
        ("René <ann@else.example>".encode(), "René via info@example.org"),
    ],
)  # fmt: skip
def test_from_is_ours_and_names_the_author(written_by: bytes, name: str) -> None:
    """SES takes it; the reader sees who wrote; an answer goes to the author."""
    mail = forwarded(b"From: " + written_by + b"\r\nSubject: hi\r\n")
    address = mail["From"].addresses[0]
    assert ("info@example.org", name) == (address.addr_spec, address.display_name)
    assert "ann@else.example" == mail["Reply-To"].addresses[0].addr_spec
    assert "info@example.org" == mail["Delivered-To"]
    assert "hi" == mail["Subject"]


def test_an_authors_own_reply_to_stays() -> None:
    """Who asked for answers elsewhere gets them there."""
    mail = forwarded(b"From: a@b.c\r\nReply-To: list@else.example\r\n")
    assert ["list@else.example"] == [each.addr_spec for each in mail["Reply-To"].addresses]


def test_what_would_instruct_ses_or_fail_is_left_out() -> None:
    """X-SES-*, signatures over the old From, and a second From."""
    header = (
        b"X-SES-CONFIGURATION-SET: evil\r\nDKIM-Signature: v=1;\r\n b=x\r\nReturn-Path: <x@y>\r\n"
        b"Sender: s@t\r\nBcc: u@v\r\nFrom: a@b.c\r\nfrom: evil@b.c\r\nX-Kept: 1\r\n"
    )
    mail = forwarded(header)
    assert ["Delivered-To", "From", "Reply-To", "X-Kept"] == mail.keys()


@given(st.binary(max_size=200))
def test_any_header_block_gives_one_from_of_ours(header: bytes) -> None:
    """Arbitrary octets: the forward's header block still is one, and its From is the alias's."""
    block = header.replace(b"\r", b"").replace(b"\n", b"\r\n")
    out = forward_header(split_fields(block), "info@example.org", "")
    assert b"\r\n\r\n" not in out
    lines = [line for line in out.split(b"\r\n") if line.lower().startswith(b"from:")]
    assert 1 == len(lines)
    assert lines[0].endswith(b"<info@example.org>")


def event(kind: str, details: dict[str, Any], **mail: Any) -> str:
    """An event as SES publishes it."""
    names = {"Bounce": "bounce", "Complaint": "complaint", "DeliveryDelay": "deliveryDelay"}
    return json.dumps(
        {
            "eventType": kind,
            names.get(kind, "x"): {"timestamp": "2026-11-24T04:00:00.000Z", **details},
            "mail": {
                "messageId": "ses-1",
                "source": "Ann <ann@example.org>",
                "headers": [{"name": "Message-ID", "value": "<own-1@laptop.example>"}],
                "commonHeaders": {"subject": "Our plan"},
                **mail,
            },
        }
    )


BOUNCE = {
    "bounceType": "Permanent",
    "feedbackId": "f-1",
    "reportingMTA": "dsn; a8-70.smtp-out.amazonses.com",
    "bouncedRecipients": [
        {
            "emailAddress": "gone@else.example",
            "status": "5.1.1",
            "diagnosticCode": "smtp; 550 5.1.1\r\nno such user",
        }
    ],
}


def test_a_bounce_becomes_a_delivery_status_notification() -> None:
    """RFC 3464, threaded to the mail that it speaks of, and never answered by a machine."""
    echo = read_event(event("Bounce", BOUNCE))
    assert echo is not None
    assert (EchoKind.BOUNCE, "ann@example.org") == (echo.kind, echo.sender)
    mail = message_from_bytes(render(echo, echo.sender, "mail.example.org"), policy=policy.default)
    assert not mail.defects
    assert "multipart/report" == mail.get_content_type()
    assert "<own-1@laptop.example>" == mail["In-Reply-To"]
    assert ("Undelivered mail: Our plan", "auto-replied") == (
        mail["Subject"],
        mail["Auto-Submitted"],
    )
    human, machine = mail.iter_parts()
    assert "gone@else.example" in human.get_content()
    per_recipient = machine.get_payload()[1]  # type: ignore[index]
    assert ("rfc822; gone@else.example", "failed", "5.1.1") == (
        per_recipient["Final-Recipient"],  # type: ignore[index]
        per_recipient["Action"],  # type: ignore[index]
        per_recipient["Status"],  # type: ignore[index]
    )


def test_a_complaint_becomes_a_feedback_report() -> None:
    """RFC 5965."""
    details = {"feedbackId": "f", "complainedRecipients": [{"emailAddress": "x@else.example"}]}
    echo = read_event(event("Complaint", details))
    assert echo is not None
    mail = message_from_bytes(render(echo, echo.sender, "h.example.org"), policy=policy.default)
    assert "feedback-report" == mail["Content-Type"].params["report-type"]
    assert b"Feedback-Type: abuse\r\n" in render(echo, echo.sender, "h.example.org")


def test_the_same_event_is_the_same_notice() -> None:
    """Identity and octets do not depend on when it is read; another event's differ."""
    one, same = read_event(event("Bounce", BOUNCE)), read_event(event("Bounce", BOUNCE))
    other = read_event(event("Bounce", {**BOUNCE, "feedbackId": "f-2"}))
    assert one is not None
    assert same is not None
    assert other is not None
    assert render(one, one.sender, "h.example") == render(same, same.sender, "h.example")
    assert one.echo_id == same.echo_id != other.echo_id


def test_other_events_are_no_echoes() -> None:
    """Sends, deliveries and opens concern nobody's mailbox."""
    assert read_event(event("Send", {})) is None


@given(
    st.sampled_from(["Bounce", "Complaint", "DeliveryDelay"]),
    st.dictionaries(
        st.sampled_from(["bouncedRecipients", "delayedRecipients", "feedbackId", "timestamp"]),
        st.one_of(
            st.text(), st.none(), st.lists(st.dictionaries(st.just("emailAddress"), st.text()))
        ),
    ),
    st.one_of(st.text(), st.none(), st.integers()),
)
def test_arbitrary_events_never_crash(kind: str, details: dict[str, Any], source: object) -> None:
    """An echo that can be rendered, nothing, or a NotificationError."""
    try:
        echo = read_event(event(kind, details, source=source, commonHeaders={"subject": source}))
    except NotificationError:
        return
    if echo is not None:
        render(echo, "ann@example.org", "mail.example.org")
