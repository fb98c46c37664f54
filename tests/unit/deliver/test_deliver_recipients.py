"""The envelope's recipients, resolved by the directory."""

from __future__ import annotations

from postal_plexus.deliver.recipients import resolve
from postal_plexus.directory import Alias, Directory, Domain, Mailbox
from postal_plexus.mail.envelope import Envelope

DIRECTORY = Directory(
    (Domain("example.org"), Domain("example.net", "ann@example.org")),
    tuple(Mailbox(f"{name}@example.org", "{PLAIN}x") for name in ("ann", "ben")),
    (Alias("info@example.org", ("ann@example.org", "ben@example.org", "x@else.example")),),
)


def test_each_mailbox_once_however_many_ways_lead_there() -> None:
    """Mailbox, subaddress, alias and catch-all; the first way keeps its subaddress."""
    recipients = ("ann+a@example.org", "info@example.org", "any@example.net", "no@example.org")
    found = resolve(Envelope("", recipients), DIRECTORY)
    assert ["ann+a@example.org", "ben@example.org"] == [each.address for each in found.mailboxes]
    assert ["ann@example.org", "ben@example.org"] == [each.name for each in found.mailboxes]
    assert [("x@else.example", "info@example.org")] == [
        (each.address, each.forwarder) for each in found.forwards
    ]
    assert ("no@example.org",) == found.unknown
    assert ["info@example.org", "info@example.org", "x"] == [
        found.original(name) for name in ("ben@example.org", "x@else.example", "x")
    ]


def test_a_loop_shows_at_the_mailbox_or_at_the_alias() -> None:
    """Delivered-To names the mailbox; above a forward, the address that forwarded it."""
    found = resolve(Envelope("", ("info+tag@example.org",)), DIRECTORY)
    assert ["ann@example.org", "ben@example.org"] == [each.loops_at for each in found.mailboxes]
    assert ["info@example.org"] == [each.loops_at for each in found.forwards]
