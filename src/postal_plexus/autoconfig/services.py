"""The services that clients use, once: protocol, port, kind of TLS, and the SRV name (RFC 6186).

RFC 8314 prefers TLS from the first byte, so `imaps` and `submissions` come first wherever a client
takes the first entry; 587 with STARTTLS is kept for clients that know no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Tls(Enum):
    """How a connection becomes encrypted. There is no third way in: nothing is offered in clear."""

    FROM_START = "SSL/TLS"
    STARTTLS = "STARTTLS"


@dataclass(frozen=True)
class Service:
    """One port that clients connect to. `name` is the SRV service label without its underscore."""

    name: str
    port: int
    tls: Tls


IMAPS = Service("imaps", 993, Tls.FROM_START)
SUBMISSIONS = Service("submissions", 465, Tls.FROM_START)
SUBMISSION = Service("submission", 587, Tls.STARTTLS)
SIEVE = Service("sieve", 4190, Tls.STARTTLS)  # ManageSieve, RFC 5804 section 1.8

SERVICES = (IMAPS, SUBMISSIONS, SUBMISSION)
"""What every stack serves."""

ABSENT = ("imap", "pop3", "pop3s")
"""Service labels answered with the root as target: RFC 6186 section 3.4, "not available here"."""
