"""Dovecot and Postfix load a renewed certificate while their clients stay connected."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from mail_sockets import trusting
from postal_plexus.certificates.tls_directory import TlsDirectory
from service.certificates import Authority
from service.mail_host import HOSTNAME, MailHost
from wire import await_true

pytestmark = pytest.mark.timeout(300)

PORTS = {"dovecot": (993, 4190), "postfix": (465, 587)}


def install(host: MailHost, authority: Authority) -> x509.Certificate:
    """Put a new certificate in use as the certbot task does."""
    chain, key = authority.issue(HOSTNAME)
    certificate = x509.load_pem_x509_certificate(chain.read_bytes())
    TlsDirectory(host.root / "tls").install(chain.read_bytes(), key.read_bytes(), certificate)
    return certificate


def shown(host: MailHost, port: int) -> int:
    """Return the serial number of the certificate that a new connection to a port sees."""
    container = host.containers["dovecot" if port in PORTS["dovecot"] else "postfix"]
    with socket.create_connection(("127.0.0.1", container.port(port)), timeout=20) as plain:
        if before_tls := {587: (b"EHLO x\r\n", b"STARTTLS\r\n"), 4190: (b"STARTTLS\r\n",)}.get(
            port
        ):
            plain.recv(4096)
            for command in before_tls:
                plain.sendall(command)
                plain.recv(4096)
        with trusting().wrap_socket(plain, server_hostname=HOSTNAME) as tls:
            octets = tls.getpeercert(binary_form=True)
    assert octets
    return x509.load_der_x509_certificate(octets).serial_number


def await_serial(host: MailHost, serial: int) -> None:
    """Wait until every port shows a certificate: within a minute."""
    for port in (993, 4190, 465, 587):
        await_true(
            f"the new certificate on {port}", lambda port=port: shown(host, port) == serial, 60
        )


def test_new_certificate_is_shown_and_no_connection_is_dropped(
    host: MailHost, authority: Authority
) -> None:
    """Every port shows the new one within a minute; IMAP, IDLE and submission go on undisturbed."""
    idle = [host.imap("ann@example.org") for _ in range(5)]
    for client in idle:
        client.select()
        client.send(b"i1 IDLE\r\n")
        assert client.readline().startswith(b"+")
    with host.imap("ann@example.org") as imap, host.submission("ann@example.org") as smtp:
        imap.select()
        smtp.mail("ann@example.org")
        await_serial(host, install(host, authority).serial_number)
        # Postfix: the transaction that had begun ends; Dovecot: the selected folder gets the mail.
        assert smtp.rcpt("ann@example.org")[0] == 250
        assert smtp.data(b"From: ann@example.org\r\nSubject: through\r\n\r\n")[0] == 250
        assert await_true(
            "the mail", lambda: imap.noop() and imap.search(None, "SUBJECT", "through")[1][0]
        )
    for client in idle:
        assert b"EXISTS" in client.readline()
        client.send(b"DONE\r\n")
        while not client.readline().startswith(b"i1 OK"):
            pass
        client.logout()


def fits_not(folder: Path, authority: Authority) -> None:
    """Plain files whose key belongs to another certificate."""
    (folder / "key.pem").write_bytes(authority.issue("other.example.org")[1].read_bytes())


def no_certificate(folder: Path, _authority: Authority) -> None:
    """Write a file that a full disk has truncated."""
    path = folder / "certificate.pem"
    path.write_bytes(path.read_bytes()[:200])


def gone(folder: Path, _authority: Authority) -> None:
    """No key."""
    (folder / "key.pem").unlink()


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (fits_not, "key.pem does not belong to certificate.pem"),
        (no_certificate, "certificate.pem is no certificate"),
        (gone, "key.pem is missing"),
    ],
)
def test_broken_pair_changes_nothing(
    host: MailHost, authority: Authority, damage: Callable[[Path, Authority], None], why: str
) -> None:
    """One line names the error; the last good certificate stays in use until a good one arrives."""
    install(host, authority)
    before = install(host, authority).serial_number
    await_serial(host, before)
    current = (host.root / "tls/current").resolve()
    marks = {name: each.logs().count(why) for name, each in host.containers.items()}
    damage(current, authority)
    for name, container in host.containers.items():
        await_true(f"{name}'s refusal", lambda: container.logs().count(why) > marks[name], 30)  # noqa: B023
    assert [before] * 4 == [shown(host, port) for port in (993, 4190, 465, 587)]
    await_serial(host, install(host, authority).serial_number)


def test_start_with_a_broken_pair(host: MailHost, authority: Authority) -> None:
    """Dovecot starts with a self-signed one beside the broken pair, which stays as it is."""
    install(host, authority)
    key = (host.root / "tls/current").resolve() / "key.pem"
    key.write_bytes(b"no key")
    container = host.start("dovecot")
    assert "key.pem is no private key" in container.logs()
    assert shown(host, 993)
    assert b"no key" == key.read_bytes()
    await_serial_of_dovecot = install(host, authority).serial_number
    await_true("the mended one", lambda: shown(host, 993) == await_serial_of_dovecot, 30)
