"""The tables for Dovecot and Postfix give the answers that the directory gives."""

import pytest
from hypothesis import assume, given, reject
from made_directories import HASH, directories, recipients
from postfix_model import MailServer

from postal_plexus.directory import (
    TABLES,
    Address,
    AddressError,
    Alias,
    Directory,
    Domain,
    Mailbox,
    dovecot_passwd,
    postfix_sender_logins,
    postfix_virtual_aliases,
    postfix_virtual_domains,
    postfix_virtual_mailboxes,
    without_subaddress,
)


def directory() -> Directory:
    """Return a domain without and one with a catch-all, and each kind of alias."""
    return Directory(
        (Domain("example.org"), Domain("example.net", "ann+rest@example.org")),
        (Mailbox("ann@example.org", HASH), Mailbox("ben@example.net", HASH)),
        (
            Alias("info@example.org", ("all@example.net", "Zoe@example.com")),
            Alias("all@example.net", ("ann@example.org", "ben+all@example.net")),
            Alias("away@example.net", ("zoe@example.com",)),
        ),
    )


def server(made: Directory) -> MailServer:
    """Return the model of Postfix and Dovecot with this directory's tables."""
    return MailServer({name: render(made) for name, render in TABLES.items()})


def test_dovecot_passwd() -> None:
    """Dovecot gets each login and its hash; all else is the same for all users."""
    expected = f"ann@example.org:{HASH}::::::\nben@example.net:{HASH}::::::\n"
    assert expected == dovecot_passwd(directory())


def test_dovecot_passwd_is_sorted_by_address() -> None:
    """By octets of the address alone, as table.lua compares: a dot and a hyphen come before a colon."""
    names = (
        "b@example.org",
        "a@example.org.uk",
        "a@example.org",
        "a-b@example.org",
        "a@example-a.org",
    )
    domains = ("example.org", "example.org.uk", "example-a.org")
    made = Directory(tuple(map(Domain, domains)), tuple(Mailbox(each, HASH) for each in names))
    lines = dovecot_passwd(made).splitlines()
    assert sorted(names) == [line.partition(":")[0] for line in lines]


def test_dovecot_passwd_with_app_passwords() -> None:
    """App passwords are extra fields of the user's line, as passwords.lua reads them."""
    apps = (("phone", HASH), ("old-laptop", HASH))
    made = Directory((Domain("example.org"),), (Mailbox("ann@example.org", HASH, apps),))
    expected = f"ann@example.org:{HASH}::::::app-phone={HASH} app-old-laptop={HASH}\n"
    assert expected == dovecot_passwd(made)


def test_dovecot_passwd_of_a_renamed_mailbox() -> None:
    """Its home is that of its first address, which stays a user without a password of its own."""
    renamed = Mailbox("anna@example.org", HASH, (("phone", HASH),), (), 512, "ann@example.net")
    home, quota = "/srv/mail/example.net/ann", "userdb_quota_storage_size=512M"
    expected = (
        f"ann@example.net:{{CRYPT}}*::::{home}::{quota} renamed=anna@example.org\n"
        f"anna@example.org:{HASH}::::{home}::{quota} app-phone={HASH}\n"
    )
    assert expected == dovecot_passwd(Directory((Domain("example.org"),), (renamed,)))


def test_a_first_address_that_somebody_else_has_is_theirs() -> None:
    """Two users who exchanged their addresses keep their own mail."""
    made = Directory(
        (Domain("example.org"),),
        (
            Mailbox("ann@example.org", HASH, stored_as="ben@example.org"),
            Mailbox("ben@example.org", HASH, stored_as="ann@example.org"),
        ),
    )
    expected = (
        f"ann@example.org:{HASH}::::/srv/mail/example.org/ben::\n"
        f"ben@example.org:{HASH}::::/srv/mail/example.org/ann::\n"
    )
    assert expected == dovecot_passwd(made)


def test_postfix_virtual_domains() -> None:
    """Postfix keeps mail of these domains."""
    assert "example.org OK\nexample.net OK\n" == postfix_virtual_domains(directory())


def test_postfix_virtual_mailboxes() -> None:
    """Postfix knows which recipients exist."""
    assert "ann@example.org OK\nben@example.net OK\n" == postfix_virtual_mailboxes(directory())


def test_postfix_virtual_aliases() -> None:
    """Aliases are followed to their end; what a catch-all must not swallow says itself."""
    expected = (
        "info@example.org ann@example.org, ben+all@example.net, Zoe@example.com\n"
        "all@example.net ann@example.org, ben+all@example.net\n"
        "away@example.net zoe@example.com\n"
        "postmaster@example.org ann@example.org\n"
        "ben@example.net ben@example.net\n"
        "ben+all@example.net ben+all@example.net\n"
        "@example.net ann+rest@example.org\n"
    )
    assert expected == postfix_virtual_aliases(directory())


def test_postfix_sender_logins() -> None:
    """Recipients of an address may send as it; nobody may if all its mail goes outside."""
    expected = (
        "ann@example.org ann@example.org\n"
        "ben@example.net ben@example.net\n"
        "info@example.org ann@example.org, ben@example.net\n"
        "all@example.net ann@example.org, ben@example.net\n"
        "away@example.net away@example.net\n"
        "postmaster@example.org ann@example.org\n"
        "@example.net ann@example.org\n"
    )
    assert expected == postfix_sender_logins(directory())


def test_postfix_sender_logins_with_send_as() -> None:
    """A named address is added to whose it is, and hides no catch-all from its owner."""
    made = Directory(
        (Domain("example.org"), Domain("example.net", "ann@example.org")),
        (
            Mailbox("ann@example.org", HASH),
            Mailbox("ben@example.org", HASH, (), ("ann@example.org", "shop@example.net")),
        ),
    )
    expected = (
        "ann@example.org ann@example.org, ben@example.org\n"
        "ben@example.org ben@example.org\n"
        "postmaster@example.org ann@example.org\n"
        "@example.net ann@example.org\n"
        "shop@example.net ann@example.org, ben@example.org\n"
    )
    assert expected == postfix_sender_logins(made)


@given(directories(), recipients())
def test_postfix_delivers_where_the_directory_says(made: Directory, recipient: str) -> None:
    """A mail that a user submits is accepted and goes where a mail from the world goes.

    With the subaddress too, where the domain has no catch-all (see `tables`).
    """
    plain = _as_postfix_takes(recipient)
    catch_alls = {domain.name: domain.catch_all for domain in made.domains}
    domain = plain.rpartition("@")[2]
    assume(domain in catch_alls)
    resolution = made.resolve(plain)
    postfix = server(made)
    inside, outside = postfix.receive(plain)
    assert postfix.accepts(plain) or not resolution.known
    assert set(resolution.outside) == set(outside)
    assert {without_subaddress(m) for m in resolution.mailboxes} == {
        without_subaddress(address).lower() for address in inside
    }
    if catch_alls[domain] is None:
        assert {m.lower() for m in resolution.mailboxes} == {address.lower() for address in inside}


@given(directories(), recipients())
def test_a_user_sends_only_as_whose_mail_they_get(made: Directory, sender: str) -> None:
    """The login may use a sender address exactly if mail to it reaches that login's mailbox, or the
    mailbox's entry names it.
    """
    plain = _as_postfix_takes(sender)
    receivers = {without_subaddress(m) for m in made.resolve(plain).mailboxes}
    for mailbox in made.mailboxes:
        named = without_subaddress(plain).lower() in mailbox.send_as
        expected = mailbox.address in receivers or named
        assert expected == server(made).may_send_as(mailbox.address, plain)


@given(directories())
def test_dovecot_knows_each_mailbox_and_nobody_else(made: Directory) -> None:
    """Logins and hashes are those of the directory."""
    assert {m.address: m.password_hash for m in made.mailboxes} == server(made).users


@pytest.mark.parametrize("local_part", ["o'brien", "a=b", "{x}$y|z", "50%", "a&b", "a*b?", "~x^`"])
def test_odd_but_lawful_names(local_part: str) -> None:
    """Whatever may name a mailbox passes through every table."""
    address = f"{local_part}@example.net"
    made = Directory((Domain("example.net", address),), (Mailbox(address, HASH),))
    assert ([address], []) == server(made).receive(address)
    assert ([address], []) == server(made).receive("nobody@example.net")
    assert server(made).may_send_as(address, address)


def _as_postfix_takes(recipient: str) -> str:
    """Postfix looks addresses up without quotes that are not needed."""
    try:
        return str(Address.parse(recipient))
    except AddressError:
        return reject()
