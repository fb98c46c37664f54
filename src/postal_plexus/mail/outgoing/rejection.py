"""A rejection that Dovecot writes for a filter (RFC 5429): may its sender be told, and of what.

It holds the header of the mail that was rejected, with the verdicts and the policy that `deliver`
has set. Telling a sender that SES could not authenticate would be backscatter, and no machine
answers a machine or a list, so the rules for bounces hold here as well.
"""

import re

_HEADER = b"Content-Type: message/rfc822\r\n\r\n"
_VERDICTS = re.compile(rb"^X-Plexus-Verdicts:[ \t]*([^\r\n]*)", re.MULTILINE | re.IGNORECASE)
_POLICY = re.compile(rb"^X-Plexus-Policy:[^\r\n]*\banswer=no\b", re.MULTILINE | re.IGNORECASE)
_OURS = re.compile(
    rb"^(?:X-Plexus-|X-Forged-|X-SES-|Authentication-Results:|Received-SPF:)[^\n]*\n"
    rb"(?:[ \t][^\n]*\n)*",
    re.MULTILINE | re.IGNORECASE,
)


def is_safe(body: bytes, *, outside: bool) -> bool:
    """Whether the sender of the rejected mail may be told.

    Only what follows the last header of an attached mail counts: what a user or a stranger wrote
    stands before it. A mail without verdicts came from a local user, to whom it may return.
    """
    _, found, header = body.rpartition(_HEADER)
    verdicts = _VERDICTS.search(header) if found else None
    if verdicts is None:
        return not outside
    results = (each.strip().partition(b"=") for each in verdicts[1].split(b";"))
    said = {check: verdict for check, _, verdict in results}
    if _POLICY.search(header) is not None:
        return False
    authentic = b"PASS" in (said.get(b"spf"), said.get(b"dmarc"))
    return authentic and said.get(b"spam") == b"PASS" and said.get(b"virus") != b"FAIL"


def without_marks(body: bytes) -> bytes:
    """The body without our own marks and others' verdicts in the header of the rejected mail."""
    before, found, header = body.rpartition(_HEADER)
    return before + found + _OURS.sub(b"", header)
