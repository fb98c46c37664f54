"""DNS on the desk: a real server that answers from the Route 53 zones stored in the emulator.

Production needs nothing of this: there Route 53 itself answers. On the desk it lets the real
resolvers, verifiers and ACME servers see what the Pulumi program wrote, over UDP and TCP.
"""

from postal_plexus.local.dns.amazon import AmazonNames
from postal_plexus.local.dns.server import DnsServer
from postal_plexus.local.dns.zones import Outside, Zones

__all__ = ["AmazonNames", "DnsServer", "Outside", "Zones"]
