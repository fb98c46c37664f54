"""Mails that we rewrite: forwards, read back by Python's own email parser."""

from __future__ import annotations

from email import message_from_bytes, policy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postal_plexus.mail.forward import forward_header, split_fields


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
