"""Check whether a domain's public name servers are those of our zone.

Whatever cannot be resolved counts as not delegated: the next run checks again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dns.exception
import dns.resolver

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

TIMEOUT_SECONDS = 10.0


def resolver(name_server: str | None) -> dns.resolver.Resolver:
    """Return the host's resolver, or the one at `address:port`."""
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
    """Return those of `names` whose zone is publicly delegated.

    `zones`: for each domain, the name servers that Route 53 assigned to its zone; a zone without
    any was adopted and counts as delegated. A name in none of the zones is never delegated.
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
