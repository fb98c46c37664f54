"""Whom a filter's rejection may tell: by the marks of `deliver` in the mail that it rejects."""

from __future__ import annotations

import pytest

from postal_plexus.mail.outgoing.rejection import is_safe, without_marks

GOOD = b"X-Plexus-Verdicts: spam=PASS; virus=PASS; spf=PASS; dkim=FAIL; dmarc=FAIL\r\n"


def rejection(header: bytes, reason: bytes = b"no") -> bytes:
    """Return the line as Dovecot writes it."""
    attached = b"Content-Type: message/rfc822\r\n\r\n" + header + b"\r\n\r\n--b--\r\n"
    return b"--b\r\nContent-Type: text/plain\r\n\r\n" + reason + b"\r\n--b\r\n" + attached


@pytest.mark.parametrize(
    ("header", "safe"),
    [
        (GOOD, True),
        (GOOD.replace(b"spf=PASS", b"spf=FAIL"), False),
        (GOOD.replace(b"spam=PASS", b"spam=FAIL"), False),
        (GOOD.replace(b"virus=PASS", b"virus=FAIL"), False),
        (GOOD + b"X-Plexus-Policy: answer=no\r\n", False),
        (GOOD + b"X-Plexus-Policy: dmarc=junk; answer=no\r\n", False),
        (GOOD + b"X-Plexus-Policy: dmarc=junk\r\nX-Plexus-Policy: answer=no\r\n", False),
        (GOOD + b"X-Plexus-Policy: dmarc=junk\r\n", True),
        (GOOD + b"X-Forged-X-Plexus-Policy: answer=no\r\nSubject: answer=no\r\n", True),
        (b"Subject: x\r\n", False),
    ],
)
def test_who_may_be_told(header: bytes, safe: bool) -> None:
    """Whom a bounce may tell; what the user writes as his reason has no say."""
    assert safe == is_safe(rejection(header), outside=True)
    forged = b"Content-Type: message/rfc822\r\n\r\n" + GOOD
    assert safe == is_safe(rejection(header, forged), outside=True)
    assert b"X-Plexus" not in without_marks(rejection(header)).replace(b"X-Forged-X-Plexus", b"")


def test_a_colleague_is_told() -> None:
    """His mail has no verdicts: he has logged in."""
    assert is_safe(rejection(b"Subject: x\r\n"), outside=False)
