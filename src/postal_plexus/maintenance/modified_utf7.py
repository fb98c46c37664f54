"""Modified UTF-7: the encoding of folder names in IMAP4rev1 and on Dovecot's disk. Pure.

RFC 3501, section 5.1.3: printable ASCII stays, "&" is "&-", all else is UTF-16 in base64, with ","
for "/" and without padding.
"""

import base64
import re


def encode(text: str) -> str:
    """Return a name as it is on disk."""
    return re.sub(r"&|[^ -~]+", _shift, text)


def decode(text: str) -> str:
    """Return a readable name; one that is not modified UTF-7 stays unchanged."""
    return re.sub(r"&([A-Za-z0-9+,]*)-", _unshift, text)


def _shift(match: re.Match[str]) -> str:
    if match[0] == "&":
        return "&-"
    octets = match[0].encode("utf-16-be", "surrogatepass")
    return f"&{base64.b64encode(octets, b'+,').decode().rstrip('=')}-"


def _unshift(match: re.Match[str]) -> str:
    if not match[1]:
        return "&"
    try:
        octets = base64.b64decode(match[1] + "=" * (-len(match[1]) % 4), b"+,", validate=True)
        return octets.decode("utf-16-be")
    except ValueError:
        return match[0]
