"""Every port that the world can reach has TLS as Mozilla's "intermediate" asks, in sslyze's judgement."""

from __future__ import annotations

import contextlib
import shutil
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from postal_plexus.certificates.tls_directory import TlsDirectory
from service.certificates import Authority
from service.mail_host import HOSTNAME, MailHost
from service.ses_endpoint import SesEndpoint
from wire import await_true

pytestmark = pytest.mark.timeout(300)

SSLYZE = Path(__file__).resolve().parents[2] / ".build/sslyze/bin/sslyze"


@pytest.fixture(scope="module")
def host(idle_host: MailHost, endpoint: SesEndpoint, authority: Authority) -> MailHost:
    """Provide a host with a certificate as an authority issues it; age and key are rated too."""
    chain, key = (file.read_bytes() for file in authority.issue(HOSTNAME))
    TlsDirectory(idle_host.root / "tls").install(chain, key, x509.load_pem_x509_certificate(chain))
    idle_host.start("dovecot")
    postfix = idle_host.start_postfix(endpoint.port, authority.file)
    # sslyze comes again faster than Postfix notices that it has gone, which would be too many at once.
    postfix.exec("postconf", "-e", "smtpd_client_connection_count_limit=0")
    postfix.exec("postfix", "reload")
    await_true("Postfix to reload", lambda: "reload -- version" in postfix.logs())
    return idle_host


class _AfterStartTls(socketserver.BaseRequestHandler):
    """Passes octets on to ManageSieve, from where STARTTLS was accepted: sslyze does not speak it."""

    target: int

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.target), timeout=20) as server:
            _read_to_ok(server)
            server.sendall(b"STARTTLS\r\n")
            _read_to_ok(server)
            back = threading.Thread(target=_pass_on, args=(server, self.request))
            back.start()
            _pass_on(self.request, server)
            back.join()


def _read_to_ok(server: socket.socket) -> None:
    """Read an answer to its last line, and not an octet of what follows."""
    answer = b""
    while not (answer.endswith(b"\r\n") and answer.splitlines()[-1].startswith(b"OK")):
        octet = server.recv(1)
        assert octet, f"hung up after {answer!r}"
        answer += octet


def _pass_on(source: socket.socket, to: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while octets := source.recv(65536):
            to.sendall(octets)
    with contextlib.suppress(OSError):
        to.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def tls_of_managesieve(port: int) -> Iterator[int]:
    """Provide a port at which the TLS of ManageSieve's `port` begins at once."""
    handler = type("Handler", (_AfterStartTls,), {"target": port})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def rated(port: int, trusted: Path, *options: str) -> str:
    """Return what sslyze says of a port on 127.0.0.1, with its verdict at the end."""
    done = subprocess.run(
        [SSLYZE, "--mozilla_config=intermediate", f"--certinfo_ca_file={trusted}", *options]
        + [f"--sni={HOSTNAME}", "--slow_connection", f"127.0.0.1:{port}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    return f"{done.stdout}{done.stderr}\nexit status {done.returncode}"


@pytest.mark.parametrize("port", [993, 4190, 465, 587])
def test_port_is_rated_mozilla_intermediate(
    host: MailHost, authority: Authority, port: int
) -> None:
    """Protocols, suites, curves, key and certificate; 465 and 993 from the first octet."""
    assert shutil.which(SSLYZE), "sslyze is not there: run tools/bootstrap test"
    published = host.containers["dovecot" if port in {993, 4190} else "postfix"].port(port)
    if port == 4190:
        with tls_of_managesieve(published) as plain:
            report = rated(plain, authority.file)
    else:
        report = rated(published, authority.file, *(["--starttls=smtp"] if port == 587 else []))
    assert "OK - Compliant" in report, report
    assert report.endswith("exit status 0"), report


@pytest.mark.parametrize("port", [993, 465])
def test_keys_are_agreed_on_as_a_quantum_computer_cannot_undo(host: MailHost, port: int) -> None:
    """A client that knows ML-KEM gets it; sslyze and this machine's Python may not know it yet."""
    container = host.containers["dovecot" if port == 993 else "postfix"]
    told = container.exec(
        *(
            "sh",
            "-c",
            f"openssl s_client -connect 127.0.0.1:{port} -groups X25519MLKEM768 2>&1 </dev/null",
        )
    )
    assert "Negotiated TLS1.3 group: X25519MLKEM768" in told, told
