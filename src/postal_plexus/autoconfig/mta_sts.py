"""The MTA-STS policy (RFC 8461): others must reach our MX by TLS, with a certificate in its name.

The policy's id is derived from its text, so it changes exactly when the policy does, and a
deployment that changes nothing registers nothing. A domain starts with `testing`: senders report
failures (TLS-RPT) but deliver. Use `enforce` once the reports show no failures. To stop, use `none`
(RFC 8461 section 8.3: publish it for at least the old max_age before removing record and file).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum

PATH = "/.well-known/mta-sts.txt"


class MtaStsMode(Enum):
    """RFC 8461 section 3.2."""

    TESTING = "testing"
    ENFORCE = "enforce"
    NONE = "none"


_MAX_AGE = {
    MtaStsMode.TESTING: 86_400,
    # RFC 8461 section 3.2 suggests weeks: a shorter time than a quiet sender's refresh would leave
    # gaps, and a longer one would prolong mistakes.
    MtaStsMode.ENFORCE: 14 * 86_400,
    MtaStsMode.NONE: 86_400,
}


@dataclass(frozen=True)
class MtaStsPolicy:
    """One policy for all domains of a stack: they have the same MX hosts."""

    mx_hosts: tuple[str, ...]
    mode: MtaStsMode = MtaStsMode.TESTING

    def __post_init__(self) -> None:
        if not self.mx_hosts:
            raise ValueError("an MTA-STS policy names at least one MX host")

    @property
    def text(self) -> bytes:
        """The policy file, in ASCII with CRLF line ends (RFC 8461 section 3.2)."""
        lines = [
            "version: STSv1",
            f"mode: {self.mode.value}",
            *(f"mx: {host}" for host in self.mx_hosts),
            f"max_age: {_MAX_AGE[self.mode]}",
        ]
        return "".join(f"{line}\r\n" for line in lines).encode("ascii")

    @property
    def id(self) -> str:
        """1 to 32 letters and digits (RFC 8461 section 3.1)."""
        return hashlib.sha256(self.text).hexdigest()[:32]
