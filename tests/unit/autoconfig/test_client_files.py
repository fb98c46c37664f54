"""The files that clients read their settings from, read back by the formats' own parsers."""

import plistlib
import uuid
from pathlib import Path

import pytest
from lxml import etree
from postfix_mta_sts_resolver.utils import parse_mta_sts_policy

from postal_plexus.autoconfig import (
    ClientSetup,
    MtaStsMode,
    MtaStsPolicy,
    apple_profile,
    site_files,
)
from postal_plexus.autoconfig.autodiscover import OUTLOOK, autodiscover
from postal_plexus.autoconfig.thunderbird import autoconfig

HERE = Path(__file__).parent
NET = ClientSetup(domain="example.net", host="mail.example.net")
POLICY = MtaStsPolicy(("inbound-smtp.us-east-1.amazonaws.com",))

# https://developer.apple.com/documentation/devicemanagement/mail: what is required, and the types.
APPLE_REQUIRED = {
    "EmailAccountType",
    "IncomingMailServerAuthentication",
    "IncomingMailServerHostName",
    "OutgoingMailServerAuthentication",
    "OutgoingMailServerHostName",
}
APPLE_TYPES = {
    "EmailAccountDescription": str,
    "EmailAccountType": str,
    "EmailAddress": str,
    "IncomingMailServerAuthentication": str,
    "IncomingMailServerHostName": str,
    "IncomingMailServerPortNumber": int,
    "IncomingMailServerUseSSL": bool,
    "IncomingMailServerUsername": str,
    "OutgoingMailServerAuthentication": str,
    "OutgoingMailServerHostName": str,
    "OutgoingMailServerPortNumber": int,
    "OutgoingMailServerUseSSL": bool,
    "OutgoingMailServerUsername": str,
    "OutgoingPasswordSameAsIncomingPassword": bool,
}
# https://developer.apple.com/documentation/devicemanagement/commonpayloadkeys
COMMON_TYPES = {
    "PayloadType": str,
    "PayloadVersion": int,
    "PayloadIdentifier": str,
    "PayloadUUID": str,
    "PayloadDisplayName": str,
}


def validated(content: bytes, schema: str) -> etree._Element:
    """Return the parsed document, once the schema has accepted it."""
    root = etree.fromstring(content)
    etree.RelaxNG(etree.parse(HERE / schema)).assertValid(root)
    return root


def test_autoconfig_follows_the_format_and_prefers_tls_from_the_start():
    """Valid to the schema; one IMAP server, and submissions before submission."""
    provider = validated(autoconfig(NET), "autoconfig-1.1.rng").find("emailProvider")

    def servers(tag: str) -> list[tuple[str, ...]]:
        names = ("hostname", "port", "socketType", "authentication", "username")
        return [tuple(s.findtext(name) for name in names) for s in provider.findall(tag)]

    login = ("password-cleartext", "%EMAILADDRESS%")
    assert [("mail.example.net", "993", "SSL", *login)] == servers("incomingServer")
    assert [
        ("mail.example.net", "465", "SSL", *login),
        ("mail.example.net", "587", "STARTTLS", *login),
    ] == servers("outgoingServer")
    assert "example.net" == provider.findtext("domain")


def test_the_schema_refuses_what_a_client_would_misread():
    """The schema is a real judge: a wrong socket type or an unknown element does not pass."""
    good = autoconfig(NET)
    for broken in (good.replace(b">SSL<", b">TLS<"), good.replace(b"hostname>", b"host>")):
        with pytest.raises(etree.DocumentInvalid):
            validated(broken, "autoconfig-1.1.rng")


def test_autodiscover_names_the_servers_and_leaves_the_login_to_the_client():
    """Valid to the schema; no LoginName (one answer fits all), but the domain that logins need."""
    root = validated(autodiscover(NET), "autodiscover-pox.rng")
    protocols = root.findall(f".//{{{OUTLOOK}}}Protocol")

    def texts(name: str) -> list[str | None]:
        return [protocol.findtext(f"{{{OUTLOOK}}}{name}") for protocol in protocols]

    assert ["IMAP", "SMTP", "SMTP"] == texts("Type")
    assert ["993", "465", "587"] == texts("Port")
    assert ["SSL", "SSL", "TLS"] == texts("Encryption")
    assert ["mail.example.net"] * 3 == texts("Server")
    assert [None] * 3 == texts("LoginName")
    assert [("on", "example.net")] * 3 == list(
        zip(texts("DomainRequired"), texts("DomainName"), strict=True)
    )


@pytest.mark.parametrize("address", [None, "ann@example.net"])
def test_apple_profile_holds_what_apple_documents(address):
    """Every key is documented with its type, the required ones are there, and no password is."""
    profile = plistlib.loads(apple_profile(NET, address=address))
    (account,) = profile["PayloadContent"]

    types = APPLE_TYPES | COMMON_TYPES
    assert {} == {
        key: value
        for key, value in account.items()
        if key not in types or type(value) is not types[key]
    }
    assert set() == APPLE_REQUIRED - account.keys()
    assert ("com.apple.mail.managed", "EmailTypeIMAP") == (
        account["PayloadType"],
        account["EmailAccountType"],
    )
    assert ("mail.example.net", 993, True) == (
        account["IncomingMailServerHostName"],
        account["IncomingMailServerPortNumber"],
        account["IncomingMailServerUseSSL"],
    )
    assert ("mail.example.net", 465, True) == (
        account["OutgoingMailServerHostName"],
        account["OutgoingMailServerPortNumber"],
        account["OutgoingMailServerUseSSL"],
    )
    assert address == account.get("EmailAddress")
    assert address == account.get("IncomingMailServerUsername")
    assert "Configuration" == profile["PayloadType"]
    assert 2 == len({uuid.UUID(profile["PayloadUUID"]), uuid.UUID(account["PayloadUUID"])})


def test_apple_profiles_of_two_users_do_not_replace_each_other():
    """Same inputs give the same bytes; another address gives another identifier."""
    ann = apple_profile(NET, address="ann@example.net")

    assert ann == apple_profile(NET, address="ann@example.net")
    identifiers = {
        plistlib.loads(apple_profile(NET, address=address))["PayloadIdentifier"]
        for address in (None, "ann@example.net", "ben@example.net")
    }
    assert 3 == len(identifiers)


@pytest.mark.parametrize("mode", MtaStsMode)
def test_mta_sts_policy_is_what_a_sender_parses(mode):
    """The policy as a sending server's own parser reads it."""
    policy = MtaStsPolicy(("inbound-smtp.eu-west-1.amazonaws.com", "mx2.example.net"), mode)
    parsed = parse_mta_sts_policy(policy.text.decode())

    assert "STSv1" == parsed["version"]
    assert mode.value == parsed["mode"]
    assert ["inbound-smtp.eu-west-1.amazonaws.com", "mx2.example.net"] == list(parsed["mx"])
    assert 86_400 <= int(parsed["max_age"]) <= 31_557_600


def test_mta_sts_id_changes_with_the_policy_and_only_then():
    """RFC 8461: senders fetch the file again when the id differs."""
    same = MtaStsPolicy(POLICY.mx_hosts)
    ids = {MtaStsPolicy(POLICY.mx_hosts, mode).id for mode in MtaStsMode}

    assert POLICY.id == same.id
    assert 3 == len(ids)
    assert all(value.isalnum() and 1 <= len(value) <= 32 for value in ids)


def test_mta_sts_policy_needs_an_mx():
    """An enforced policy that names no host would stop all mail."""
    with pytest.raises(ValueError, match="at least one MX"):
        MtaStsPolicy(())


def test_site_has_each_file_at_the_path_that_clients_ask_for():
    """The paths are those of the specifications, with the content types they ask for."""
    files = {file.path: file for file in site_files(NET, POLICY)}

    assert {
        "/mail/config-v1.1.xml": "text/xml; charset=utf-8",
        "/.well-known/autoconfig/mail/config-v1.1.xml": "text/xml; charset=utf-8",
        "/autodiscover/autodiscover.xml": "text/xml; charset=utf-8",
        "/apple.mobileconfig": "application/x-apple-aspen-config",
        "/.well-known/mta-sts.txt": "text/plain; charset=utf-8",
        "/index.html": "text/html; charset=utf-8",
    } == {path: file.content_type for path, file in files.items()}
    assert POLICY.text == files["/.well-known/mta-sts.txt"].content
    page = etree.HTML(files["/index.html"].content.decode())
    assert ["imaps", "mail.example.net", "993", "SSL/TLS"] == page.xpath("//tr[2]/td/text()")
    assert ["/apple.mobileconfig"] == page.xpath("//a/@href")
