"""One-time codes of an authenticator app (TOTP, RFC 6238), and recovery codes. Pure.

The parameters that every app supports: HMAC-SHA-1, six digits, steps of 30 seconds. A code of the
step before or after is also valid, for clocks that differ. None is valid twice (RFC 6238 section
5.2), so callers pass the step of the last code used.
"""

import base64
import hashlib
import hmac
from urllib.parse import quote

STEP_SECONDS = 30
DIGITS = 6
SECRET_OCTETS = 20
"""As long as the hash: RFC 4226 section 4, R6."""

RECOVERY_CODES = 8
_SLACK = 1
_BASE32 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")


def code_at(secret: bytes, step: int, digits: int = DIGITS) -> str:
    """Return the code of a step (RFC 4226 section 5.3)."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), hashlib.sha1)
    offset = digest[-1] & 0xF
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return str(number % 10**digits).zfill(digits)


def step_of(secret: bytes, code: str, now: float, last_step: int) -> int | None:
    """Return the step of a code; None if it is wrong, too old or was used.

    Args:
        secret: shared with the app.
        code: as typed, with or without blanks.
        now: seconds since the epoch.
        last_step: the step of the last code used.
    """
    typed = "".join(code.split())
    if not (typed.isascii() and typed.isdigit() and len(typed) == DIGITS):
        return None
    current = int(now) // STEP_SECONDS
    found = None
    for step in range(max(0, current - _SLACK), current + _SLACK + 1):
        # Compare all of them, so that the time reveals nothing.
        if hmac.compare_digest(code_at(secret, step), typed) and step > last_step:
            found = step
    return found


def as_text(secret: bytes) -> str:
    """Return a secret in the form for apps: Base32 without padding."""
    return base64.b32encode(secret).decode().rstrip("=")


def from_text(text: str) -> bytes | None:
    """Parse a secret of `SECRET_OCTETS`; None if it is not one."""
    if len(text) != SECRET_OCTETS * 8 // 5 or not _BASE32.issuperset(text):
        return None
    return base64.b32decode(text)


def uri(secret: bytes, address: str, issuer: str) -> str:
    """Return the URI for a QR code that apps read (Google Authenticator's key URI format)."""
    label = f"{quote(issuer, safe='')}:{quote(address, safe='')}"
    return f"otpauth://totp/{label}?secret={as_text(secret)}&issuer={quote(issuer, safe='')}"


def recovery_hash(code: str) -> str:
    """Hash a recovery code as typed: 80 random bits, so a fast hash is enough."""
    plain = "".join(each for each in code.lower() if each.isalnum())
    return hashlib.sha256(b"plexus-recovery " + plain.encode()).hexdigest()


def recovery_code(octets: bytes) -> str:
    """Return 10 random octets as a code that can be read out: `abcd-efgh-ijkl-mnop`."""
    text = base64.b32encode(octets).decode().lower()
    return "-".join(text[at : at + 4] for at in range(0, 16, 4))
