"""Postfix at its edges: which SES it trusts, what a new container finds, how it starts and stops."""

from __future__ import annotations

import socket
import ssl
import time
from pathlib import Path

import pytest

from mail_sockets import only_tls_11
from service.certificates import Authority
from service.container_engine import Container, Network
from service.mail_host import HOSTNAME, SES_HOST, MailHost
from service.postfix_letters import await_subject, mail, queue
from service.ses_endpoint import SesEndpoint
from service.ways_out import OUTSIDE, relayed
from wire import await_true

pytestmark = pytest.mark.timeout(600)


def test_ses_with_another_name_gets_nothing(
    host: MailHost, network: Network, authority: Authority
) -> None:
    """A server with a trusted certificate for another name gets no password and no mail."""
    certificate, key = authority.issue("smtp.attacker.example")
    with SesEndpoint(network.gateway, certificate, key) as false:
        container = host.start_postfix(false.port, authority.file)
        with host.submission("ann@example.org") as smtp:
            smtp.sendmail("ann@example.org", [OUTSIDE], mail("ann@example.org", "secret"))
        await_true("the mail to wait", lambda: "not verified" in queue(container))
        assert false.relayed == []


def test_ses_without_a_trusted_certificate_gets_nothing(
    host: MailHost, network: Network, authority: Authority, tmp_path: Path
) -> None:
    """A server without a trusted certificate gets no mail, whatever its name."""
    with SesEndpoint(network.gateway, *Authority(tmp_path, "Nobody").issue(SES_HOST)) as false:
        container = host.start_postfix(false.port, authority.file)
        with host.submission("ann@example.org") as smtp:
            smtp.sendmail("ann@example.org", [OUTSIDE], mail("ann@example.org", "secret 2"))
        await_true("the mail to wait", lambda: "untrusted" in container.logs())
        assert false.relayed == []


def test_queue_survives_a_new_container(
    host: MailHost, ses: SesEndpoint, authority: Authority
) -> None:
    """Messages that wait when a container ends go out from the next one, on the same volume."""
    container = host.start_postfix(1, authority.file)
    with host.submission("ann@example.org") as smtp:
        smtp.sendmail("ann@example.org", [OUTSIDE], mail("ann@example.org", "survivor"))
    await_true("the mail to wait", lambda: "Connection refused" in queue(container))
    container = host.start_postfix(ses.port, authority.file)
    container.exec("postqueue", "-f")
    relayed(ses, "survivor")


def test_local_mail_waits_for_dovecot(host: MailHost) -> None:
    """While Dovecot is down logins fail, and accepted mail waits for it."""
    container = host.containers["postfix"]
    with host.submission("ann@example.org") as smtp:
        host.containers["dovecot"].stop()
        smtp.sendmail("ann@example.org", ["ben@example.org"], mail("ann@example.org", "later"))
        await_true("the mail to wait", lambda: "ben@example.org" in queue(container))
    host.start("dovecot")
    container.exec("postqueue", "-f")
    await_subject(host, "ben@example.org", "later")


def test_secrets_are_in_no_environment_and_no_arguments(host: MailHost) -> None:
    """No process shows SES's password; its file is for root alone."""
    container = host.containers["postfix"]
    # A process may end while it is looked at.
    shown = container.exec("sh", "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null || true")
    of_master = Path(f"/proc/{container.pid}/environ").read_bytes()
    assert "submission-guard" in shown
    assert "BPa55word" not in shown
    assert b"queue_directory=" in of_master
    assert b"BPa55word" not in of_master
    assert container.exec("stat", "-c", "%a %U", "/run/ses-credentials") == "600 root"


def test_only_tls_12_and_13(host: MailHost) -> None:
    """TLS 1.1 is refused on both ports' TLS."""
    port = host.containers["postfix"].port(465)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        pytest.raises(ssl.SSLError),
    ):
        only_tls_11().wrap_socket(plain)


def test_stops_cleanly_and_fast(host: MailHost) -> None:
    """SIGTERM ends Postfix within 5 s, with a client connected."""
    client = host.submission("ann@example.org")
    container = host.containers["postfix"]
    start = time.monotonic()
    container.stop()
    assert time.monotonic() - start < 5
    client.close()


def test_waits_for_the_directory_and_ends_on_sigterm(
    host: MailHost, endpoint: SesEndpoint, authority: Authority, tmp_path: Path
) -> None:
    """On a fresh host Postfix waits for the directory, says so, and can still be stopped."""
    fresh = MailHost(host.engine, host.images, host.network, tmp_path / "host")
    for name in ("certificate.pem", "key.pem"):
        (fresh.root / "tls" / name).write_bytes((host.root / "tls" / name).read_bytes())
    try:
        container = fresh.start_postfix(endpoint.port, authority.file, await_health=False)
        await_true("the log", lambda: "waiting for the directory's files" in container.logs())
        assert not container.healthy()
        # A new container would wait as long: ECS must not replace this one.
        assert container.is_kept()
        start = time.monotonic()
        container.stop()
        assert time.monotonic() - start < 3
        container = fresh.start_postfix(endpoint.port, authority.file, await_health=False)
        fresh.write_directory()
        await_true("Postfix to be healthy", container.healthy)
        host.engine("exec", container.id, "test", "!", "-e", "/run/waiting")
    finally:
        fresh.close()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PLEXUS_HOSTNAME", "mail.example.org\nmynetworks = 0.0.0.0/0"),
        ("SES_SMTP_ENDPOINT", "email-smtp.us-east-1.amazonaws.com"),
        ("SES_SMTP_USERNAME", ""),
        ("SES_SMTP_PASSWORD", "a b"),
    ],
)
def test_refuses_to_start_with_a_wrong_environment(host: MailHost, name: str, value: str) -> None:
    """A value that is missing or malformed ends the container with one line that names it."""
    environment = {
        "PLEXUS_HOSTNAME": HOSTNAME,
        "SES_SMTP_ENDPOINT": f"{SES_HOST}:587",
        "SES_SMTP_USERNAME": "AKIDEXAMPLE",
        "SES_SMTP_PASSWORD": "abc=",
        name: value,
    }
    run = host.engine
    created = run(
        *("create", "--network=none"),
        *(f"--env={key}={each}" for key, each in environment.items()),
        host.images["postfix"],
    )
    container = Container(run, created)
    try:
        run("start", created)
        assert run("wait", created) == "1"
        assert f"postfix: refused to start: {name}" in container.logs()
        assert value == "" or value not in container.logs() or name != "SES_SMTP_PASSWORD"
    finally:
        container.remove()
