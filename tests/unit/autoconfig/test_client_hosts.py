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


def test_webmail_has_a_name_in_each_domain_or_in_the_mail_hosts_alone():
    """The certificate names them after the client hosts, each once; `shared` names no other domain."""
    domains, mail_host = ["example.org", "example.net"], "mail.example.org"
    setups = client_setups(domains, mail_host=mail_host, webmail_names=True)
    assert (
        *("mail.example.org", "mail.example.net"),
        *("webmail.example.org", "webmail.example.net"),
    ) == certificate_names(setups, mail_host=mail_host)
    shared = client_setups(domains, mail_host=mail_host, shared=True, webmail_names=True)
    assert (mail_host, "webmail.example.org") == certificate_names(shared, mail_host=mail_host)
    # A mail host that has that name already has it once.
    same = client_setups(domains[:1], mail_host="webmail.example.org", webmail_names=True)
    assert ("webmail.example.org", "mail.example.org") == certificate_names(
        same, mail_host="webmail.example.org"
    )
    fifty = [f"d{number}.example" for number in range(50)]
    with pytest.raises(ClientSetupError, match="client-hosts to 'shared'"):
        client_setups([*fifty, "more.example"], mail_host="mail.d0.example", webmail_names=True)


def test_more_domains_than_a_certificate_holds_names_the_remedy():
    """100 names fit; with 101 the error says which option helps, and that option does help."""
    hundred = [f"d{number}.example" for number in range(100)]
    assert 100 == len(client_setups(hundred, mail_host="mail.d0.example"))

    with pytest.raises(ClientSetupError, match="client-hosts to 'shared'"):
        client_setups([*hundred, "more.example"], mail_host="mail.d0.example")
    assert 101 == len(
        client_setups([*hundred, "more.example"], mail_host="mail.d0.example", shared=True)
    )
