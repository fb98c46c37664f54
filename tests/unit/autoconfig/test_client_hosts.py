"""Which names a domain's clients use, and what the certificate must cover."""

import pytest

from postal_plexus.autoconfig import ClientSetupError, certificate_names, client_setups


def test_each_domain_has_its_own_client_host():
    """A user of example.net never sees the name of example.org."""
    setups = client_setups(["example.org", "example.net"], mail_host="mail.example.org")

    assert ["mail.example.org", "mail.example.net"] == [setup.host for setup in setups]
    assert (
        "autoconfig.example.net",
        "autodiscover.example.net",
        "mta-sts.example.net",
    ) == setups[1].site_names


def test_one_certificate_names_every_client_host_and_the_mail_host_once():
    """The mail host's own name is covered too, and comes first, as the certificate's subject."""
    setups = client_setups(["example.net", "example.org"], mail_host="mail.example.org")

    assert ("mail.example.org", "mail.example.net") == certificate_names(
        setups, mail_host="mail.example.org"
    )


def test_shared_setups_tell_no_domain_of_another():
    """With `shared`, all domains use the stack's host, and the certificate names only that."""
    setups = client_setups(
        ["example.org", "example.net"], mail_host="mail.example.org", shared=True
    )

    assert {"mail.example.org"} == {setup.host for setup in setups}
    assert ("mail.example.org",) == certificate_names(setups, mail_host="mail.example.org")


def test_more_domains_than_a_certificate_holds_names_the_remedy():
    """100 names fit; with 101 the error says which option helps, and that option does help."""
    hundred = [f"d{number}.example" for number in range(100)]
    assert 100 == len(client_setups(hundred, mail_host="mail.d0.example"))

    with pytest.raises(ClientSetupError, match="client-hosts to 'shared'"):
        client_setups([*hundred, "more.example"], mail_host="mail.d0.example")
    assert 101 == len(
        client_setups([*hundred, "more.example"], mail_host="mail.d0.example", shared=True)
    )
