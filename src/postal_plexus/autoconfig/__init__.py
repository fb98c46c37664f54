"""How mail clients and other mail servers find this mail system. Pure: names and bytes, no I/O.

For each domain of a stack: the host name to which clients connect, the DNS records that lead there
(SRV, MTA-STS, TLS reports, CAA), and the small files from which clients read their settings
(Thunderbird's autoconfig, Outlook's autodiscover, Apple's profile, the MTA-STS policy).

It uses only domain names, neither mailboxes nor the directory: nothing changes when a mailbox is
added, and nothing here reveals who has a mailbox.
"""

from postal_plexus.autoconfig.apple import apple_profile
from postal_plexus.autoconfig.hosts import (
    ClientSetup,
    ClientSetupError,
    certificate_names,
    client_setups,
    domain_of,
)
from postal_plexus.autoconfig.mta_sts import MtaStsMode, MtaStsPolicy
from postal_plexus.autoconfig.records import Record, client_records, site_records, txt_value
from postal_plexus.autoconfig.services import SERVICES, Service, Tls
from postal_plexus.autoconfig.site import SiteFile, edge_function, site_files

__all__ = [
    "SERVICES",
    "ClientSetup",
    "ClientSetupError",
    "MtaStsMode",
    "MtaStsPolicy",
    "Record",
    "Service",
    "SiteFile",
    "Tls",
    "apple_profile",
    "certificate_names",
    "client_records",
    "client_setups",
    "domain_of",
    "edge_function",
    "site_files",
    "site_records",
    "txt_value",
]
