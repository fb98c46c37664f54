"""Thunderbird's autoconfig file, format 1.1, also read by K-9, Evolution, KMail and Delta Chat.

https://www.ietf.org/archive/id/draft-ietf-mailmaint-autoconfig-00.html, and
https://wiki.mozilla.org/Thunderbird:Autoconfiguration:ConfigFileFormat. The client fills in
%EMAILADDRESS%, so one static file serves every mailbox of a domain and reveals none. Clients use
the first server of a kind that they support: the order is the preference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as Xml  # builds only; no foreign data is parsed here

from postal_plexus.autoconfig.services import DAV_PATH, IMAPS, SUBMISSION, SUBMISSIONS, Service, Tls

if TYPE_CHECKING:
    from postal_plexus.autoconfig.hosts import ClientSetup

PATH = "/mail/config-v1.1.xml"
WELL_KNOWN_PATH = "/.well-known/autoconfig/mail/config-v1.1.xml"

_SOCKET_TYPE = {Tls.FROM_START: "SSL", Tls.STARTTLS: "STARTTLS"}


def autoconfig(setup: ClientSetup) -> bytes:
    """Return the file for one domain, in UTF-8 with a declaration."""
    root = Xml.Element("clientConfig", version="1.1")
    provider = Xml.SubElement(root, "emailProvider", id=setup.domain)
    _text(provider, "domain", setup.domain)
    _text(provider, "displayName", setup.domain)
    _text(provider, "displayShortName", setup.domain)
    _server(provider, "incomingServer", "imap", setup.host, IMAPS)
    for service in (SUBMISSIONS, SUBMISSION):
        _server(provider, "outgoingServer", "smtp", setup.host, service)
    if setup.calendars:
        # Draft section 4; Thunderbird looks for them by itself too (RFC 6764).
        for tag, kind in (("addressBook", "carddav"), ("calendar", "caldav")):
            found = Xml.SubElement(provider, tag, type=kind)
            _text(found, "username", "%EMAILADDRESS%")
            _text(found, "authentication", "http-basic")
            _text(found, "serverURL", f"https://{setup.host}{DAV_PATH}")
    Xml.indent(root)
    return Xml.tostring(root, encoding="UTF-8", xml_declaration=True) + b"\n"


def _server(provider: Xml.Element, tag: str, kind: str, host: str, service: Service) -> None:
    server = Xml.SubElement(provider, tag, type=kind)
    _text(server, "hostname", host)
    _text(server, "port", str(service.port))
    _text(server, "socketType", _SOCKET_TYPE[service.tls])
    _text(server, "authentication", "password-cleartext")  # inside TLS; AUTH PLAIN
    _text(server, "username", "%EMAILADDRESS%")


def _text(parent: Xml.Element, tag: str, text: str) -> None:
    Xml.SubElement(parent, tag).text = text
