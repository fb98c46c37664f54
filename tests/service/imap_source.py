"""IMAP servers that are not ours, as sources of an import: Debian's Courier and Cyrus in containers.

Each has one user, ann/secret, and a certificate for its name below `source.example`, which nobody else vouches for.
"""

from __future__ import annotations

import hashlib
import imaplib
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from service.certificates import Authority
from service.container_engine import ROOT, Container, Engine
from wire import await_true

DOMAIN = "source.example"
USER, PASSWORD = "ann", "secret"
# Nobody waits for its end.
AT_ONCE = ["--stop-timeout=0"]
# What `plexus import` must be told of each.
PREFIX = {"courier": "INBOX", "cyrus": "", "gmail": ""}


@dataclass
class ImapSource:
    """One server, running."""

    kind: str
    container: Container
    authority: Path

    def connection(self) -> imaplib.IMAP4_SSL:
        """Return a client that has not logged in."""
        context = ssl.create_default_context(cafile=str(self.authority))
        context.check_hostname = False  # the client says 127.0.0.1
        port = self.container.port(993)
        return imaplib.IMAP4_SSL("127.0.0.1", port, ssl_context=context, timeout=60)

    def client(self) -> imaplib.IMAP4_SSL:
        """Log a client in."""
        client = self.connection()
        client.login(USER, PASSWORD)
        return client

    @property
    def host(self) -> str:
        """Its name on the containers' network."""
        return f"{self.kind}.{DOMAIN}"

    @property
    def address(self) -> str:
        """Its address there."""
        return self.container.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")

    def folder(self, *levels: str) -> str:
        """Return a folder's name as this server writes it: levels are parted by dots."""
        return ".".join(("INBOX", *levels) if self.kind == "courier" else levels)


def start(engine: Engine, network: str, kind: str, authority: Authority) -> ImapSource:
    """Start a server; its image is built once for its content."""
    folder = ROOT / "tests/service/imap_servers" / kind
    digest = hashlib.sha256(
        b"".join(path.name.encode() + path.read_bytes() for path in sorted(folder.iterdir()))
    ).hexdigest()[:12]
    image = f"localhost/postal-plexus-test/{kind}:{digest}"
    found = subprocess.run(
        [engine.command, "image", "inspect", image], capture_output=True, check=False
    )
    if found.returncode:
        options = (
            ("--isolation=chroot", "--network=host", "--pull=never", "--format=docker")
            if engine.command == "podman"
            else ()
        )
        engine("build", *options, "--tag", image, str(folder), timeout=600)
    return _start(engine, network, kind, authority, [], image)


def start_gmail(engine: Engine, network: str, image: str, authority: Authority) -> ImapSource:
    """Start the server that plays Gmail, in an image that has Python."""
    program = ROOT / "tests/service/gmail_server.py"
    options = [f"--volume={program}:/gmail_server.py:ro", "--entrypoint=python3"]
    arguments = ["/gmail_server.py", "/tls/certificate.pem", "/tls/key.pem"]
    return _start(engine, network, "gmail", authority, options, image, *arguments)


def _start(
    engine: Engine,
    network: str,
    kind: str,
    authority: Authority,
    options: list[str],
    *image: str,
) -> ImapSource:
    certificate, key = authority.issue(f"{kind}.{DOMAIN}")
    tls = certificate.parent / f"tls-{kind}"
    tls.mkdir(exist_ok=True)
    (tls / "certificate.pem").write_bytes(certificate.read_bytes())
    (tls / "key.pem").write_bytes(key.read_bytes())
    named = [f"--network-alias={kind}.{DOMAIN}", f"--hostname={kind}.{DOMAIN}"]
    ports = ["--publish=127.0.0.1::993", f"--volume={tls}:/tls:ro", *AT_ONCE]
    container = Container.run(
        engine, image[0], ["--network", network, *named, *ports, *options], image[1:]
    )
    source = ImapSource(kind, container, authority.file)

    def answers() -> bool:
        try:
            source.client().logout()
        except (OSError, imaplib.IMAP4.error):
            return False
        return True

    await_true(f"{kind} to answer", answers)
    return source
