"""What the world finds of a deployed stack: its DNS records and its client set-up sites.

The Pulumi program wrote all of it into the emulated account; the desk's DNS server and its sites
serve it, and libraries that real clients, servers and operators use judge it.
"""

from __future__ import annotations

import http.client
import json
import plistlib
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import dns.resolver
import pytest
import yaml
from checkdmarc.dmarc import check_dmarc
from checkdmarc.mta_sts import parse_mta_sts_policy, query_mta_sts_record
from checkdmarc.smtp_tls_reporting import check_smtp_tls_reporting
from checkdmarc.spf import check_spf
from lxml import etree
from postfix_mta_sts_resolver.utils import parse_mta_sts_policy as parse_as_postfix

from postal_plexus.cli.main import main
from receiving_server import resolver_at
from service.desk.running import RunningDesk
from service.pulumi_engine.deployer import Deployer

ROOT = Path(__file__).parents[3]
SCHEMAS = ROOT / "tests" / "unit" / "autoconfig"
DOMAINS = ["example.org", "example.net"]
MX = "inbound-smtp.us-east-1.amazonaws.com"


@dataclass(frozen=True)
class World:
    """The desk as somebody outside sees it."""

    desk: RunningDesk
    config: dict[str, object]
    outputs: Mapping[str, object]

    @property
    def resolver(self) -> dns.resolver.Resolver:
        return resolver_at("127.0.0.1", self.desk.settings.ports.dns)

    def values(self, name: str, kind: str) -> list[str]:
        """Return the values of a record set; none where there is no such name or type."""
        try:
            return sorted(rdata.to_text() for rdata in self.resolver.resolve(name, kind))
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []

    def ask(self, host: str, path: str, method: str = "GET", body: bytes | None = None):
        """Return an HTTPS request to a site, found by DNS, its certificate checked for its name."""
        (address,) = self.values(host, "A")
        context = ssl.create_default_context(cafile=self.desk.layout.ca_file)
        port = self.desk.settings.ports.sites
        connection = http.client.HTTPSConnection(host, context=context, timeout=30)
        connect = lambda *_: socket.create_connection((address, port), 30)  # noqa: E731
        connection._create_connection = connect  # noqa: SLF001 - where DNS would lead, the port apart
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def read(self, host: str, path: str) -> tuple[str, bytes]:
        """Content type and content of a file of a site."""
        status, headers, content = self.ask(host, path)
        assert 200 == status, content
        return headers["content-type"], content


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Provide the template deployed twice, as an operator does, on a desk of its own."""
    config = yaml.safe_load((ROOT / "pulumi" / "Pulumi.prod.yaml").read_text())["config"]
    config["postal-plexus:images"] = {
        name: f"localhost/postal-plexus/{name}:1" for name in ("dovecot", "postfix", "deliver")
    } | {"certbot": "none"}
    with RunningDesk.in_directory(tmp_path_factory.mktemp("published")) as desk:
        deployer = Deployer(desk, tmp_path_factory.mktemp("stack"))
        pending = deployer.deploy_stack(ROOT / "pulumi", "test", config).outputs
        assert sorted(DOMAINS) == sorted(pending["client_setup_pending"])
        outputs = deployer.deploy_stack(ROOT / "pulumi", "test", config).outputs
        assert [] == outputs["client_setup_pending"]
        yield World(desk, config, outputs)


def is_sound(resolver: dns.resolver.Resolver, domain: str) -> dict[str, bool]:
    """Return checkdmarc's judgement of a domain's policies."""
    return {
        "spf": check_spf(domain, resolver=resolver)["valid"],
        "mail from": check_spf(f"bounce.{domain}", resolver=resolver)["valid"],
        "dmarc": check_dmarc(domain, resolver=resolver)["valid"],
        "tls reports": check_smtp_tls_reporting(domain, resolver=resolver)["valid"],
    }


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_domains_policies_are_sound(world: World, domain: str) -> None:
    """SPF (also of the MAIL FROM domain), DMARC, TLS-RPT and MTA-STS, as checkdmarc judges."""
    assert {True} == set(is_sound(world.resolver, domain).values())
    assert query_mta_sts_record(domain, resolver=world.resolver)["record"].startswith("v=STSv1;")
    assert [f"10 {MX}."] == world.values(domain, "MX")
    assert ["10 feedback-smtp.us-east-1.amazonses.com."] == world.values(f"bounce.{domain}", "MX")


def test_a_broken_zone_is_found(world: World) -> None:
    """The judge can say no: a second SPF record and a slip in DMARC and TLS-RPT."""
    route53 = world.desk.client("route53")
    domain = "broken.example"
    zone = route53.create_hosted_zone(Name=domain, CallerReference=domain)["HostedZone"]["Id"]
    spf = ['"v=spf1 include:amazonses.com ~all"', '"v=spf1 -all"']
    records = {
        domain: spf,
        f"bounce.{domain}": ['"v=spf1 include:nowhere.example -all"'],
        f"_dmarc.{domain}": ['"v=DMARC1; p=sometimes"'],
        f"_smtp._tls.{domain}": ['"v=TLSRPTv1; ruf=mailto:x@broken.example"'],
    }
    for name, values in records.items():
        given = [{"Value": value} for value in values]
        change = {"Name": name, "Type": "TXT", "TTL": 300, "ResourceRecords": given}
        route53.change_resource_record_sets(
            HostedZoneId=zone,
            ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": change}]},
        )
    assert {False} == set(is_sound(world.resolver, domain).values())


@pytest.mark.parametrize("domain", DOMAINS)
def test_dkim_keys_are_found_at_the_domain(world: World, domain: str) -> None:
    """Three CNAME records lead to three different RSA keys in Amazon's zone."""
    ses = world.desk.client("sesv2")
    tokens = ses.get_email_identity(EmailIdentity=domain)["DkimAttributes"]["Tokens"]
    keys = {value for t in tokens for value in world.values(f"{t}._domainkey.{domain}", "TXT")}
    assert 3 == len(keys)
    assert all(key.startswith('"v=DKIM1; k=rsa; p=MIIBI') for key in keys)


@pytest.mark.parametrize("domain", DOMAINS)
def test_srv_and_caa_name_the_domains_own_hosts(world: World, domain: str) -> None:
    """RFC 6186, 8314: TLS services at mail.<domain>, none for the rest; who may certify it."""
    assert [f"0 1 993 mail.{domain}."] == world.values(f"_imaps._tcp.{domain}", "SRV")
    assert [f"0 1 465 mail.{domain}."] == world.values(f"_submissions._tcp.{domain}", "SRV")
    assert [f"0 1 587 mail.{domain}."] == world.values(f"_submission._tcp.{domain}", "SRV")
    assert ["0 0 0 ."] == world.values(f"_imap._tcp.{domain}", "SRV")
    assert ["0 0 0 ."] == world.values(f"_pop3s._tcp.{domain}", "SRV")
    assert [
        '0 issue "letsencrypt.org; validationmethods=dns-01"',
        '0 issuewild ";"',
    ] == world.values(f"mail.{domain}", "CAA")
    assert ['0 issue "amazon.com"'] == world.values(f"autoconfig.{domain}", "CAA")
    assert world.values(f"mail.{domain}", "A")


def validated(content: bytes, schema: str) -> etree._Element:
    """Return the parsed document, once the schema has accepted it."""
    root = etree.fromstring(content)
    etree.RelaxNG(etree.parse(SCHEMAS / schema)).assertValid(root)
    return root


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize(
    "path",
    [
        "/mail/config-v1.1.xml?emailaddress=ann%40example.org",
        "/.well-known/autoconfig/mail/config-v1.1.xml",
        "/Mail/Config-v1.1.XML",
    ],
)
def test_thunderbird_finds_its_settings(world: World, domain: str, path: str) -> None:
    """The format's schema accepts the file, and it names the domain's own host."""
    kind, content = world.read(f"autoconfig.{domain}", path)
    root = validated(content, "autoconfig-1.1.rng")
    assert "text/xml; charset=utf-8" == kind
    assert {f"mail.{domain}"} == {host.text for host in root.iter("hostname")}
    assert ["993", "465", "587"] == [port.text for port in root.iter("port")]


@pytest.mark.parametrize("domain", DOMAINS)
def test_outlook_is_answered(world: World, domain: str) -> None:
    """A POST gets what a GET gets; the JSON question leads there; other hosts are not named."""
    host, path = f"autodiscover.{domain}", "/autodiscover/autodiscover.xml"
    status, _, posted = world.ask(host, path.title(), "POST", b"<Autodiscover/>")
    _, file = world.read(host, path)
    for content in (posted, file):
        root = validated(content, "autodiscover-pox.rng")
        assert {f"mail.{domain}"} == {e.text for e in root.iter("{*}Server")}
    assert 200 == status
    _, answer = world.read(host, "/autodiscover/autodiscover.json?Protocol=AutodiscoverV1")
    assert f"https://{host}{path}" == json.loads(answer)["Url"]
    assert [f"0 0 443 {host}."] == world.values(f"_autodiscover._tcp.{domain}", "SRV")


@pytest.mark.parametrize("domain", DOMAINS)
def test_apples_profile_and_its_page_are_there(world: World, domain: str) -> None:
    """The page for people leads to the profile; the profile names the domain's host."""
    _, page = world.read(f"autoconfig.{domain}", "/")
    (link,) = etree.HTML(page).xpath("//a/@href")
    kind, content = world.read(f"autoconfig.{domain}", link)
    (account,) = plistlib.loads(content)["PayloadContent"]
    assert "application/x-apple-aspen-config" == kind
    assert f"mail.{domain}" == account["IncomingMailServerHostName"]
    assert f"mail.{domain}" == account["OutgoingMailServerHostName"]


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_mta_sts_policy_names_the_mx_of_the_domain(world: World, domain: str) -> None:
    """As checkdmarc and Postfix's resolver parse it."""
    kind, content = world.read(f"mta-sts.{domain}", "/.well-known/mta-sts.txt")
    policy = parse_mta_sts_policy(content.decode())["policy"]
    assert kind.startswith("text/plain")
    assert ("testing", [MX]) == (policy["mode"], policy["mx"])
    assert [MX] == list(parse_as_postfix(content.decode())["mx"])


def test_what_is_not_there_is_refused(world: World) -> None:
    """A missing file, a method that writes, and an unknown host are refused."""
    assert 403 == world.ask("autoconfig.example.org", "/secret")[0]  # S3 without ListBucket
    assert 405 == world.ask("autoconfig.example.org", "/index.html", "PUT", b"x")[0]
    address = ("127.0.0.1", world.desk.settings.ports.sites)
    context = ssl.create_default_context(cafile=world.desk.layout.ca_file)
    with socket.create_connection(address, 30) as plain:
        with pytest.raises(ssl.SSLError, match="EOF|unrecognized"):
            context.wrap_socket(plain, server_hostname="autoconfig.example.com")


# --- plexus dns: the operator's own look -----------------------------------------------------------


def plexus_dns(world: World, directory: Path, *args: str) -> int:
    """Run the command with the stack's file and outputs, against the desk's DNS."""
    stack_file, outputs = directory / "Pulumi.test.yaml", directory / "outputs.json"
    stack_file.write_text(yaml.safe_dump({"config": world.config}))
    outputs.write_text(json.dumps(dict(world.outputs)))
    resolver = f"127.0.0.1:{world.desk.settings.ports.dns}"
    options = ["--stack-file", stack_file, "--outputs", outputs, "--resolver", resolver]
    return main(["dns", *map(str, options), *args])


def test_plexus_dns_finds_all_that_the_program_wrote(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every record set of the zones is one that is asked for, and is in order."""
    assert 0 == plexus_dns(world, tmp_path, "--all")
    lines = capsys.readouterr().out.splitlines()
    asked = set(re.findall(r"^[^ ]+: (\w+) ([^ ]+): ok$", "\n".join(lines), re.MULTILINE))
    assert [
        f"{domain}: {len(asked) // 2} of {len(asked) // 2} records in order" for domain in DOMAINS
    ] == [line for line in lines if line.endswith("in order")]
    route53 = world.desk.client("route53")
    zones = [z for z in route53.list_hosted_zones()["HostedZones"] if z["Name"][:-1] in DOMAINS]
    sets = [
        record
        for zone in zones
        for record in route53.list_resource_record_sets(HostedZoneId=zone["Id"])[
            "ResourceRecordSets"
        ]
    ]
    # ACM alone looks at its validation records, SOA is Route 53's own, and the sites have IPv4 too.
    assert asked == {
        (record["Type"], record["Name"].rstrip("."))
        for record in sets
        if record["Type"] != "SOA"
        and "acm" not in str(record.get("ResourceRecords"))
        and not (record["Type"] == "AAAA" and "AliasTarget" in record)
    }


def test_plexus_dns_tells_what_is_missing_and_wrong(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A domain at another registrar: one record forgotten, one left over, a second SPF."""
    route53 = world.desk.client("route53")
    (zone,) = [z for z in route53.list_hosted_zones()["HostedZones"] if "example.net." == z["Name"]]
    sets = route53.list_resource_record_sets(HostedZoneId=zone["Id"])["ResourceRecordSets"]
    at = {(each["Name"].rstrip("."), each["Type"]): each for each in sets}

    def change(action: str, record: dict[str, object]) -> None:
        batch = {"Changes": [{"Action": action, "ResourceRecordSet": record}]}
        route53.change_resource_record_sets(HostedZoneId=zone["Id"], ChangeBatch=batch)

    dmarc, mx, texts = (
        at[key]
        for key in (("_dmarc.example.net", "TXT"), ("example.net", "MX"), ("example.net", "TXT"))
    )
    change("DELETE", dmarc)
    change("UPSERT", {**mx, "ResourceRecords": [{"Value": "10 mx.elsewhere.example"}]})
    second = [{"Value": '"v=spf1 mx -all"'}, {"Value": '"a text of mine"'}]
    change("UPSERT", {**texts, "ResourceRecords": [*texts["ResourceRecords"], *second]})
    try:
        code = plexus_dns(world, tmp_path, "example.net")
    finally:
        for record in (dmarc, mx, texts):
            change("UPSERT", record)
    *told, last = capsys.readouterr().out.splitlines()
    assert (68, ["25", "28"]) == (code, re.findall(r"\d+", last))
    policy = "v=DMARC1; p=none; rua=mailto:postmaster@example.net"
    spf = "v=spf1 include:amazonses.com ~all"
    assert {
        f"MX example.net: is 10 mx.elsewhere.example.; should be 10 {MX}",
        f"TXT _dmarc.example.net: is missing; should be {policy}",
        f"TXT example.net: is a text of mine; {spf}; v=spf1 mx -all; should be {spf}",
    } == {line.removeprefix("example.net: ") for line in told}
