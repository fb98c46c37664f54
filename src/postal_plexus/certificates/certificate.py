"""Reading a certificate, and telling whether a key belongs to it.

Fails by CertificateError for what is not a PEM certificate or key.
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
    """A file is not the certificate or key that it should be."""


def read(path: Path) -> x509.Certificate | None:
    """The first certificate of a chain file; None where there is no file."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise CertificateError(f"{path}: not a certificate: {error}") from error


def validity(certificate: x509.Certificate) -> Validity:
    """Names, time, and whether it only vouches for itself."""
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
    """Whether the PEM key is the certificate's."""
    try:
        public = load_pem_private_key(key, password=None).public_key()
    except (ValueError, TypeError) as error:
        raise CertificateError(f"not a private key: {error}") from error
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    return public.public_bytes(*form) == certificate.public_key().public_bytes(*form)
