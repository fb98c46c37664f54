"""Whether a domain's name servers on the internet are those of our zone.

Fails by saying "not delegated" for whatever cannot be resolved: the next run asks again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dns.exception
import dns.resolver

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

TIMEOUT_SECONDS = 10.0


def resolver(name_server: str | None) -> dns.resolver.Resolver:
    """The host's resolver, or the one at `address:port`."""
    if name_server is None:
        return dns.resolver.Resolver()
    address, _, port = name_server.partition(":")
    found = dns.resolver.Resolver(configure=False)
    found.nameservers, found.port = [address], int(port or 53)
    return found


def delegated(
    names: Collection[str],
    zones: Mapping[str, Collection[str]],
    ask: dns.resolver.Resolver,
) -> frozenset[str]:
    """Those of `names` whose zone answers on the internet.

    `zones`: domain to the name servers that Route 53 gave its zone; without any the zone was
    adopted and counts as delegated. A name in none of the zones is never ours to ask for.
    """
    ready = {domain for domain, servers in zones.items() if _is_ours(domain, servers, ask)}
    return frozenset(
        name
        for name in names
        if any(name == domain or name.endswith(f".{domain}") for domain in ready)
    )


def _is_ours(domain: str, servers: Collection[str], ask: dns.resolver.Resolver) -> bool:
    if not servers:
        return True
    try:
        answer = ask.resolve(domain, "NS", lifetime=TIMEOUT_SECONDS)
    except dns.exception.DNSException:
        return False
    found = {str(record).rstrip(".").lower() for record in answer}
    return not found.isdisjoint(server.rstrip(".").lower() for server in servers)
