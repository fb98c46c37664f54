"""Run certbot to get a certificate from an ACME authority by DNS-01 through Route 53.

There is one lineage, named `plexus`, in the state directory, with the account's key. certbot finds
zone and credentials itself (boto3; in ECS the task's role). The first run creates the account.

Raises CertbotError with the last lines of certbot's output.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LINEAGE = "plexus"
# Two minutes for Route 53 to publish, and as much again for the authority to check from everywhere.
TIMEOUT_SECONDS = 600
_LINES_KEPT = 15


class CertbotError(Exception):
    """certbot got no certificate; the text is certbot's."""


@dataclass(frozen=True)
class Certbot:
    """One ACME directory, and the path of certbot's state."""

    directory_url: str
    state: Path
    email: str | None = None

    @property
    def chain(self) -> Path:
        """The path of the last certificate with its chain."""
        return self.state / "live" / LINEAGE / "fullchain.pem"

    @property
    def key(self) -> Path:
        """The path of the last certificate's key."""
        return self.state / "live" / LINEAGE / "privkey.pem"

    def issue(self, names: Sequence[str], *, subset: bool = False) -> None:
        """Get a new certificate into the lineage. Raise CertbotError."""
        command = self.command(names, subset=subset)
        try:
            done = subprocess.run(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=TIMEOUT_SECONDS,
                text=True,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise CertbotError(f"certbot took longer than {TIMEOUT_SECONDS} s") from error
        if done.returncode != 0:
            lines = [line for line in done.stdout.splitlines() if line.strip()]
            raise CertbotError("\n".join(lines[-_LINES_KEPT:]))

    def command(self, names: Sequence[str], *, subset: bool) -> list[str]:
        """Return certbot's command line."""
        contact = ["--email", self.email] if self.email else ["--register-unsafely-without-email"]
        return [
            "/usr/bin/certbot",
            "certonly",
            "--non-interactive",
            "--agree-tos",
            *contact,
            "--server",
            self.directory_url,
            "--dns-route53",
            "--cert-name",
            LINEAGE,
            # `policy` has decided what is due; certbot does not decide again.
            "--force-renewal",
            # Exactly these names: without this option certbot asks when one has been removed.
            "--renew-with-new-domains",
            "--key-type",
            "ecdsa",
            "--elliptic-curve",
            "secp256r1",
            *(["--allow-subset-of-names"] if subset else []),
            "--config-dir",
            str(self.state),
            "--work-dir",
            "/tmp/certbot",  # noqa: S108  # the container's own
            "--logs-dir",
            "/tmp/certbot/log",  # noqa: S108
            "--max-log-backups",
            "0",
            *(argument for name in names for argument in ("--domain", name)),
        ]
