"""The directory that Dovecot and Postfix read: a pair changes whole, or not at all."""

import datetime
import os
import stat
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from postal_plexus.certificates.certificate import CertificateError, belongs, validity
from postal_plexus.certificates.tls_directory import TlsDirectory


def pair(issuer: str = "authority"):
    """Certificate (as file and as object) and key, the issuer's name as given."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.example.org")]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=90))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("mail.example.org")]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return pem, private, certificate


def files(path):
    """Return what a daemon reads."""
    return (path / "certificate.pem").read_bytes(), (path / "key.pem").read_bytes()


def test_a_pair_is_installed_with_modes_that_the_group_can_read(tmp_path):
    """0640 files in a 0750 directory, whatever the process's umask."""
    chain, key, certificate = pair()
    previous = os.umask(0o077)
    try:
        TlsDirectory(tmp_path).install(chain, key, certificate)
    finally:
        os.umask(previous)

    assert (chain, key) == files(tmp_path)
    assert [0o640, 0o640] == [
        stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("certificate.pem", "key.pem")
    ]
    assert 0o750 == stat.S_IMODE((tmp_path / "current").stat().st_mode)


def test_links_are_relative_so_that_they_hold_wherever_the_directory_is_mounted(tmp_path):
    """The host's path and the container's differ."""
    TlsDirectory(tmp_path).install(*pair())

    links = [path for path in tmp_path.iterdir() if path.is_symlink()]
    assert 3 == len(links)
    assert not any(link.readlink().is_absolute() for link in links)


def test_a_renewal_keeps_the_pair_before_and_removes_older_ones(tmp_path):
    """A daemon that has just begun to read the old pair can finish."""
    directory = TlsDirectory(tmp_path)
    pairs = [pair() for _ in range(3)]
    for each in pairs:
        directory.install(*each)

    assert pairs[2][:2] == files(tmp_path)
    assert {f"issued-{certificate.serial_number:x}" for _, _, certificate in pairs[1:]} == {
        path.name for path in tmp_path.iterdir() if not path.is_symlink()
    }


def test_a_key_that_does_not_fit_changes_nothing(tmp_path):
    """The old pair stays in use."""
    directory = TlsDirectory(tmp_path)
    first, second = pair(), pair()
    directory.install(*first)

    with pytest.raises(CertificateError, match="does not belong"):
        directory.install(second[0], first[1], second[2])
    assert first[:2] == files(tmp_path)


def test_a_reader_never_sees_a_key_that_does_not_fit(tmp_path):
    """From plain self-signed files through ten renewals, read all the time.

    A reader opens the two files one after the other; it takes what it read as a pair when
    `current` was the same before and after, as any reader that can be believed must.
    """
    own = pair(issuer="mail.example.org")
    (tmp_path / "certificate.pem").write_bytes(own[0])
    (tmp_path / "key.pem").write_bytes(own[1])
    directory = TlsDirectory(tmp_path)
    done = threading.Event()
    broken, seen = [], 0

    def current():
        try:
            return (tmp_path / "current").readlink()
        except FileNotFoundError:
            return None

    def read_on():
        nonlocal seen
        while not done.is_set():
            before = current()
            chain, key = files(tmp_path)
            if before == current():
                seen += 1
                if not belongs(key, x509.load_pem_x509_certificate(chain)):
                    broken.append(before)

    reader = threading.Thread(target=read_on)
    reader.start()
    for _ in range(10):
        directory.install(*pair())
    done.set()
    reader.join()

    assert [] == broken
    assert seen > 10


def test_a_link_that_leads_nowhere_counts_as_no_certificate(tmp_path):
    """A directory whose pair was lost is filled again."""
    (tmp_path / "certificate.pem").symlink_to("current/certificate.pem")

    assert TlsDirectory(tmp_path).certificate() is None
    TlsDirectory(tmp_path).install(*pair())
    assert TlsDirectory(tmp_path).certificate() is not None


def test_rubbish_counts_as_no_certificate(tmp_path):
    """A torn file is replaced by the next run, not a reason to stop."""
    (tmp_path / "certificate.pem").write_bytes(b"-----BEGIN")

    assert TlsDirectory(tmp_path).certificate() is None


def test_validity_tells_self_signed_from_issued():
    """By issuer and subject: what Dovecot makes on a new host is to be replaced."""
    assert validity(pair(issuer="mail.example.org")[2]).self_signed
    issued = validity(pair()[2])
    assert not issued.self_signed
    assert frozenset({"mail.example.org"}) == issued.names
