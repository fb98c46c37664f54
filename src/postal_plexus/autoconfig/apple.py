"""Apple's configuration profile: a mail account, and calendars and contacts where there are.

https://developer.apple.com/documentation/devicemanagement/mail, and caldav and carddav beside it.
Without an address it is one file for the whole domain: iOS and macOS then ask for the address and
the user name on installation. They always ask for the password, which is never in a profile. It is
not signed: the device shows "Not Signed" in red, but installs it. Signing would need a key on the
server of the file.

Identifiers and UUIDs derive from the names, so that a newer profile replaces an older one.
"""

from __future__ import annotations

import plistlib
import uuid
from typing import TYPE_CHECKING

from postal_plexus.autoconfig.services import CALDAVS, CARDDAVS, DAV_PATH, IMAPS, SUBMISSIONS

if TYPE_CHECKING:
    from postal_plexus.autoconfig.hosts import ClientSetup

PATH = "/apple.mobileconfig"
CONTENT_TYPE = "application/x-apple-aspen-config"


def apple_profile(setup: ClientSetup, *, address: str | None = None) -> bytes:
    """Return the profile as an XML property list; with `address` it asks only for the password."""
    identifier = ".".join(reversed(setup.domain.split("."))) + ".postal-plexus"
    if address is not None:
        identifier += "." + address.partition("@")[0]
    account: dict[str, object] = {
        "PayloadType": "com.apple.mail.managed",
        "PayloadVersion": 1,
        "PayloadIdentifier": f"{identifier}.mail",
        "PayloadUUID": _uuid(f"{identifier}.mail"),
        "PayloadDisplayName": f"Mail for {address or setup.domain}",
        "EmailAccountDescription": address or setup.domain,
        "EmailAccountType": "EmailTypeIMAP",
        "IncomingMailServerAuthentication": "EmailAuthPassword",
        "IncomingMailServerHostName": setup.host,
        "IncomingMailServerPortNumber": IMAPS.port,
        "IncomingMailServerUseSSL": True,
        "OutgoingMailServerAuthentication": "EmailAuthPassword",
        "OutgoingMailServerHostName": setup.host,
        "OutgoingMailServerPortNumber": SUBMISSIONS.port,
        "OutgoingMailServerUseSSL": True,
        "OutgoingPasswordSameAsIncomingPassword": True,
    }
    if address is not None:
        account |= {
            "EmailAddress": address,
            "IncomingMailServerUsername": address,
            "OutgoingMailServerUsername": address,
        }
    return plistlib.dumps(
        {
            "PayloadType": "Configuration",
            "PayloadVersion": 1,
            "PayloadIdentifier": identifier,
            "PayloadUUID": _uuid(identifier),
            "PayloadDisplayName": f"Mail for {address or setup.domain}",
            "PayloadDescription": f"Sets up the mail account at {setup.host}.",
            "PayloadOrganization": setup.domain,
            "PayloadRemovalDisallowed": False,
            "PayloadContent": [account, *_dav_accounts(setup, identifier, address)],
        }
    )


def _dav_accounts(
    setup: ClientSetup, identifier: str, address: str | None
) -> list[dict[str, object]]:
    """Return the accounts for calendars and for contacts, which have the mailbox's password."""
    if not setup.calendars:
        return []
    accounts: list[dict[str, object]] = []
    for kind, service in (("CalDAV", CALDAVS), ("CardDAV", CARDDAVS)):
        account: dict[str, object] = {
            "PayloadType": f"com.apple.{kind.lower()}.account",
            "PayloadVersion": 1,
            "PayloadIdentifier": f"{identifier}.{kind.lower()}",
            "PayloadUUID": _uuid(f"{identifier}.{kind.lower()}"),
            "PayloadDisplayName": f"{kind} for {address or setup.domain}",
            f"{kind}AccountDescription": address or setup.domain,
            f"{kind}HostName": setup.host,
            f"{kind}Port": service.port,
            f"{kind}UseSSL": True,
            f"{kind}PrincipalURL": DAV_PATH,
        }
        if address is not None:
            account[f"{kind}Username"] = address
        accounts.append(account)
    return accounts


def _uuid(identifier: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, identifier)).upper()
