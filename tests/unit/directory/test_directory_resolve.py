"""Resolution: who gets a mail to an address."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_directories import HASH, directories, recipients

from postal_plexus.directory import (
    Alias,
    Directory,
    DirectoryError,
    Domain,
    Mailbox,
    Resolution,
    without_subaddress,
)


def directory() -> Directory:
    """Two domains, one with a catch-all that files under a subaddress."""
    return Directory(
        (Domain("example.org"), Domain("example.net", "ann+rest@example.org")),
        (
            Mailbox("ann@example.org", HASH),
            Mailbox("ben@example.org", HASH),
            Mailbox("cleo@example.net", HASH),
        ),
        (
            Alias("info@example.org", ("ann+info@example.org", "cleo@example.net")),
            Alias("all@example.org", ("info@example.org", "ann@example.org", "Zoe@example.com")),
            Alias("one@example.org", ("two@example.org", "ben@example.org")),
            Alias("two@example.org", ("one@example.org",)),
            Alias("void@example.org", ("void@example.org", "gone@example.org")),
        ),
    )


@pytest.mark.parametrize(
    ("recipient", "mailboxes", "outside"),
    [
        ("ann@example.org", ["ann@example.org"], []),
        ("ANN@Example.ORG", ["ann@example.org"], []),
        ("Ann+Tag.x@example.org", ["ann+Tag.x@example.org"], []),
        ("ann+a..b@example.org", ["ann@example.org"], []),
        ('"ann"@example.org', ["ann@example.org"], []),
        # An alias: the subaddress of a destination stays, that of the alias is dropped.
        ("info@example.org", ["ann+info@example.org", "cleo@example.net"], []),
        ("info+shop@example.org", ["ann+info@example.org", "cleo@example.net"], []),
        # A chain: each mailbox once, by the first way; addresses outside to the letter.
        ("all@example.org", ["ann+info@example.org", "cleo@example.net"], ["Zoe@example.com"]),
        # Loops end, and what is beside the loop is still reached.
        ("one@example.org", ["ben@example.org"], []),
        ("two@example.org", ["ben@example.org"], []),
        ("void@example.org", [], []),
        # Postmaster: the domain's first mailbox, or its catch-all's.
        ("Postmaster@example.org", ["ann@example.org"], []),
        ("postmaster@example.net", ["ann+rest@example.org"], []),
        # The catch-all takes what is left, and swallows no mailbox.
        ("anyone@example.net", ["ann+rest@example.org"], []),
        ("any+tag@example.net", ["ann+rest@example.org"], []),
        ("jörg@example.net", ["ann+rest@example.org"], []),
        ("cleo+x@example.net", ["cleo+x@example.net"], []),
        # Unknown.
        ("nobody@example.org", [], []),
        ("zoe@example.com", [], []),
        ("ann@sub.example.org", [], []),
        ("ann@", [], []),
        ("@", [], []),
        ("", [], []),
    ],
)
def test_resolve(recipient: str, mailboxes: list[str], outside: list[str]) -> None:
    """Mailbox, alias, postmaster, catch-all, in this order; the rest is unknown."""
    assert Resolution(tuple(mailboxes), tuple(outside)) == directory().resolve(recipient)


def test_postmaster_of_a_domain_without_mailboxes() -> None:
    """Where a domain has neither mailbox nor catch-all, the first mailbox of all is postmaster."""
    made = Directory(
        (Domain("example.org"), Domain("example.net")), (Mailbox("ann@example.org", HASH),)
    )
    assert Resolution(("ann@example.org",)) == made.resolve("postmaster@example.net")


def test_configured_postmaster() -> None:
    """A postmaster that is configured stays who it is, as a mailbox or as an alias."""
    made = Directory(
        (Domain("example.org"), Domain("example.net", "ann@example.org")),
        (Mailbox("ann@example.org", HASH), Mailbox("postmaster@example.org", HASH)),
        (Alias("postmaster@example.net", ("postmaster@example.org",)),),
    )
    expected = Resolution(("postmaster@example.org",))
    assert expected == made.resolve("postmaster@example.org")
    assert expected == made.resolve("postmaster@example.net")


def test_known() -> None:
    """Only an empty resolution is unknown."""
    assert not Resolution().known
    assert Resolution(("ann@example.org",)).known
    assert Resolution((), ("zoe@example.com",)).known


@given(directories(), recipients() | st.text())
def test_resolution_terminates_and_invents_nothing(made: Directory, recipient: str) -> None:
    """What comes out are mailboxes of the directory, each once, and destinations of its aliases."""
    resolution = made.resolve(recipient)
    mailboxes = [without_subaddress(address) for address in resolution.mailboxes]
    assert len(mailboxes) == len(set(mailboxes))
    assert {mailbox.address for mailbox in made.mailboxes} >= set(mailboxes)
    named = {destination for alias in made.aliases for destination in alias.destinations}
    assert named >= set(resolution.outside)


@given(directories(), recipients() | st.text())
def test_resolution_is_idempotent(made: Directory, recipient: str) -> None:
    """A resolved mailbox resolves to itself, so a mail may be resolved anywhere on its way."""
    for address in made.resolve(recipient).mailboxes:
        assert Resolution((address,)) == made.resolve(address)


@given(directories())
def test_what_is_hosted_is_a_mailbox_or_leads_on(made: Directory) -> None:
    """Each mailbox resolves to itself, and each domain has a postmaster."""
    for mailbox in made.mailboxes:
        assert Resolution((mailbox.address,)) == made.resolve(mailbox.address)
    for domain in made.domains:
        if domain.catch_all is None and f"postmaster@{domain.name}" not in {
            alias.address for alias in made.aliases
        }:
            assert made.resolve(f"postmaster@{domain.name}").known


@pytest.mark.parametrize(
    ("domains", "mailboxes", "aliases", "what"),
    [
        ((), ("ann@example.org",), (), "no domain or no mailbox"),
        ((Domain("example.org"),), (), (), "no domain or no mailbox"),
        ((Domain("example.org"),) * 2, ("ann@example.org",), (), "domain twice"),
        ((Domain("example.org"),), ("ann@example.org",) * 2, (), "address twice"),
        (
            (Domain("example.org"),),
            ("ann@example.org",),
            (Alias("ann@example.org", ("zoe@example.com",)),),
            "address twice",
        ),
        ((Domain("example.org"),), ("ann@example.net",), (), "not its domain"),
        (
            (Domain("example.org", "zoe@example.com"),),
            ("ann@example.org",),
            (),
            "catch-all of example.org that is not ours",
        ),
    ],
)
def test_a_directory_that_contradicts_itself(
    domains: tuple[Domain, ...], mailboxes: tuple[str, ...], aliases: tuple[Alias, ...], what: str
) -> None:
    """No directory is made that could answer in two ways, or refuse all mail."""
    with pytest.raises(DirectoryError, match=what):
        Directory(domains, tuple(Mailbox(address, HASH) for address in mailboxes), aliases)


def test_no_hash_in_a_representation() -> None:
    """What is logged of a mailbox or a directory holds no password hash."""
    assert "ARGON2ID" not in repr(Mailbox("ann@example.org", HASH))
    assert "<Directory of 2 domains, 3 mailboxes and 5 aliases>" == repr(directory())
