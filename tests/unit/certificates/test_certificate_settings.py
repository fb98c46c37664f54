"""The task's environment: read once, and refused with the variable's name."""

import json
from pathlib import Path

import pytest

from postal_plexus.certificates.settings import SettingsError, read_settings
from postal_plexus.certificates.task import main

GOOD = {
    "PLEXUS_CERTIFICATE_NAMES": "mail.example.org mail.example.net",
    "PLEXUS_ZONES": json.dumps({"example.org": ["ns-1.awsdns-1.com"], "example.net": []}),
    "PLEXUS_ACME_DIRECTORY": "https://acme.example/directory",
}


def test_a_good_environment_is_read_whole():
    """Names in order, zones with their servers, paths of the container."""
    settings = read_settings(GOOD)

    assert ("mail.example.org", "mail.example.net") == settings.names
    assert {"example.org": ("ns-1.awsdns-1.com",), "example.net": ()} == settings.zones
    assert (Path("/etc/plexus/tls"), Path("/var/lib/certbot")) == (settings.tls, settings.state)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PLEXUS_CERTIFICATE_NAMES", ""),
        ("PLEXUS_ACME_DIRECTORY", "http://acme.example/directory"),
        ("PLEXUS_ZONES", ""),
        ("PLEXUS_ZONES", "{}"),
        ("PLEXUS_ZONES", "example.org"),
        ("PLEXUS_ZONES", '{"example.org": "ns-1.awsdns-1.com"}'),
        ("PLEXUS_ZONES", '{"example.org": [1]}'),
    ],
)
def test_a_wrong_variable_is_named_and_ends_with_status_2(variable, value, capsys):
    """Nothing is tried; the log line says which variable."""
    with pytest.raises(SettingsError, match=variable):
        read_settings(GOOD | {variable: value})

    assert 2 == main(GOOD | {variable: value})
    logged = json.loads(capsys.readouterr().out)
    assert "certificate.misconfigured" == logged["event"]
    assert variable in logged["reason"]
