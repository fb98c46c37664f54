"""What a receiving server finds about a mail: DKIM, SPF and DMARC, by libraries that servers use.

dkimpy verifies the signatures, pyspf the envelope sender, dmarc the policy; all ask one DNS server.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.utils import parseaddr

import dkim
import dmarc
import dns.exception
import dns.resolver
import spf


def resolver_at(host: str, port: int) -> dns.resolver.Resolver:
    """Return a stub resolver that knows this server only."""
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = [host], port
    return resolver


@contextlib.contextmanager
def as_default(resolver: dns.resolver.Resolver) -> Iterator[None]:
    """Make this the resolver of libraries that accept none."""
    before = dns.resolver.default_resolver
    dns.resolver.default_resolver = resolver
    try:
        yield
    finally:
        dns.resolver.default_resolver = before


@dataclass(frozen=True)
class Findings:
    """`dkim`: whether each signature verifies, by domain. `dmarc`: pass, or fail and the policy."""

    dkim: dict[str, bool]
    spf: str
    dmarc: str


def examine(
    resolver: dns.resolver.Resolver, content: bytes, envelope_sender: str, address: str, helo: str
) -> Findings:
    """Return what a server finds that got the mail from `address`."""
    signatures = _signatures(resolver, content)
    with as_default(resolver):
        result, _ = spf.check2(i=address, s=envelope_sender, h=helo)
    from_domain = parseaddr(message_from_bytes(content)["From"])[1].rpartition("@")[2]
    found = [
        dmarc.DKIMAuthResult(domain, dmarc.DKIMResult("pass" if good else "fail"))
        for domain, good in signatures.items()
    ]
    sender = dmarc.SPFAuthResult(envelope_sender.rpartition("@")[2], dmarc.SPFResult(result))
    return Findings(signatures, result, _dmarc(resolver, from_domain, [sender, *found]))


def _signatures(resolver: dns.resolver.Resolver, content: bytes) -> dict[str, bool]:
    def key(name: bytes, timeout: int = 5) -> bytes | None:
        del timeout
        try:
            (rdata,) = resolver.resolve(name.decode(), "TXT")
        except dns.exception.DNSException:
            return None
        return b"".join(rdata.strings)

    count = len(message_from_bytes(content).get_all("DKIM-Signature", []))
    found: dict[str, bool] = {}
    for index in range(count):
        verifier = dkim.DKIM(content, minkey=2048)
        try:
            good = verifier.verify(index, dnsfunc=key)
        except dkim.DKIMException:
            good = False
        found[verifier.domain.decode()] = good
    return found


def _dmarc(resolver: dns.resolver.Resolver, domain: str, found: list[dmarc.AuthResult]) -> str:
    try:
        (record,) = resolver.resolve(f"_dmarc.{domain}", "TXT")
    except dns.exception.DNSException:
        return "no policy"
    policy = dmarc.DMARCPolicy(b"".join(record.strings).decode(), domain)
    try:
        policy.verify(auth_results=found)
    except dmarc.PolicyError:
        return f"fail, {policy.result.disposition.value}"
    return policy.result.result.value
