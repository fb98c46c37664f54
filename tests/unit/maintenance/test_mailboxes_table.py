"""Mailboxes and the places of their mail, from Dovecot's table."""

from pathlib import Path

from postal_plexus.directory import Directory, Domain, Mailbox, dovecot_passwd
from postal_plexus.maintenance.mailboxes import addresses, first_address, homes

HASH = "{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$renamed=$renamed="


def test_a_renamed_mailbox_is_one() -> None:
    """It is listed under its new address, with the storage of its first one."""
    table = dovecot_passwd(
        Directory(
            (Domain("example.org"),),
            (
                Mailbox("anna@example.org", HASH, (("phone", HASH),), stored_as="ann@example.net"),
                Mailbox("ben@example.org", HASH, (("phone", HASH),), quota_mb=5),
            ),
        )
    )
    assert 3 == len(table.splitlines())
    assert ["anna@example.org", "ben@example.org"] == addresses(table)
    expected = {
        "anna@example.org": Path("example.net/ann"),
        "ben@example.org": Path("example.org/ben"),
    }
    assert expected == homes(table)
    assert "ann@example.net" == first_address(table, "anna@example.org")
    assert "ben@example.org" == first_address(table, "ben@example.org")
    assert "nobody@example.org" == first_address(table, "nobody@example.org")
