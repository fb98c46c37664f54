"""Outlook's autodiscover answer ("POX", [MS-OXDSCLI]), as one that fits every mailbox of a domain.

Outlook sends a POST that holds the address. What answers here is static and cannot read it (S3
refuses POST; a CloudFront Function may answer one but is not shown its body), so the answer leaves
`LoginName` out. Left out, Outlook starts from the part before the "@" as the user's name
([MS-OXDSCLI] 2.2.4.1.1.2.6.28); our logins are whole addresses, therefore `DomainRequired` is "on"
and `DomainName` names the domain. What each Outlook makes of it could not be tried here, and the
"new Outlook" and the mobile apps ask a service of Microsoft's first: docs/clients.md says what to
type when the name comes out wrong.

Newer Outlooks first ask `autodiscover.json` where the XML is; `edge_function.js` answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as Xml  # builds only; nothing foreign is parsed here

from postal_plexus.autoconfig.services import IMAPS, SUBMISSION, SUBMISSIONS, Service, Tls

if TYPE_CHECKING:
    from postal_plexus.autoconfig.hosts import ClientSetup

PATH = "/autodiscover/autodiscover.xml"
RESPONSE = "http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006"
OUTLOOK = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"

_ENCRYPTION = {Tls.FROM_START: "SSL", Tls.STARTTLS: "TLS"}


def autodiscover(setup: ClientSetup) -> bytes:
    """The answer for one domain, UTF-8 with declaration."""
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
    # `Encryption` overrules `SSL` where a client knows it; `SSL` alone cannot say STARTTLS.
    _text(protocol, "SSL", "on")
    _text(protocol, "Encryption", _ENCRYPTION[service.tls])
    _text(protocol, "AuthRequired", "on")
    if kind == "SMTP":
        _text(protocol, "UsePOPAuth", "on")  # the IMAP login is the SMTP login
        _text(protocol, "SMTPLast", "off")


def _text(parent: Xml.Element, tag: str, text: str) -> None:
    Xml.SubElement(parent, tag).text = text
