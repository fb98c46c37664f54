"""How programs find calendars and contacts: by DNS, Apple's profile, Thunderbird's file and the site."""

import plistlib
from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree

from postal_plexus.autoconfig import MtaStsPolicy, apple_profile, client_records, site_files
from postal_plexus.autoconfig.hosts import ClientSetup
from postal_plexus.autoconfig.services import DAV_PATH
from postal_plexus.autoconfig.thunderbird import autoconfig
from postal_plexus.calendars.gate import ROOT

WITHOUT = ClientSetup("example.net", "mail.example.net")
NET = replace(WITHOUT, calendars=True)
# https://developer.apple.com/documentation/devicemanagement/caldav and /carddav: what is required is the host.
APPLE = {
    "com.apple.caldav.account": ("CalDAV", 443),
    "com.apple.carddav.account": ("CardDAV", 443),
}
TYPES = {
    "AccountDescription": str,
    "HostName": str,
    "Port": int,
    "PrincipalURL": str,
    "UseSSL": bool,
    "Username": str,
}


def validated(content: bytes) -> etree._Element:
    """Return the parsed document, once the schema has accepted it."""
    root = etree.fromstring(content)
    schema = Path(__file__).with_name("autoconfig-1.1.rng")
    etree.RelaxNG(etree.parse(schema)).assertValid(root)
    return root


def test_dns_leads_to_host_and_path() -> None:
    """RFC 6764: SRV with the host, TXT with the path, and nothing without TLS."""
    records = {(r.name, r.type): r.values for r in client_records(NET, tls_reports="p@example.net")}
    for name in ("caldav", "carddav"):
        there = f"_{name}s._tcp.example.net"
        assert ("0 1 443 mail.example.net.",) == records[there, "SRV"]
        assert ("path=/dav/",) == records[there, "TXT"]
        assert ("0 0 0 .",) == records[f"_{name}._tcp.example.net", "SRV"]
    assert DAV_PATH == f"{ROOT}/"


def test_without_calendars_nothing_names_them() -> None:
    """Neither DNS nor a file; everything else is the same."""
    policy = MtaStsPolicy(("mx.example.net",))
    with_them = client_records(NET, tls_reports="p@example.net")
    without = client_records(WITHOUT, tls_reports="p@example.net")
    assert [r for r in with_them if "dav" not in r.name] == list(without)
    for file in site_files(WITHOUT, policy):
        assert b"dav" not in file.content.lower(), file.path
    dav = {file.path for file in site_files(NET, policy) if b"dav" in file.content.lower()}
    assert {"/index.html", "/apple.mobileconfig", "/mail/config-v1.1.xml"} <= dav


@pytest.mark.parametrize("address", [None, "ann@example.net"])
def test_apples_profile_has_all_three_accounts(address: str | None) -> None:
    """Each with an identifier of its own, and types as documented."""
    accounts = plistlib.loads(apple_profile(NET, address=address))["PayloadContent"]
    assert 3 == len({each["PayloadUUID"] for each in accounts})
    found = {each["PayloadType"]: each for each in accounts}
    assert {"com.apple.mail.managed", *APPLE} == found.keys()
    for kind, (prefix, port) in APPLE.items():
        own = {k.removeprefix(prefix): v for k, v in found[kind].items() if k.startswith(prefix)}
        assert all(type(value) is TYPES[name] for name, value in own.items())
        assert ("mail.example.net", port, True) == (own["HostName"], own["Port"], own["UseSSL"])
        assert address == own.get("Username")


def test_thunderbirds_file_names_them_and_stays_valid() -> None:
    """With the same address to log in."""
    provider = validated(autoconfig(NET)).find("emailProvider")
    assert provider is not None
    for tag in ("addressBook", "calendar"):
        assert "https://mail.example.net/dav/" == provider.findtext(f"{tag}/serverURL")
        assert "%EMAILADDRESS%" == provider.findtext(f"{tag}/username")
    with pytest.raises(etree.DocumentInvalid):
        validated(autoconfig(NET).replace(b"caldav", b"webcal"))
