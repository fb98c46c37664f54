"""The private keys of Easy DKIM, and the records in which Amazon publishes the public ones.

SES makes a key pair for each token of an identity and serves the public key under
dkim.amazonses.com, where the CNAME record of the token leads
(https://docs.aws.amazon.com/ses/latest/dg/send-email-authentication-dkim-easy.html). Here a pair is
created when it is first needed, and stored as `<name>.pem` (0600) in one directory.

Raises OSError if the directory is not writable.
"""

from __future__ import annotations

import base64
import threading
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from awsdesk import files

if TYPE_CHECKING:
    from pathlib import Path

_KEY_BITS = 2048  # Easy DKIM's default


class DkimKeys:
    """Key pairs by name. Safe to use from several threads."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()

    def private(self, name: str) -> bytes:
        """Return the private key, PKCS #1 in PEM."""
        path = self._directory / f"{name}.pem"
        with self._lock:
            if not path.exists():
                self._directory.mkdir(mode=0o700, exist_ok=True)
                made = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
                pem = made.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.TraditionalOpenSSL,
                    serialization.NoEncryption(),
                )
                files.replace(path, pem, 0o600)
            return path.read_bytes()

    def record(self, name: str) -> str:
        """Return the TXT record of the public key (RFC 6376 section 3.6.1)."""
        key = serialization.load_pem_private_key(self.private(name), None)
        public = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return f"v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}"
