"""Outlook's autodiscover response ("POX", [MS-OXDSCLI]), one for all mailboxes of a domain.

Outlook sends a POST that contains the address. The static site cannot read it (S3 refuses POST, and
a CloudFront Function may answer one but does not see its body), so the response omits `LoginName`.
Outlook then starts with the part before the "@" as the user's name ([MS-OXDSCLI] 2.2.4.1.1.2.6.28).
Our logins are whole addresses, so `DomainRequired` is "on" and `DomainName` names the domain. How
each Outlook handles this could not be tested, and the "new Outlook" and the mobile apps ask a
Microsoft service first: docs/clients.md says what to enter if the name is wrong.

Newer Outlooks first ask `autodiscover.json` for the location of the XML; `edge_function.js`
answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as Xml  # builds only; no foreign data is parsed here

from postal_plexus.autoconfig.services import IMAPS, SUBMISSION, SUBMISSIONS, Service, Tls

if TYPE_CHECKING:
    from postal_plexus.autoconfig.hosts import ClientSetup

PATH = "/autodiscover/autodiscover.xml"
RESPONSE = "http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006"
OUTLOOK = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"

_ENCRYPTION = {Tls.FROM_START: "SSL", Tls.STARTTLS: "TLS"}


def autodiscover(setup: ClientSetup) -> bytes:
    """Return the response for one domain, in UTF-8 with a declaration."""
    root = Xml.Element("Autodiscover", xmlns=RESPONSE)
    response = Xml.SubElement(root, "Response", xmlns=OUTLOOK)
    account = Xml.SubElement(response, "Account")
    _text(account, "AccountType", "email")
    _text(account, "Action", "settings")
    for kind, service in (("IMAP", IMAPS), ("SMTP", SUBMISSIONS), ("SMTP", SUBMISSION)):
        _protocol(account, kind, setup, service)
    Xml.indent(root)
    return Xml.tostring(root, encoding="UTF-8", xml_declaration=True) + b"\n"


def _protocol(account: Xml.Element, kind: str, setup: ClientSetup, service: Service) -> None:
    protocol = Xml.SubElement(account, "Protocol")
    _text(protocol, "Type", kind)
    _text(protocol, "Server", setup.host)
    _text(protocol, "Port", str(service.port))
    _text(protocol, "DomainRequired", "on")
    _text(protocol, "DomainName", setup.domain)
    _text(protocol, "SPA", "off")
    # `Encryption` overrides `SSL` in clients that know it; `SSL` alone cannot express STARTTLS.
    _text(protocol, "SSL", "on")
    _text(protocol, "Encryption", _ENCRYPTION[service.tls])
    _text(protocol, "AuthRequired", "on")
    if kind == "SMTP":
        _text(protocol, "UsePOPAuth", "on")  # the IMAP login is the SMTP login
        _text(protocol, "SMTPLast", "off")


def _text(parent: Xml.Element, tag: str, text: str) -> None:
    Xml.SubElement(parent, tag).text = text
