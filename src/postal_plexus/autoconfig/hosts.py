"""Which host name the clients of each domain connect to, and under which names settings are found.

The decision: every domain has a client host of its own, `mail.<domain>`, for IMAP and submission
alike, and one certificate names them all. A user of example.net types `mail.example.net` and never
sees the name of a foreign domain; a domain can leave the stack (or the stack can leave AWS) without
a single client being touched, because the name belongs to the domain. The price is that the
certificate shows every client which domains share the stack; `shared=True` trades that back:
all domains then use the stack's mail host name.

One name for both protocols, not imap.D and smtp.D: a name costs one of the 100 that a certificate
of Let's Encrypt holds, and each must be validated whenever the certificate is renewed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_CERTIFICATE_NAMES = 100
"""https://letsencrypt.org/docs/rate-limits/ (new orders: at most 100 identifiers)."""


class ClientSetupError(ValueError):
    """The domains cannot all be given client hosts. The text says what to configure instead."""


@dataclass(frozen=True)
class ClientSetup:
    """The names of one domain. All are A-labels in lower case, without a trailing dot."""

    domain: str
    host: str

    @property
    def autoconfig(self) -> str:
        """Where Thunderbird, K-9 and others read their settings."""
        return f"autoconfig.{self.domain}"

    @property
    def autodiscover(self) -> str:
        """Where Outlook asks."""
        return f"autodiscover.{self.domain}"

    @property
    def mta_sts(self) -> str:
        """Where other mail servers read the TLS policy: RFC 8461 section 3.2 fixes the name."""
        return f"mta-sts.{self.domain}"

    @property
    def site_names(self) -> tuple[str, ...]:
        """The names of the domain's web site, the first being its certificate's subject."""
        return (self.autoconfig, self.autodiscover, self.mta_sts)


def client_setups(
    domains: Iterable[str], *, mail_host: str, shared: bool = False
) -> tuple[ClientSetup, ...]:
    """The setup of each domain, in the order given; `mail_host` is the stack's own host name.

    Raises ClientSetupError when one certificate cannot hold all client hosts.
    """
    setups = tuple(
        ClientSetup(domain=domain, host=mail_host if shared else f"mail.{domain}")
        for domain in domains
    )
    names = certificate_names(setups, mail_host=mail_host)
    if len(names) > MAX_CERTIFICATE_NAMES:
        raise ClientSetupError(
            f"{len(names)} client host names, but a certificate holds {MAX_CERTIFICATE_NAMES}: "
            f"set client-hosts to 'shared', so that all domains use {mail_host}"
        )
    return setups


def certificate_names(setups: Iterable[ClientSetup], *, mail_host: str) -> tuple[str, ...]:
    """What the mail host's certificate must name: the mail host first, each name once."""
    return tuple(dict.fromkeys((mail_host, *(setup.host for setup in setups))))
