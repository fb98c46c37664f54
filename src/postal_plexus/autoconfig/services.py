"""The services for clients, defined once: protocol, port, kind of TLS, and SRV name (RFC 6186).

RFC 8314 prefers TLS from the first byte, so `imaps` and `submissions` come first if a client uses
the first entry; 587 with STARTTLS is for clients that support nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Tls(Enum):
    """How a connection is encrypted.

    There is no other way: no service is offered without encryption.
    """

    FROM_START = "SSL/TLS"
    STARTTLS = "STARTTLS"


@dataclass(frozen=True)
class Service:
    """One port for clients. `name` is the SRV service label without its underscore."""

    name: str
    port: int
    tls: Tls


IMAPS = Service("imaps", 993, Tls.FROM_START)
SUBMISSIONS = Service("submissions", 465, Tls.FROM_START)
SUBMISSION = Service("submission", 587, Tls.STARTTLS)
SIEVE = Service("sieve", 4190, Tls.STARTTLS)  # ManageSieve, RFC 5804 section 1.8

# RFC 6764 section 3. Of stacks with calendars.
CALDAVS = Service("caldavs", 443, Tls.FROM_START)
CARDDAVS = Service("carddavs", 443, Tls.FROM_START)
DAV = (CALDAVS, CARDDAVS)
DAV_PATH = "/dav/"
"""Where both begin: the web container's calendars.gate.ROOT."""
ABSENT_DAV = ("caldav", "carddav")
"""Their labels without TLS, which are not available."""

SERVICES = (IMAPS, SUBMISSIONS, SUBMISSION)
"""The services of every stack."""

ABSENT = ("imap", "pop3", "pop3s")
"""Service labels whose target is the root: RFC 6186 section 3.4, "not available here"."""
