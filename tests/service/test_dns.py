"""The desk's DNS server: what is stored in Route 53 is what resolvers and verifiers see."""

from __future__ import annotations

import asyncio
import base64
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import dkim
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver
import pytest
import spf
from checkdmarc.dmarc import check_dmarc
from checkdmarc.mta_sts import query_mta_sts_record
from checkdmarc.smtp_tls_reporting import check_smtp_tls_reporting
from checkdmarc.spf import check_spf
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from awsdesk.dns import AmazonNames, DnsServer
from postal_plexus.autoconfig import (
    ClientSetup,
    MtaStsPolicy,
    client_records,
    site_records,
    txt_value,
)
from service.aws_account import AwsAccount, aws_account

ORG = ClientSetup(domain="example.org", host="mail.example.org")
POLICY = MtaStsPolicy(("inbound-smtp.us-east-1.amazonaws.com",))
TOKEN = "abcdefghijklmnopqrstuvwxyz012345"
OTHER_ZONES = {"example.net", "sub.example.org"}


@dataclass(frozen=True)
class Desk:
    """The running server, and the account it reads."""

    account: AwsAccount
    server: DnsServer
    loop: asyncio.AbstractEventLoop
    port: int
    zones: dict[str, str]
    signing_key: bytes

    def put(self, name: str, kind: str, *values: str, action: str = "UPSERT", **more) -> None:
        """Change one record set as a deploy does."""
        zone = max((z for z in self.zones if name.endswith(z)), key=len)
        record_set = {"Name": name, "Type": kind, **more}
        if values:
            record_set |= {"TTL": 300, "ResourceRecords": [{"Value": value} for value in values]}
        self.account.client("route53").change_resource_record_sets(
            HostedZoneId=self.zones[zone],
            ChangeBatch={"Changes": [{"Action": action, "ResourceRecordSet": record_set}]},
        )

    def ask(self, name: str, kind: str, *, how=dns.query.udp, **options) -> dns.message.Message:
        """Send one query, and return the answer without a resolver's interpretation."""
        query = dns.message.make_query(name, kind, **options)
        return how(query, "127.0.0.1", port=self.port, timeout=10)

    def texts(self, name: str, kind: str) -> list[str]:
        """Return the values of an answer, sorted."""
        return sorted(rdata.to_text() for rrset in self.ask(name, kind).answer for rdata in rrset)

    @property
    def resolver(self) -> dns.resolver.Resolver:
        """A stub resolver that knows this server only."""
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], self.port
        return resolver


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Iterator[Desk]:
    """Three zones with what the program writes for example.org."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    dkim_record = f"v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    with aws_account(tmp_path_factory.mktemp("aws")) as account:
        route53 = account.client("route53")
        zones = {}
        for name in ("example.org", *sorted(OTHER_ZONES)):
            made = route53.create_hosted_zone(Name=name, CallerReference=name)
            zones[name] = made["HostedZone"]["Id"]
        amazon = AmazonNames("us-east-1", dkim_key={TOKEN: dkim_record}.get)
        server = DnsServer(route53, outside=amazon)
        port = asyncio.run_coroutine_threadsafe(server.start(), loop).result(30)
        running = Desk(account, server, loop, port, zones, private)
        for record in (
            *client_records(ORG, tls_reports="tls@example.org"),
            *site_records(ORG, POLICY),
        ):
            quote = '"' if record.type == "TXT" else ""
            running.put(
                record.name, record.type, *(f"{quote}{value}{quote}" for value in record.values)
            )
        running.put("example.org", "MX", "10 inbound-smtp.us-east-1.amazonaws.com.")
        running.put("example.org", "TXT", '"v=spf1 include:amazonses.com -all"')
        running.put("bounce.example.org", "MX", "10 feedback-smtp.us-east-1.amazonses.com.")
        running.put("bounce.example.org", "TXT", '"v=spf1 include:amazonses.com -all"')
        running.put("_dmarc.example.org", "TXT", '"v=DMARC1; p=reject; rua=mailto:d@example.org"')
        running.put(f"{TOKEN}._domainkey.example.org", "CNAME", f"{TOKEN}.dkim.amazonses.com")
        running.put("mail.example.org", "A", "192.0.2.1")
        yield running
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


# --- what mail servers and clients look up ---------------------------------------------------


def test_clients_find_their_servers_by_srv(desk):
    """RFC 6186: imaps leads to the client host, and the host to its address."""
    (srv,) = desk.resolver.resolve("_imaps._tcp.example.org", "SRV")
    (address,) = desk.resolver.resolve(srv.target, "A")

    assert (993, "192.0.2.1") == (srv.port, address.address)


def test_caa_and_ns_are_served(desk):
    """Certificate authorities ask for CAA; the delegation check of certificates asks for NS."""
    assert {"letsencrypt.org; validationmethods=dns-01", ";"} == {
        rdata.value.decode() for rdata in desk.resolver.resolve("mail.example.org", "CAA")
    }
    assert 4 == len(desk.resolver.resolve("example.org", "NS"))


def test_checkers_accept_the_domains_policies(desk):
    """SPF, DMARC, MTA-STS and TLS-RPT as checkdmarc judges them: valid, no error."""
    found_spf = check_spf("example.org", resolver=desk.resolver)
    found_dmarc = check_dmarc("example.org", resolver=desk.resolver)
    found_sts = query_mta_sts_record("example.org", resolver=desk.resolver)
    found_tls = check_smtp_tls_reporting("example.org", resolver=desk.resolver)

    assert (True, True, True) == (
        found_spf["valid"],
        found_dmarc["valid"],
        found_tls["valid"],
    )
    assert "reject" == found_dmarc["tags"]["p"]["value"]
    assert f"v=STSv1; id={POLICY.id};" == found_sts["record"]


def test_a_mail_signed_as_ses_signs_verifies(desk):
    """DKIM by dkimpy: the key is found over the CNAME at the domain, in Amazon's zone."""
    mail = b"From: ann@example.org\r\nTo: x@example.com\r\nSubject: hello\r\n\r\nhello\r\n"
    signature = dkim.sign(
        mail,
        TOKEN.encode(),
        b"example.org",
        desk.signing_key,
        canonicalize=(b"relaxed", b"simple"),
        include_headers=[b"from", b"to", b"subject"],
    )

    def look_up(name, timeout=5):
        del timeout
        (rdata,) = desk.resolver.resolve(name.decode(), "TXT")
        return b"".join(rdata.strings)

    assert dkim.verify(signature + mail, dnsfunc=look_up)
    assert not dkim.verify(signature + mail.replace(b"hello\r\n", b"bye\r\n"), dnsfunc=look_up)


@pytest.mark.filterwarnings("ignore:please use dns.resolver.resolve:DeprecationWarning")
@pytest.mark.parametrize(("address", "result"), [("127.0.0.9", "pass"), ("192.0.2.9", "fail")])
def test_spf_passes_for_the_desks_addresses_only(desk, address, result):
    """SPF by pyspf, of the custom MAIL FROM domain, through Amazon's include."""
    previous = dns.resolver.default_resolver
    dns.resolver.default_resolver = desk.resolver
    try:
        found, _ = spf.check2(i=address, s="x@bounce.example.org", h="mail.example.org")
    finally:
        dns.resolver.default_resolver = previous

    assert result == found


def test_a_record_is_seen_as_soon_as_it_is_made_and_gone_when_deleted(desk):
    """DNS-01: a validator asks the moment after the API call returned."""
    for number in range(5):
        value = f'"token-{number}"'
        desk.put("_acme-challenge.mail.example.org", "TXT", value)
        assert [value] == desk.texts("_acme-challenge.mail.example.org", "TXT")
    desk.put("_acme-challenge.mail.example.org", "TXT", '"token-4"', action="DELETE")

    assert dns.rcode.NXDOMAIN == desk.ask("_acme-challenge.mail.example.org", "TXT").rcode()


# --- DNS itself ------------------------------------------------------------------------------


def test_unknown_names_are_denied_with_the_zones_soa(desk):
    """RFC 2308: NXDOMAIN for no such name, NODATA for a name with other types or below."""
    nowhere = desk.ask("nowhere.example.org", "A")
    no_data = desk.ask("mail.example.org", "AAAA")
    empty = desk.ask("_tcp.example.org", "A")

    assert [dns.rcode.NXDOMAIN, dns.rcode.NOERROR, dns.rcode.NOERROR] == [
        nowhere.rcode(),
        no_data.rcode(),
        empty.rcode(),
    ]
    for response in (nowhere, no_data, empty):
        assert not response.answer
        assert response.flags & dns.flags.AA
        assert ["example.org. SOA"] == [
            f"{r.name} {dns.rdatatype.to_text(r.rdtype)}" for r in response.authority
        ]


def test_foreign_names_are_refused(desk):
    """The server is no resolver: REFUSED, as Route 53 answers; letter case does not matter."""
    assert dns.rcode.REFUSED == desk.ask("example.com", "A").rcode()
    assert ["192.0.2.1"] == desk.texts("MAIL.Example.ORG", "A")


def test_cname_chains_are_followed_over_zones_and_end_in_a_loop_with_servfail(desk):
    """Each link is in the answer; NXDOMAIN speaks of the last; a loop is an error."""
    desk.put("one.example.org", "CNAME", "two.example.net")
    desk.put("two.example.net", "CNAME", "mail.example.org")
    desk.put("dead.example.org", "CNAME", "nothing.example.net")
    desk.put("round.example.org", "CNAME", "round.example.net")
    desk.put("round.example.net", "CNAME", "round.example.org")

    chain = desk.ask("one.example.org", "A")
    assert ["one.example.org. CNAME", "two.example.net. CNAME", "mail.example.org. A"] == [
        f"{r.name} {dns.rdatatype.to_text(r.rdtype)}" for r in chain.answer
    ]
    assert dns.rcode.NXDOMAIN == desk.ask("dead.example.org", "A").rcode()
    assert ["nothing.example.net."] == desk.texts("dead.example.org", "CNAME")
    assert dns.rcode.SERVFAIL == desk.ask("round.example.org", "A").rcode()


def test_the_most_specific_zone_answers(desk):
    """A zone of a subdomain is its own: the parent's records do not show through."""
    desk.put("host.sub.example.org", "A", "192.0.2.7")

    assert ["192.0.2.7"] == desk.texts("host.sub.example.org", "A")
    (soa,) = desk.ask("other.sub.example.org", "A").authority
    assert "sub.example.org." == str(soa.name)


def test_a_delegation_is_referred_to(desk):
    """NS records below the apex: a referral, not authoritative."""
    desk.put("elsewhere.example.net", "NS", "ns1.example.com.")
    referral = desk.ask("www.elsewhere.example.net", "A")

    assert not referral.answer
    assert not referral.flags & dns.flags.AA
    assert "elsewhere.example.net." == str(referral.authority[0].name)


def test_wildcards_match_what_has_no_name_of_its_own(desk):
    r"""RFC 4592; Route 53 returns the star as `\052`."""
    desk.put("*.wild.example.net", "A", "192.0.2.8")
    desk.put("\\052.octal.example.net", "A", "192.0.2.9")
    desk.put("own.wild.example.net", "TXT", '"own"')

    assert ["192.0.2.8"] == desk.texts("any.wild.example.net", "A")
    assert ["192.0.2.8"] == desk.texts("deep.any.wild.example.net", "A")
    assert ["192.0.2.9"] == desk.texts("any.octal.example.net", "A")
    assert [] == desk.texts("own.wild.example.net", "A")


def test_aliases_answer_as_their_target_does(desk):
    """An alias of a record in our zones, and one of a CloudFront distribution."""
    desk.put(
        "alias.example.org",
        "A",
        AliasTarget={
            "HostedZoneId": desk.zones["example.org"],
            "DNSName": "mail.example.org.",
            "EvaluateTargetHealth": False,
        },
    )
    desk.put(
        "autoconfig.example.org",
        "A",
        AliasTarget={
            "HostedZoneId": "Z2FDTNDATAQYW2",
            "DNSName": "d111111abcdef8.cloudfront.net.",
            "EvaluateTargetHealth": False,
        },
    )

    assert ["192.0.2.1"] == desk.texts("alias.example.org", "A")
    assert ["127.0.0.1"] == desk.texts("autoconfig.example.org", "A")


def test_any_gets_one_small_answer(desk):
    """RFC 8482: of no use for amplification."""
    response = desk.ask("example.org", "ANY")

    assert ["HINFO"] == [dns.rdatatype.to_text(r.rdtype) for r in response.answer]
    assert dns.rcode.NXDOMAIN == desk.ask("nowhere.example.org", "ANY").rcode()


def test_long_txt_is_split_and_comes_back_whole(desk):
    """A value of 1,000 bytes in strings of 255, in the form that the program writes."""
    text = "k" * 1000
    desk.put("long.example.org", "TXT", f'"{txt_value(text)}"')
    (rdata,) = desk.resolver.resolve("long.example.org", "TXT")

    assert text == b"".join(rdata.strings).decode()
    assert [255, 255, 255, 235] == [len(part) for part in rdata.strings]


def test_a_large_answer_is_truncated_over_udp_and_whole_over_tcp(desk):
    """RFC 7766: TC is set, the client comes again by TCP; EDNS raises the limit to 1,232."""
    desk.put("large.example.org", "TXT", *(f'"{number:03d}{"x" * 200}"' for number in range(20)))
    plain = desk.ask("large.example.org", "TXT")
    edns = desk.ask("large.example.org", "TXT", use_edns=0, payload=65535)
    whole = desk.ask("large.example.org", "TXT", how=dns.query.tcp)

    assert plain.flags & dns.flags.TC
    assert edns.flags & dns.flags.TC
    assert len(plain.to_wire()) <= 512
    assert 512 < len(edns.to_wire()) <= 1232 or not edns.answer
    assert not whole.flags & dns.flags.TC
    assert 20 == len(whole.answer[0])
    assert 20 == len(desk.resolver.resolve("large.example.org", "TXT"))


def test_many_queries_on_one_tcp_connection(desk):
    """RFC 7766: pipelined queries are all answered, in any order."""
    queries = [dns.message.make_query("mail.example.org", "A") for _ in range(5)]
    with socket.create_connection(("127.0.0.1", desk.port), timeout=10) as connection:
        for query in queries:
            wire = query.to_wire()
            connection.sendall(len(wire).to_bytes(2, "big") + wire)
        responses = [dns.query.receive_tcp(connection)[0] for _ in queries]

    assert {query.id for query in queries} == {response.id for response in responses}


def test_concurrent_queries_share_readings_of_route_53(desk):
    """200 queries at once: all answered, without 200 readings behind one another."""
    wires = [dns.message.make_query("mail.example.org", "A").to_wire() for _ in range(200)]

    async def all_at_once():
        return await asyncio.gather(*(desk.server.respond(wire, udp=True) for wire in wires))

    answers = asyncio.run_coroutine_threadsafe(all_at_once(), desk.loop).result(5)
    assert 200 == len([dns.message.from_wire(answer).answer[0] for answer in answers])


@pytest.mark.parametrize(
    ("wire", "rcode"),
    [
        (dns.message.make_query("example.org", "AXFR").to_wire(), dns.rcode.REFUSED),
        (dns.message.make_query("example.org", "A", rdclass="CH").to_wire(), dns.rcode.REFUSED),
        (dns.message.make_query("example.org", "A", use_edns=1).to_wire(), dns.rcode.BADVERS),
        (
            b"\x12\x34\x20\x00" + dns.message.make_query("example.org", "A").to_wire()[4:],
            dns.rcode.NOTIMP,
        ),
        (b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xff", dns.rcode.FORMERR),
    ],
    ids=["AXFR", "CHAOS", "EDNS1", "NOTIFY", "garbled"],
)
def test_what_is_not_served_is_said_with_the_right_code(desk, wire, rcode):
    """Transfers and other classes refused, unknown operations and broken messages named."""
    answer = asyncio.run_coroutine_threadsafe(
        desk.server.respond(wire, udp=True), desk.loop
    ).result(10)

    assert rcode == dns.message.from_wire(answer).rcode()


def test_an_unpublishable_value_is_a_servfail_and_hurts_no_other_name(desk):
    """The emulator stores what Route 53 would refuse: that name fails, the zone goes on."""
    desk.put("broken.example.net", "A", "not an address")

    assert dns.rcode.SERVFAIL == desk.ask("broken.example.net", "A").rcode()
    assert ["192.0.2.1"] == desk.texts("mail.example.org", "A")


def test_route_53_down_is_a_servfail(desk):
    """Nothing is answered from memory: the client may try again."""
    gone = AwsAccount("http://127.0.0.1:9").client("route53")
    gone.meta.config.retries["total_max_attempts"] = 1
    server = DnsServer(gone)
    wire = dns.message.make_query("mail.example.org", "A").to_wire()
    answer = asyncio.run_coroutine_threadsafe(server.respond(wire, udp=True), desk.loop).result(60)

    assert dns.rcode.SERVFAIL == dns.message.from_wire(answer).rcode()


@settings(max_examples=200)
@given(
    st.one_of(
        st.binary(max_size=64),
        st.binary(max_size=64).map(lambda b: b"\0\1\1\0\0\1" + b"\0" * 6 + b),
    )
)
def test_no_bytes_bring_the_server_down(desk, noise):
    """Invariant: whatever comes in, out comes nothing, or a response that parses."""
    answer = asyncio.run_coroutine_threadsafe(
        desk.server.respond(noise, udp=True), desk.loop
    ).result(10)

    assert answer is None or dns.message.from_wire(answer).flags & dns.flags.QR
