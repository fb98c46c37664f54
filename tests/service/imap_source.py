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
# What `plexus import` must be told of each.
PREFIX = {"courier": "INBOX", "cyrus": ""}


@dataclass
class ImapSource:
    """One server, running."""

    kind: str
    container: Container
    authority: Path

    def client(self) -> imaplib.IMAP4_SSL:
        """Log a client in."""
        context = ssl.create_default_context(cafile=str(self.authority))
        context.check_hostname = False  # the client says 127.0.0.1
        port = self.container.port(993)
        client = imaplib.IMAP4_SSL("127.0.0.1", port, ssl_context=context, timeout=60)
        client.login(USER, PASSWORD)
        return client

    @property
    def host(self) -> str:
        """Its name on the containers' network."""
        return f"{self.kind}.{DOMAIN}"

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
    certificate, key = authority.issue(f"{kind}.{DOMAIN}")
    tls = certificate.parent / f"tls-{kind}"
    tls.mkdir(exist_ok=True)
    (tls / "certificate.pem").write_bytes(certificate.read_bytes())
    (tls / "key.pem").write_bytes(key.read_bytes())
    container = Container.run(
        engine,
        image,
        [
            *(
                "--network",
                network,
                f"--network-alias={kind}.{DOMAIN}",
                f"--hostname={kind}.{DOMAIN}",
            ),
            *("--publish=127.0.0.1::993", f"--volume={tls}:/tls:ro"),
        ],
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
