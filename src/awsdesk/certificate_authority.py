"""The desk's certificate authority: one root, and certificates for the desk's servers.

Clients of the desk trust `ca.pem`; containers see the host's certificates with it added. Nothing
here leaves the desk directory. A new certificate is created when the old one is missing, about to
expire, or for other names.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from awsdesk import files, naming

if TYPE_CHECKING:
    from collections.abc import Iterable

_ROOT_LIFE = timedelta(days=3650)
# Mozilla's guidelines (intermediate) allow 366 days, which is what sslyze judges by; clients on
# macOS refuse more than 398.
_LEAF_LIFE = timedelta(days=366)
_CLOCK_SKEW = timedelta(hours=1)
_RENEW_BEFORE = timedelta(days=30)
# Where Debian and its relatives, Fedora, and Alpine keep the host's certificates.
_HOST_BUNDLES = (
    Path("/etc/ssl/certs/ca-certificates.crt"),
    Path("/etc/pki/tls/certs/ca-bundle.crt"),
    Path("/etc/ssl/cert.pem"),
)


@dataclass(frozen=True)
class Certificate:
    """The files of a certificate (with its chain) and its key."""

    chain: Path
    key: Path


class CertificateAuthority:
    """The certificate authority in one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._root_path = directory / "ca.pem"
        self._root_key_path = directory / "ca-key.pem"
        if not (self._root_path.exists() and self._root_key_path.exists()):
            self._make_root()

    def bundle(self) -> Path:
        """Write the host's certificates with the desk's root added. Return the file."""
        path = self._directory / "bundle.pem"
        host = next((one for one in _HOST_BUNDLES if one.exists()), None)
        content = (host.read_bytes() if host else b"") + self._root_path.read_bytes()
        if not path.exists() or path.read_bytes() != content:
            if path.exists():
                # Containers have this very file mounted: write into it, do not replace it.
                path.write_bytes(content)
            else:
                files.replace(path, content, 0o644)
        return path

    def certificate(self, name: str, hosts: Iterable[str]) -> Certificate:
        """Return a server certificate for these host names and addresses."""
        wanted = Certificate(self._directory / f"{name}.pem", self._directory / f"{name}-key.pem")
        names = [_general_name(host) for host in dict.fromkeys(hosts)]
        if not _is_good(wanted, names):
            self._issue(wanted, names)
        return wanted

    def _make_root(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{naming.SYSTEM} desk")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _CLOCK_SKEW)
            .not_valid_after(now + _ROOT_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        files.replace(self._root_key_path, _pem_key(key), 0o600)
        files.replace(self._root_path, _pem(certificate), 0o644)

    def _issue(self, wanted: Certificate, names: list[x509.GeneralName]) -> None:
        root = x509.load_pem_x509_certificate(self._root_path.read_bytes())
        root_key = serialization.load_pem_private_key(self._root_key_path.read_bytes(), None)
        if not isinstance(root_key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{self._root_key_path} is not the desk's root key")
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        first = str(names[0].value)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, first[:64])]))
            .issuer_name(root.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _CLOCK_SKEW)
            .not_valid_after(now - _CLOCK_SKEW + _LEAF_LIFE)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()),
                critical=False,
            )
            .sign(root_key, hashes.SHA256())
        )
        files.replace(wanted.key, _pem_key(key), 0o600)
        files.replace(wanted.chain, _pem(certificate) + _pem(root), 0o644)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _is_good(wanted: Certificate, names: list[x509.GeneralName]) -> bool:
    if not (wanted.chain.exists() and wanted.key.exists()):
        return False
    certificate = x509.load_pem_x509_certificate(wanted.chain.read_bytes())
    held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    ends = certificate.not_valid_after_utc
    is_short = ends - certificate.not_valid_before_utc <= _LEAF_LIFE
    return list(held) == names and is_short and ends - datetime.now(UTC) > _RENEW_BEFORE


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
