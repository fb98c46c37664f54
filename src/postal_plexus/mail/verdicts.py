"""SES's verdicts on a message, and the two header lines that carry them to the mailbox.

They are taken only from the notification's JSON, because a sender can write headers. An unknown
status is read as `UNKNOWN` and never counts as passed.
"""

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """The status of one check."""

    PASS = "PASS"  # noqa: S105  (not a password)
    FAIL = "FAIL"
    GRAY = "GRAY"
    PROCESSING_FAILED = "PROCESSING_FAILED"
    DISABLED = "DISABLED"
    UNKNOWN = "UNKNOWN"


# RFC 8601, section 2.7: SES's status as a result of SPF, DKIM and DMARC.
_RESULT = {
    Verdict.PASS: "pass",
    Verdict.FAIL: "fail",
    Verdict.GRAY: "none",
    Verdict.PROCESSING_FAILED: "temperror",
    Verdict.DISABLED: "none",
    Verdict.UNKNOWN: "none",
}
_KNOWN = {verdict.value: verdict for verdict in Verdict}
_POLICIES = {"NONE": "none", "QUARANTINE": "quarantine", "REJECT": "reject"}


def read_verdict(status: object) -> Verdict:
    """Return the verdict that a JSON value names; anything unknown is `UNKNOWN`."""
    return _KNOWN.get(status, Verdict.UNKNOWN) if isinstance(status, str) else Verdict.UNKNOWN


@dataclass(frozen=True, slots=True)
class Verdicts:
    """All verdicts on one message. `dmarc_policy` exists only if DMARC failed."""

    spam: Verdict = Verdict.UNKNOWN
    virus: Verdict = Verdict.UNKNOWN
    spf: Verdict = Verdict.UNKNOWN
    dkim: Verdict = Verdict.UNKNOWN
    dmarc: Verdict = Verdict.UNKNOWN
    dmarc_policy: str = ""

    @property
    def from_is_disowned(self) -> bool:
        """Whether DMARC failed, and the domain in From asks to quarantine or reject such mail."""
        policy = _POLICIES.get(self.dmarc_policy.upper(), "none")
        return self.dmarc is Verdict.FAIL and policy != "none"

    def header_value(self) -> str:
        """Return the body of `X-Plexus-Verdicts`."""
        return (
            f"spam={self.spam.value}; virus={self.virus.value}; spf={self.spf.value}; "
            f"dkim={self.dkim.value}; dmarc={self.dmarc.value}"
        )

    def authentication_results(self, authserv_id: str) -> str:
        """Return the body of `Authentication-Results` (RFC 8601), as far as SES reports it."""
        policy = _POLICIES.get(self.dmarc_policy.upper())
        return (
            f"{authserv_id}; spf={_RESULT[self.spf]}; dkim={_RESULT[self.dkim]}; "
            f"dmarc={_RESULT[self.dmarc]}" + (f" (p={policy})" if policy else "")
        )
