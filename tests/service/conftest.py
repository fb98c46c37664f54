"""A mail host with Dovecot and Postfix beside an SES endpoint with a script; one for each module."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from service.certificates import Authority
from service.container_engine import Network, engine
from service.mail_host import SES_HOST, MailHost, prepared
from service.ses_endpoint import SesEndpoint


@pytest.fixture(autouse=True)
def _no_answers_of_other_tests() -> None:
    """checkdmarc keeps DNS answers of a whole process; each desk has its own example.org."""
    if (utils := sys.modules.get("checkdmarc.utils")) is not None:
        utils.DNS_CACHE.clear()


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """Provide a bridge network between the containers and the SES endpoint."""
    made = Network(engine())
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Provide the certificate authority of the SES endpoint."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def endpoint(network: Network, authority: Authority) -> Iterator[SesEndpoint]:
    """Provide the SES endpoint, with a certificate for SES's name."""
    with SesEndpoint(network.gateway, *authority.issue(SES_HOST)) as running:
        yield running


@pytest.fixture(scope="module")
def idle_host(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailHost]:
    """Provide a host with a directory, on which nothing runs yet."""
    with prepared(network, tmp_path_factory.mktemp("host"), "dovecot", "postfix") as made:
        yield made


@pytest.fixture(scope="module")
def host(idle_host: MailHost, endpoint: SesEndpoint, authority: Authority) -> MailHost:
    """Provide a host with Dovecot and Postfix running and a directory."""
    idle_host.start("dovecot")
    idle_host.start_postfix(endpoint.port, authority.file)
    return idle_host


@pytest.fixture
def ses(endpoint: SesEndpoint) -> SesEndpoint:
    """Provide the endpoint, with nothing relayed yet and no refusal."""
    endpoint.relayed.clear()
    endpoint.refused.clear()
    endpoint.refusal = None
    return endpoint
