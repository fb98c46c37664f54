"""The names that Amazon serves, as far as a mail system on the desk needs them.

Publishes what SES publishes: the SPF record of amazonses.com (here with the addresses that the
desk sends from), the DKIM keys under dkim.amazonses.com that the CNAME records of an identity point
to, SES's own DKIM key, the hosts of the SMTP endpoints, and the addresses of CloudFront
distributions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class AmazonNames:
    """Usable as the DNS server's `outside`.

    `address`: the IPv4 address at which the desk plays Amazon. `senders`: SPF terms for the
    addresses that mail leaves the desk from. `dkim_key`: the DKIM record of an identity's token or
    of a selector of amazonses.com, such as `p=MIIB...`; None for what is not known.
    """

    region: str
    address: str = "127.0.0.1"
    senders: tuple[str, ...] = ("ip4:127.0.0.0/8",)
    dkim_key: Callable[[str], str | None] = field(default=lambda _token: None)

    def __call__(self, name: str, kind: str) -> tuple[str, ...] | None:
        """Return the values of one record set; None for a name that Amazon does not have."""
        if name == "amazonses.com":
            spf = f'"v=spf1 {" ".join(self.senders)} -all"'
            return (spf,) if kind == "TXT" else ()
        selector, _, domain = name.partition(".")
        if domain in self._dkim_domains:
            key = self.dkim_key(selector)
            if key is None:
                return None
            strings = (key[start : start + 255] for start in range(0, len(key), 255))
            return (" ".join(f'"{part}"' for part in strings),) if kind == "TXT" else ()
        if self._is_host(name):
            return (self.address,) if kind == "A" else ()
        return None

    @property
    def _dkim_domains(self) -> tuple[str, ...]:
        # Newer regions have a separate domain for the tokens.
        own = f"dkim.{self.region}.amazonses.com"
        return ("dkim.amazonses.com", own, "_domainkey.amazonses.com")

    def _is_host(self, name: str) -> bool:
        endpoints = (
            f"inbound-smtp.{self.region}.amazonaws.com",
            f"email-smtp.{self.region}.amazonaws.com",
            f"feedback-smtp.{self.region}.amazonses.com",
        )
        return name in endpoints or name.endswith(".cloudfront.net")
