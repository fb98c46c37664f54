"""DNS on the desk: a real server that answers from the Route 53 zones stored in the emulator.

Production needs nothing of this: there Route 53 itself answers. On the desk it lets the real
resolvers, verifiers and ACME servers see what the Pulumi program wrote, over UDP and TCP.
"""

from awsdesk.dns.amazon import AmazonNames
from awsdesk.dns.server import DnsServer
from awsdesk.dns.zones import Outside, Zones

__all__ = ["AmazonNames", "DnsServer", "Outside", "Zones"]
