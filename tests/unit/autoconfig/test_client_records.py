"""The DNS records, read back by dnspython and by the checkers that postmasters use."""

from dataclasses import replace

import dns.rdata
import dns.rdatatype
import pytest
from checkdmarc.mta_sts import parse_mta_sts_record
from checkdmarc.smtp_tls_reporting import parse_smtp_tls_reporting_record

from postal_plexus.autoconfig import (
    ClientSetup,
    MtaStsMode,
    MtaStsPolicy,
    client_records,
    site_records,
    txt_value,
)

ORG = ClientSetup(domain="example.org", host="mail.example.org")
POLICY = MtaStsPolicy(("inbound-smtp.us-east-1.amazonaws.com",), MtaStsMode.ENFORCE)
REPORTS = "postmaster@example.org"


def rdatas(records, name, kind):
    """The values of one record set as dnspython objects."""
    (record,) = [record for record in records if (record.name, record.type) == (name, kind)]
    quoted = [f'"{value}"' if kind == "TXT" else value for value in record.values]
    return [dns.rdata.from_text("IN", kind, value) for value in quoted]


@pytest.mark.parametrize(
    ("label", "port"), [("imaps", 993), ("submissions", 465), ("submission", 587), ("sieve", 4190)]
)
def test_srv_points_each_service_at_the_client_host(label, port):
    """RFC 6186, RFC 8314, RFC 5804: `_service._tcp.domain`, target and port."""
    records = client_records(ORG, tls_reports=REPORTS, sieve=True)
    (srv,) = rdatas(records, f"_{label}._tcp.example.org", "SRV")

    assert (port, "mail.example.org.") == (srv.port, srv.target.to_text())


@pytest.mark.parametrize("label", ["imap", "pop3", "pop3s"])
def test_srv_denies_what_is_not_served(label):
    """RFC 6186 section 3.4: target "." says that the service is not available."""
    records = client_records(ORG, tls_reports=REPORTS)
    (srv,) = rdatas(records, f"_{label}._tcp.example.org", "SRV")

    assert "." == srv.target.to_text()


def test_sieve_is_announced_only_where_it_is_served():
    """A stack without ManageSieve has no SRV record for it."""
    names = {record.name for record in client_records(ORG, tls_reports=REPORTS)}

    assert "_sieve._tcp.example.org" not in names
    assert "_imaps._tcp.example.org" in names


def test_caa_lets_one_authority_certify_the_client_host_by_dns_only():
    """RFC 8659 and RFC 8657: issue with validationmethods, no wildcard; nothing on the domain."""
    records = client_records(ORG, tls_reports=REPORTS)
    caa = rdatas(records, "mail.example.org", "CAA")

    assert [
        (b"issue", b"letsencrypt.org; validationmethods=dns-01"),
        (b"issuewild", b";"),
    ] == [(record.tag, record.value) for record in caa]
    assert {"mail.example.org"} == {record.name for record in records if record.type == "CAA"}


def test_caa_covers_the_name_of_webmail_too():
    """With the same restriction, once, in its own domain only."""
    named = replace(ORG, webmail="webmail.example.org")
    caa = [r for r in client_records(named, tls_reports=REPORTS) if r.type == "CAA"]
    assert ["mail.example.org", "webmail.example.org"] == [record.name for record in caa]
    assert caa[0].values == caa[1].values
    same = replace(ORG, webmail=ORG.host)
    assert 1 == sum(r.type == "CAA" for r in client_records(same, tls_reports=REPORTS))


def test_a_domain_on_a_shared_host_sets_no_caa_in_a_foreign_domain():
    """example.net on mail.example.org has SRV records there, but no say over that host."""
    shared = ClientSetup(domain="example.net", host="mail.example.org")
    records = client_records(shared, tls_reports=REPORTS)
    (srv,) = rdatas(records, "_imaps._tcp.example.net", "SRV")

    assert "mail.example.org." == srv.target.to_text()
    assert all(record.name.endswith("example.net") for record in records)


def test_tls_reports_go_to_the_given_address():
    """RFC 8460, as checkdmarc reads the record."""
    (txt,) = rdatas(client_records(ORG, tls_reports=REPORTS), "_smtp._tls.example.org", "TXT")
    parsed = parse_smtp_tls_reporting_record(b"".join(txt.strings).decode())

    assert ["mailto:postmaster@example.org"] == parsed["tags"]["rua"]["value"]


def test_mta_sts_record_carries_the_policys_id():
    """RFC 8461 section 3.1, as checkdmarc reads the record."""
    (txt,) = rdatas(site_records(ORG, POLICY), "_mta-sts.example.org", "TXT")
    parsed = parse_mta_sts_record(b"".join(txt.strings).decode())

    assert POLICY.id == parsed["tags"]["id"]


def test_site_names_are_announced_and_certified_by_amazon_only():
    """Outlook's SRV, and a CAA record for each of the three names."""
    records = site_records(ORG, POLICY)
    (srv,) = rdatas(records, "_autodiscover._tcp.example.org", "SRV")

    assert (443, "autodiscover.example.org.") == (srv.port, srv.target.to_text())
    assert [[b"amazon.com"]] * 3 == [
        [record.value for record in rdatas(records, name, "CAA")] for name in ORG.site_names
    ]


@pytest.mark.parametrize("length", [1, 255, 256, 410, 1000])
def test_long_txt_values_are_split_and_read_back_whole(length):
    """The provider puts one pair of quotes around: what DNS then serves is the text itself."""
    text = "".join(chr(97 + position % 26) for position in range(length))
    rdata = dns.rdata.from_text("IN", "TXT", f'"{txt_value(text)}"')

    assert text == b"".join(rdata.strings).decode()
    assert max(len(part) for part in rdata.strings) <= 255
