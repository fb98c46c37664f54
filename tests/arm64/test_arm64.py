"""The arm64 images, which t4g instances run: `make test-arm64`, under emulation on other machines.

Dovecot and Postfix run with the mounts, capabilities and read-only roots of their task definitions,
but with more memory: the emulator itself needs some. Times are printed, not judged.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator

import pytest

from service.certificates import Authority
from service.container_engine import Network, engine, images
from service.mail_host import SES_HOST, MailHost
from service.ses_endpoint import SesEndpoint
from wire import await_true

pytestmark = pytest.mark.timeout(1200)

# Emulated, an entrypoint that compiles Sieve scripts and makes keys takes its time.
_START_SECONDS = 600
_ANSWER_SECONDS = 120
_ROOM = ("--memory=512m", "--memory-swap=512m")
NAMES = ("dovecot", "postfix", "deliver", "certbot")


@pytest.fixture(scope="module")
def built() -> dict[str, str]:
    """Provide the arm64 images' names; `make test-arm64` says which architecture."""
    assert "arm64" == os.environ.get("ARCH"), "run it by `make test-arm64`"
    return images(*NAMES)


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """Provide a bridge network between the containers and the SES endpoint."""
    made = Network(engine())
    yield made
    made.remove()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Provide the certificate authority of the SES endpoint."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def ses(network: Network, authority: Authority) -> Iterator[SesEndpoint]:
    """Provide an SES endpoint that accepts outgoing mail."""
    with SesEndpoint(network.gateway, *authority.issue(SES_HOST)) as running:
        yield running


@pytest.fixture(scope="module")
def host(
    built: dict[str, str],
    network: Network,
    authority: Authority,
    ses: SesEndpoint,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[MailHost]:
    """Provide a host whose Dovecot and Postfix are arm64 programs."""
    made = MailHost(network.engine, built, network, tmp_path_factory.mktemp("host"))
    try:
        made.write_directory()
        start(made, "dovecot", {}, ())
        environment = {
            "SES_SMTP_ENDPOINT": f"{SES_HOST}:{ses.port}",
            "SES_SMTP_USERNAME": "AKIDEXAMPLE",
            "SES_SMTP_PASSWORD": "BPa55word+/=",
        }
        trust = f"--volume={authority.file}:/etc/ssl/certs/ca-certificates.crt:ro"
        start(made, "postfix", environment, (f"--add-host={SES_HOST}:{network.gateway}", trust))
        yield made
    finally:
        made.close()


def start(host: MailHost, name: str, environment: dict[str, str], options: tuple[str, ...]) -> None:
    """Start a container, wait for its health check, and say how long that took."""
    began = time.monotonic()
    container = host.start(name, environment, (*_ROOM, *options), await_health=False)
    await_true(f"{name} to be healthy", container.healthy, _START_SECONDS)
    print(f"\n{name}: healthy after {time.monotonic() - began:.0f} s")


def subjects(host: MailHost, address: str) -> list[str]:
    """Return the subjects in an inbox, by IMAP."""
    with host.imap(address) as client:
        if client.select("INBOX", readonly=True)[1] == [b"0"]:
            return []
        found = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
    return [part[1].decode().partition(":")[2].strip() for part in found if isinstance(part, tuple)]


@pytest.mark.parametrize("name", NAMES)
def test_the_image_is_for_arm64(built: dict[str, str], name: str) -> None:
    """By the engine's word and by the program that would run."""
    run = engine()
    assert "arm64" == run("image", "inspect", "--format", "{{.Architecture}}", built[name])
    entry = ("run", "--rm", "--entrypoint", "/bin/uname", built[name], "--machine")
    assert "aarch64" == run(*entry, timeout=_ANSWER_SECONDS).splitlines()[-1]


def test_lmtp_takes_a_mail_and_imap_shows_it(host: MailHost) -> None:
    """What `deliver` hands over by LMTP is what a client reads by IMAP, octet for octet."""
    content = b"From: x@elsewhere.example\r\nSubject: by lmtp\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n"
    with host.lmtp() as lmtp:
        assert {} == lmtp.sendmail("x@elsewhere.example", ["ann@example.org"], content)
    with host.imap("ann@example.org") as client:
        client.select("INBOX", readonly=True)
        seen = client.fetch("*", "(BODY.PEEK[])")[1][0][1]
    assert seen.endswith(content)


@pytest.mark.parametrize("port", [465, 587])
def test_submission_reaches_a_neighbour(host: MailHost, port: int) -> None:
    """A user logs in by SMTP; mail for one of ours goes from Postfix to Dovecot."""
    subject = f"by smtp {port}"
    with host.submission("ann@example.org", port=port) as smtp:
        smtp.sendmail(
            "ann@example.org",
            ["ben@example.org"],
            f"From: ann@example.org\r\nSubject: {subject}\r\n\r\nhello\r\n",
        )
    await_true(
        "the mail to arrive", lambda: subject in subjects(host, "ben@example.org"), _ANSWER_SECONDS
    )


def test_mail_outside_goes_to_ses(host: MailHost, ses: SesEndpoint) -> None:
    """Postfix, emulated, logs in to SES over verified TLS."""
    with host.submission("ann@example.org") as smtp:
        smtp.sendmail(
            "ann@example.org",
            ["someone@elsewhere.example"],
            "From: ann@example.org\r\nSubject: out\r\n\r\nhello\r\n",
        )
    await_true("SES to have it", lambda: ses.relayed, _ANSWER_SECONDS)
    assert ["someone@elsewhere.example"] == list(ses.relayed[0].recipients)


def answer(image: str) -> tuple[int, str]:
    """Exit status and output of a container that ends by itself."""
    done = subprocess.run(
        [engine().command, "run", "--rm", image],
        capture_output=True,
        text=True,
        check=False,
        timeout=_ANSWER_SECONDS,
    )
    return done.returncode, done.stdout + done.stderr


def test_deliver_reads_its_settings(built: dict[str, str]) -> None:
    """All of the service is imported; without its settings it ends with 78 and names them."""
    status, said = answer(built["deliver"])
    assert (78, True) == (status, "PLEXUS_QUEUE_URL" in said)


def test_certbot_reads_its_settings(built: dict[str, str]) -> None:
    """The certificate task, likewise."""
    status, said = answer(built["certbot"])
    assert (2, True) == (status, "PLEXUS_" in said)
