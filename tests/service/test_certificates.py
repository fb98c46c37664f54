"""The certificate task end to end: its image, certbot, pebble as the authority, Route 53 and DNS.

The task runs as ECS runs it: not root, no capabilities, read-only, with the keys of a role that has
the policy of the Pulumi program. pebble validates over the desk's DNS server what certbot wrote
into the emulator's Route 53.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import socket
import ssl
import stat
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from awsdesk.dns import DnsServer
from service.aws_account import REGION, AwsAccount, aws_account
from service.certificates import Authority
from service.container_engine import ROOT, Engine, engine, images

CERTBOT, SHARED_GROUP = 5004, 5003
ORG, NET = "mail.example.org", "mail.example.net"
YEAR = 365 * 86_400


@dataclass(frozen=True)
class Run:
    """How one run ended, and what it logged."""

    status: int
    log: list[dict]

    def events(self, event: str) -> list[dict]:
        """Return the lines of one event."""
        return [line for line in self.log if line["event"] == event]

    @property
    def names(self) -> list[str]:
        """The events, in order."""
        return [line["event"] for line in self.log]


@dataclass(frozen=True)
class Pebble:
    """A running ACME authority."""

    directory_url: str
    root: x509.Certificate


@dataclass
class Internet:
    """What does not change between the tests: zones, their DNS, a role, and the task's image."""

    engine: Engine
    image: str
    account: AwsAccount
    zones: dict[str, str]
    name_servers: dict[str, list[str]]
    dns: str
    role_arn: str
    authority: Authority
    folder: Path

    def challenges(self) -> list[str]:
        """Return the names of all TXT records in the zones."""
        route53 = self.account.client("route53")
        return [
            record_set["Name"]
            for zone_id in self.zones.values()
            for record_set in route53.list_resource_record_sets(HostedZoneId=zone_id)[
                "ResourceRecordSets"
            ]
            if record_set["Type"] == "TXT"
        ]

    @contextmanager
    def pebble(self, lifetime: int = YEAR) -> Iterator[Pebble]:
        """pebble, on loopback; certificates are valid for so many seconds."""
        port, management = free_port(), free_port()
        certificate, key = self.authority.issue("localhost")
        config = self.folder / "pebble.json"
        config.write_text(
            json.dumps(
                {
                    "pebble": {
                        "listenAddress": f"127.0.0.1:{port}",
                        "managementListenAddress": f"127.0.0.1:{management}",
                        "certificate": str(certificate),
                        "privateKey": str(key),
                        "httpPort": 1,
                        "tlsPort": 1,
                        "certificateValidityPeriod": lifetime,
                    }
                }
            )
        )
        with (self.folder / "pebble.log").open("ab") as log:
            process = subprocess.Popen(
                ["pebble", "-config", config, "-dnsserver", self.dns, "-strict"],
                env=os.environ | {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"},
                stdout=log,
                stderr=log,
            )
        try:
            context = ssl.create_default_context(cafile=self.authority.file)
            root = fetch(f"https://localhost:{management}/roots/0", context)
            yield Pebble(f"https://localhost:{port}/dir", x509.load_pem_x509_certificate(root))
        finally:
            process.terminate()
            process.wait()


@dataclass
class Host:
    """One mail host: its two directories, and the task run on it."""

    internet: Internet
    tls: Path
    state: Path

    def run(
        self, directory_url: str, *names: str, zones: dict[str, list[str]] | None = None
    ) -> Run:
        """Run the task once, with new keys of the role."""
        keys = self.internet.account.assume(self.internet.role_arn)
        environment = {
            "AWS_ACCESS_KEY_ID": keys["aws_access_key_id"],
            "AWS_SECRET_ACCESS_KEY": keys["aws_secret_access_key"],
            "AWS_SESSION_TOKEN": keys["aws_session_token"],
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.internet.account.endpoint_url,
            "REQUESTS_CA_BUNDLE": "/ca.pem",
            "PLEXUS_ACME_DIRECTORY": directory_url,
            "PLEXUS_CERTIFICATE_NAMES": " ".join(names),
            "PLEXUS_ZONES": json.dumps(zones or self.internet.name_servers),
            "PLEXUS_NAME_SERVER": self.internet.dns,
        }
        done = subprocess.run(
            [
                self.internet.engine.command,
                *("run", "--rm", "--network=host", "--read-only", "--cap-drop=ALL"),
                *("--security-opt=no-new-privileges", "--memory=128m"),
                *("--tmpfs=/tmp:rw,size=16m,mode=1777",),
                *(f"--volume={self.tls}:/etc/plexus/tls",),
                *(f"--volume={self.state}:/var/lib/certbot",),
                *(f"--volume={self.internet.authority.file}:/ca.pem:ro",),
                *(f"--env={name}={value}" for name, value in environment.items()),
                self.internet.image,
            ],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        lines = done.stdout.splitlines()
        assert lines, f"the task said nothing: {done.stderr}"
        return Run(done.returncode, [json.loads(line) for line in lines])

    @property
    def certificate(self) -> x509.Certificate:
        """The one that Dovecot and Postfix would read."""
        return x509.load_pem_x509_certificate((self.tls / "certificate.pem").read_bytes())

    @property
    def names(self) -> set[str]:
        """What the certificate is for."""
        found = self.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return set(found.value.get_values_for_type(x509.DNSName))

    def pair(self) -> tuple[bytes, bytes]:
        """Return the bytes of certificate and key."""
        return (self.tls / "certificate.pem").read_bytes(), (self.tls / "key.pem").read_bytes()


def free_port() -> int:
    """Return a free port of loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fetch(url: str, context: ssl.SSLContext) -> bytes:
    """Return what is at the URL, once the server is up."""
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(url, context=context, timeout=5) as response:
                return response.read()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@pytest.fixture(scope="module")
def internet(tmp_path_factory) -> Iterator[Internet]:
    """Two delegated zones, the desk's DNS before them, and the task's role."""
    if shutil.which("pebble") is None:
        why = "pebble is not installed: on Debian `apt-get install pebble`"
        pytest.fail(why) if os.environ.get("CI") else pytest.skip(why)
    command = engine()
    image = images("certbot")["certbot"]
    folder = tmp_path_factory.mktemp("certificates")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "pulumi")
        from deployment.client_documents import certificate_task
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    with aws_account(folder) as account:
        route53, iam = account.client("route53"), account.client("iam")
        zones, name_servers = {}, {}
        for domain in ("example.org", "example.net"):
            made = route53.create_hosted_zone(Name=domain, CallerReference=domain)
            zones[domain] = made["HostedZone"]["Id"]
            name_servers[domain] = made["DelegationSet"]["NameServers"]
        trust = {
            "Version": "2012-10-17",
            "Statement": {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"},
        }
        role = iam.create_role(RoleName="certbot", AssumeRolePolicyDocument=json.dumps(trust))
        arns = [f"arn:aws:route53:::{zone_id.lstrip('/')}" for zone_id in zones.values()]
        iam.put_role_policy(
            RoleName="certbot",
            PolicyName="task",
            PolicyDocument=certificate_task(arns, [ORG, NET]),
        )
        # AWS checks GetChange against the change's ARN, the emulator against "*": added for it.
        get_change = {"Effect": "Allow", "Action": "route53:GetChange", "Resource": "*"}
        iam.put_role_policy(
            RoleName="certbot",
            PolicyName="emulator",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": get_change}),
        )
        server = DnsServer(route53)
        port = asyncio.run_coroutine_threadsafe(server.start(), loop).result(30)
        yield Internet(
            command,
            image,
            account,
            zones,
            name_servers,
            f"127.0.0.1:{port}",
            role["Role"]["Arn"],
            Authority(folder),
            folder,
        )
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def host(internet, tmp_path) -> Host:
    """Provide a new mail host, where Dovecot has made its self-signed pair as root's files."""
    tls, state = tmp_path / "tls", tmp_path / "certbot"
    for directory, mode in ((tls, 0o750), (state, 0o700)):
        directory.mkdir()
        os.chown(directory, CERTBOT, SHARED_GROUP)
        directory.chmod(mode)
    tmp_path.chmod(0o755)
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
            *("ec_paramgen_curve:prime256v1", "-noenc", "-days", "3650", "-subj", f"/CN={ORG}"),
            *("-keyout", tls / "key.pem", "-out", tls / "certificate.pem"),
        ],
        check=True,
        capture_output=True,
    )
    for file, mode in ((tls / "key.pem", 0o640), (tls / "certificate.pem", 0o644)):
        os.chown(file, 0, SHARED_GROUP)
        file.chmod(mode)
    return Host(internet, tls, state)


def test_the_first_certificate_takes_the_self_signed_ones_place(internet, host):
    """Both names, a chain that a client can verify, modes for the group, challenges removed."""
    with internet.pebble() as pebble:
        run = host.run(pebble.directory_url, ORG, NET)

        events = ["certificate.due", "certificate.installed", "certificate.status"]
        assert (0, events) == (run.status, run.names), run.log
        assert "first" == run.log[0]["reason"]
        assert {ORG, NET} == host.names
        chain = x509.load_pem_x509_certificates((host.tls / "certificate.pem").read_bytes())
        verifier = (
            PolicyBuilder().store(Store([pebble.root])).build_server_verifier(x509.DNSName(NET))
        )
        assert 3 == len(verifier.verify(chain[0], chain[1:]))
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            host.tls / "certificate.pem", host.tls / "key.pem"
        )
        for name in ("certificate.pem", "key.pem"):
            found = (host.tls / name).stat()
            assert (CERTBOT, SHARED_GROUP, 0o640) == (
                found.st_uid,
                found.st_gid,
                stat.S_IMODE(found.st_mode),
            )
        assert [] == internet.challenges()
        assert 364 < run.log[-1]["days_left"] <= 365
        assert [] == run.log[-1]["missing"]

        again = host.run(pebble.directory_url, ORG, NET)
        assert (0, ["certificate.status"]) == (again.status, again.names)


def test_a_certificate_grows_as_domains_are_delegated(internet, host):
    """A domain that is not delegated yet does not delay the others."""
    elsewhere = {**internet.name_servers, "example.net": ["ns1.registrar.example"]}
    with internet.pebble() as pebble:
        before = host.run(pebble.directory_url, ORG, NET, zones=elsewhere)
        assert {ORG} == host.names
        after = host.run(pebble.directory_url, ORG, NET)

    assert [NET] == before.events("certificate.not_delegated")[0]["names"]
    assert [NET] == before.log[-1]["missing"]
    assert "names" == after.events("certificate.due")[0]["reason"]
    assert {ORG, NET} == host.names


def test_nothing_is_asked_for_before_any_delegation(internet, host):
    """Before any delegation: self-signed, no attempt that counts against a rate limit, 0 days left."""
    own = host.pair()
    elsewhere = {domain: ["ns1.registrar.example"] for domain in internet.zones}
    run = host.run("https://localhost:1/dir", ORG, NET, zones=elsewhere)

    assert (0, ["certificate.not_delegated", "certificate.status"]) == (run.status, run.names)
    assert 0 == run.log[-1]["days_left"]
    assert own == host.pair()


def test_an_old_certificate_is_renewed_with_a_new_key(internet, host):
    """It is renewed at half of its 24 seconds; the previous pair is kept for one renewal."""
    with internet.pebble(lifetime=24) as pebble:
        assert 0 == host.run(pebble.directory_url, ORG).status
        first, pair = host.certificate, host.pair()
        time.sleep(max(0, first.not_valid_before_utc.timestamp() + 13 - time.time()))
        run = host.run(pebble.directory_url, ORG)

    assert ["age"] == [line["reason"] for line in run.events("certificate.due")]
    assert first.serial_number != host.certificate.serial_number
    assert pair[1] != host.pair()[1]
    assert {f"issued-{first.serial_number:x}", f"issued-{host.certificate.serial_number:x}"} == {
        path.name for path in host.tls.iterdir() if not path.is_symlink()
    }


def test_a_failure_leaves_the_old_certificate_and_is_reported(internet, host):
    """The authority is down: status 1, certbot's reason, the days that are left, the same bytes."""
    with internet.pebble() as pebble:
        assert 0 == host.run(pebble.directory_url, ORG).status
    pair = host.pair()
    run = host.run("https://localhost:1/dir", ORG, NET)

    assert 1 == run.status
    assert "localhost" in run.events("certificate.failed")[0]["reason"]
    assert run.log[-1]["days_left"] > 364
    assert [NET] == run.log[-1]["missing"]
    assert pair == host.pair()


def test_without_any_certificate_some_names_are_better_than_none(internet, host):
    """One domain's challenge cannot be seen by the authority: the others get theirs."""
    change = {
        "Name": f"_acme-challenge.{NET}",
        "Type": "CNAME",
        "TTL": 300,
        "ResourceRecords": [{"Value": "nowhere.example.org"}],
    }
    route53 = internet.account.client("route53")

    def alter(action):
        route53.change_resource_record_sets(
            HostedZoneId=internet.zones["example.net"],
            ChangeBatch={"Changes": [{"Action": action, "ResourceRecordSet": change}]},
        )

    alter("CREATE")
    try:
        with internet.pebble() as pebble:
            run = host.run(pebble.directory_url, ORG, NET)
    finally:
        alter("DELETE")

    assert 0 == run.status
    assert [1] == [len(run.events("certificate.partial"))]
    assert {ORG} == host.names
    assert [NET] == run.log[-1]["missing"]


def test_the_role_can_change_nothing_outside_its_zones(internet, host):
    """A name in a zone that the policy does not list: certbot is refused, nothing is installed."""
    route53 = internet.account.client("route53")
    made = route53.create_hosted_zone(Name="example.com", CallerReference="example.com")
    own = host.pair()
    try:
        with internet.pebble() as pebble:
            zones = {"example.com": made["DelegationSet"]["NameServers"]}
            run = host.run(pebble.directory_url, "mail.example.com", zones=zones)
    finally:
        route53.delete_hosted_zone(Id=made["HostedZone"]["Id"])

    assert 1 == run.status
    assert "AccessDenied" in run.events("certificate.failed")[0]["reason"]
    assert own == host.pair()


def test_a_host_that_lost_its_directory_has_the_certificate_back_at_once(internet, host):
    """certbot's state survives on the volume: no new certificate is asked for."""
    with internet.pebble() as pebble:
        assert 0 == host.run(pebble.directory_url, ORG).status
    pair = host.pair()
    for entry in host.tls.iterdir():
        entry.unlink() if entry.is_symlink() else shutil.rmtree(entry)
    run = host.run("https://localhost:1/dir", ORG)

    assert (0, ["certificate.installed", "certificate.status"]) == (run.status, run.names)
    assert pair == host.pair()


def test_two_runs_do_not_meet(host):
    """The second run ends at once, with status 0."""
    with (host.state / ".lock").open("w") as lock:
        os.chown(lock.fileno(), CERTBOT, SHARED_GROUP)
        fcntl.flock(lock, fcntl.LOCK_EX)
        run = host.run("https://localhost:1/dir", ORG)

    assert (0, ["certificate.busy"]) == (run.status, run.names)
