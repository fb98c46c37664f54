"""The host names of each domain for clients, and for the sites with their settings.

Every domain has a client host of its own, `mail.<domain>`, for IMAP and submission, and one
certificate covers them all. A user of example.net enters `mail.example.net` and never sees the name
of another domain. A domain can leave the stack (or the stack AWS) without a change in any client,
because the name belongs to the domain. The disadvantage is that the certificate shows every client
which domains share the stack. With `shared=True` all domains use the stack's mail host instead.

There is one name for both protocols, not imap.D and smtp.D, because each name uses one of the 100
that a certificate from Let's Encrypt can hold, and must be validated at each renewal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_CERTIFICATE_NAMES = 100
"""https://letsencrypt.org/docs/rate-limits/ (new orders: at most 100 identifiers)."""


class ClientSetupError(ValueError):
    """Not all domains can have client hosts. The text says what to configure instead."""


@dataclass(frozen=True)
class ClientSetup:
    """The names for one domain. All are A-labels in lower case, without a trailing dot."""

    domain: str
    host: str
    # Whether the host serves calendars and contacts (CalDAV and CardDAV, services.DAV).
    calendars: bool = False
    # The name under which browsers find webmail, in addition to the host's; "" without one.
    webmail: str = ""

    @property
    def autoconfig(self) -> str:
        """Where Thunderbird, K-9 and others read their settings."""
        return f"autoconfig.{self.domain}"

    @property
    def autodiscover(self) -> str:
        """Where Outlook reads its settings."""
        return f"autodiscover.{self.domain}"

    @property
    def mta_sts(self) -> str:
        """Where other mail servers read the TLS policy: RFC 8461 section 3.2 fixes the name."""
        return f"mta-sts.{self.domain}"

    @property
    def site_names(self) -> tuple[str, ...]:
        """The names of the domain's web site; the first is its certificate's subject."""
        return (self.autoconfig, self.autodiscover, self.mta_sts)


def domain_of(name: str, domains: Iterable[str]) -> str:
    """Return the most specific of these domains that a name is below, or "".

    Its zone has the name's records: a name below two of them is not in the upper one's zone.
    """
    return max((one for one in domains if name.endswith(f".{one}")), key=len, default="")


def client_setups(
    domains: Iterable[str],
    *,
    mail_host: str,
    shared: bool = False,
    calendars: bool = False,
    webmail_names: bool = False,
) -> tuple[ClientSetup, ...]:
    """Return the setup of each domain, in the given order; `mail_host` is the stack's host name.

    With `webmail_names` each domain has a name for webmail, `webmail.<domain>`; with `shared`, the
    mail host's domain alone, so that the certificate names no other.

    Raises ClientSetupError if one certificate cannot hold all client hosts.
    """
    domains = tuple(domains)
    of_mail_host = domain_of(mail_host, domains)

    def webmail(domain: str) -> str:
        of = of_mail_host if shared else domain
        return f"webmail.{of}" if webmail_names and of else ""

    setups = tuple(
        ClientSetup(domain, mail_host if shared else f"mail.{domain}", calendars, webmail(domain))
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
    """Return the names in the mail host's certificate: the mail host first, each name once."""
    setups = tuple(setups)
    names = (mail_host, *(setup.host for setup in setups), *(setup.webmail for setup in setups))
    return tuple(dict.fromkeys(filter(None, names)))
