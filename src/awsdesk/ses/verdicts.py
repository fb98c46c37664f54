"""SES's verdicts on a received mail.

Spam and virus: the two strings made for testing scanners, and nothing else. GTUBE
(https://spamassassin.apache.org/gtube/) is spam, EICAR (https://www.eicar.org) is a virus, written
plainly or in base64 or quoted-printable.

SPF, DKIM, DMARC: the desk sees no DNS but its own, so a foreign sender has no policy to check it
by: GRAY, SES's word for "no policy" or "not signed", unless the desk's settings say that SPF passes
for strangers (`strangers_pass_spf`). Mail that SES itself sent
(`relayed_by_ses`) comes from its own addresses with its own envelope sender, so SPF passes; DKIM
passes if the identity signs (Easy DKIM on), and then so does DMARC.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from enum import StrEnum

GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


class Status(StrEnum):
    """The statuses that SES documents for a verdict."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    FAIL = "FAIL"
    GRAY = "GRAY"
    PROCESSING_FAILED = "PROCESSING_FAILED"
    DISABLED = "DISABLED"


@dataclass(frozen=True)
class Verdicts:
    """One status per check; `dmarc_policy` only where DMARC failed."""

    spam: Status
    virus: Status
    spf: Status
    dkim: Status
    dmarc: Status
    dmarc_policy: str | None = None


@dataclass(frozen=True)
class Scan:
    """What the content scanner found."""

    spam: Status
    virus: Status


@dataclass(frozen=True)
class Origin:
    """What is known of where the mail came from."""

    relayed_by_ses: bool = False
    passes_spf: bool = False
    signed_by_ses: bool = False


def scan(content: bytes) -> Scan:
    """Look for GTUBE and EICAR in the content, also inside base64 and soft-wrapped lines."""
    joined = content.replace(b"=\r\n", b"").replace(b"\r\n", b"")
    return Scan(
        spam=Status.FAIL if _contains(content, joined, GTUBE) else Status.PASS,
        virus=Status.FAIL if _contains(content, joined, EICAR) else Status.PASS,
    )


def _contains(content: bytes, joined: bytes, needle: bytes) -> bool:
    return any(form in content or form in joined for form in (needle, *_in_base64(needle)))


def _in_base64(needle: bytes) -> tuple[bytes, ...]:
    """Return what the needle looks like in base64 at each of the three alignments."""
    forms: list[bytes] = []
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + needle)
        # The first characters mix in what stands before, the last what stands after.
        start = (shift * 8 + 5) // 6
        end = (shift + len(needle)) * 8 // 6
        forms.append(encoded[start:end])
    return tuple(forms)


def judge(found: Scan, origin: Origin) -> Verdicts:
    """Return all verdicts by the rule in this module's docstring."""
    if not origin.relayed_by_ses:
        spf = Status.PASS if origin.passes_spf else Status.GRAY
        return Verdicts(found.spam, found.virus, spf, Status.GRAY, Status.GRAY)
    signed = Status.PASS if origin.signed_by_ses else Status.GRAY
    return Verdicts(found.spam, found.virus, Status.PASS, signed, signed)


def unscanned(verdicts: Verdicts) -> Verdicts:
    """Return the verdicts as a rule with scanning turned off reports them."""
    return Verdicts(
        Status.DISABLED,
        Status.DISABLED,
        verdicts.spf,
        verdicts.dkim,
        verdicts.dmarc,
        verdicts.dmarc_policy,
    )
