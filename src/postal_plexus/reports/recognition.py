"""Recognize by the first octets of a received message whether it has a trustworthy report."""

from __future__ import annotations

import re

# They contain a report's header, and in a multipart that of its attachment.
HEAD = 16 * 1024

_NAMED = re.compile(
    rb"^Subject:[^\n]*(?:Report[- ]?Domain|Report-ID|DMARC)|"
    rb"report-type=\"?tlsrpt|application/tlsrpt|"
    # RFC 7489, section 7.2.1.1: receiver!domain!begin!end.xml.gz
    rb"name\*?=\"?[^\"\r\n!]+![^\"\r\n!]+!\d+",
    re.IGNORECASE | re.MULTILINE,
)
_TYPED = re.compile(
    rb"^Content-Type:\s*(?:application/(?:x-)?(?:gzip|zip|zip-compressed)|(?:application|text)/xml)",
    re.IGNORECASE | re.MULTILINE,
)
# Each result begins a line of the folded field; a client's HELO, which SES quotes, does not.
_PROVED = re.compile(rb"\n[ \t]+(?:dkim|spf)=pass\b")


def may_hold_report(head: bytes) -> bool:
    """Return whether a message looks like one with a DMARC or TLS report."""
    return bool(_NAMED.search(head) or _TYPED.search(head))


def is_authenticated(head: bytes) -> bool:
    """Return whether SES authenticated the sender by DKIM or SPF (RFC 7489, section 7.2.1.1).

    SES writes its results above everything that the sender wrote; only the first is trusted.
    """
    header = re.split(rb"\r?\n\r?\n", head, maxsplit=1)[0]
    for field in re.split(rb"\r?\n(?![ \t])", header):
        if field.lower().startswith(b"authentication-results:"):
            return b"amazonses.com;" in field and bool(_PROVED.search(field))
    return False
