"""Read a certificate, and check whether a key belongs to it.

Raises CertificateError for what is not a PEM certificate or key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from postal_plexus.certificates.policy import Validity

if TYPE_CHECKING:
    from pathlib import Path


class CertificateError(Exception):
    """A file is not a valid certificate or key."""


def read(path: Path) -> x509.Certificate | None:
    """Return the first certificate of a chain file, or None if there is no file."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise CertificateError(f"{path}: not a certificate: {error}") from error


def validity(certificate: x509.Certificate) -> Validity:
    """Return names, times, and whether it is self-signed."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = frozenset(extension.value.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        names = frozenset[str]()
    return Validity(
        names=names,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        self_signed=certificate.issuer == certificate.subject,
    )


def belongs(key: bytes, certificate: x509.Certificate) -> bool:
    """Return whether the PEM key belongs to the certificate."""
    try:
        public = load_pem_private_key(key, password=None).public_key()
    except (ValueError, TypeError) as error:
        raise CertificateError(f"not a private key: {error}") from error
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    return public.public_bytes(*form) == certificate.public_key().public_bytes(*form)
