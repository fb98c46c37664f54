"""The first minute of an address: nobody is refused, or takes another's mail, by an old directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from postal_plexus.directory import Alias, Directory, Mailbox
from service.deliver.bed import DIRECTORY, Bed, laid
from wire import await_true

ANN, BEN, NEW, TAKEN = "ann@example.org", "ben@example.org", "new@example.org", "new@example.net"
MORE = Directory(
    DIRECTORY.domains,
    (*DIRECTORY.mailboxes, Mailbox(NEW, "{PLAIN}x"), Mailbox(TAKEN, "{PLAIN}x")),
    (*DIRECTORY.aliases, Alias("desk@example.net", (BEN,))),
)


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """Everything runs, and the directory is looked at once an hour."""
    with laid(tmp_path) as made:
        made.settings["PLEXUS_DIRECTORY_SECONDS"] = "3600"
        made.start()
        await_true("the first directory", lambda: made.log("directory taken"))
        yield made


def remove_directory(bed: Bed) -> None:
    """Make the directory object unreadable, though content can be read."""
    assert 300 > bed.stub.request("DELETE", "/archive/directory.json")[0]


def test_a_new_address_is_known_with_its_first_mail(bed: Bed) -> None:
    """A new mailbox, one that a catch-all took before, and an alias; by one look at the object."""
    bed.put_directory(MORE.to_json())
    bed.send("m1", NEW, TAKEN, "desk@example.net", "any@example.net", "nobody@example.org")
    bed.await_deleted(1)
    had = {name: len(mails) for name, mails in bed.dovecot.mailboxes.items()}
    assert {NEW: 1, TAKEN: 1, BEN: 1, ANN: 1} == had
    assert 2 == len(bed.log("directory taken"))
    assert ["nobody@example.org"] == [
        each["BouncedRecipientInfoList.member.1.Recipient"]
        for each in bed.stub.get("dump")["bounces"]
    ]


def test_known_addresses_cost_no_look(bed: Bed) -> None:
    """Mailbox, subaddress and alias are delivered by the directory at hand, be it unreadable."""
    remove_directory(bed)
    bed.send("m1", "ann+x@example.org", "team@example.org")
    bed.await_deleted(1)
    assert not bed.log("directory unreachable")


def test_a_directory_that_cannot_be_read_keeps_the_mail(bed: Bed) -> None:
    """Neither bounced nor given to the catch-all's owner until it is known who has the address."""
    remove_directory(bed)
    bed.send("m1", NEW, TAKEN)
    await_true("a wait", lambda: bed.log("postponed"))
    assert {} == dict(bed.dovecot.mailboxes)
    bed.put_directory(MORE.to_json())
    bed.await_deleted(1)
    assert {NEW, TAKEN} == set(bed.dovecot.mailboxes)


def test_a_broken_directory_is_no_reason_to_wait(bed: Bed) -> None:
    """The last good one is all there is: the catch-all takes its mail."""
    bed.put_directory(b"{}")
    bed.send("m1", "any@example.net")
    bed.await_deleted(1)
    assert 1 == len(bed.dovecot.mailboxes[ANN])
