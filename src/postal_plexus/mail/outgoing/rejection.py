"""A rejection that Dovecot writes for a filter (RFC 5429): may its sender be told, and what.

It contains the header of the rejected message, with the verdicts and the policy from `deliver`.
Telling a sender whom SES could not authenticate would be backscatter, and automatic messages and
lists must not get automatic replies, so the rules for bounces apply here as well.
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
    """Return whether the sender of the rejected message may be told.

    Only what follows the last header of an attached message counts, because a user or a stranger
    may have written what precedes it. A message without verdicts came from a local user, to whom it
    may be returned.
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
    """Return the body without our marks and others' verdicts in the rejected message's header."""
    before, found, header = body.rpartition(_HEADER)
    return before + found + _OURS.sub(b"", header)
