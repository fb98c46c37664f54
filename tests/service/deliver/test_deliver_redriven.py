"""A dead letter that is put back into the queue is delivered, and nothing twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from postal_plexus.directory import Alias, Directory, Mailbox
from service.deliver.bed import DIRECTORY, Bed, laid
from wire import await_true

ANN, BEN, NEW, TEAM = "ann@example.org", "ben@example.org", "new@example.org", "club@example.org"
MORE = Directory(
    DIRECTORY.domains,
    (*DIRECTORY.mailboxes, Mailbox(NEW, "{PLAIN}x")),
    (*DIRECTORY.aliases, Alias(TEAM, (BEN,))),
)


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """Everything runs."""
    with laid(tmp_path) as made:
        made.start()
        yield made


def failed(bed: Bed, *recipients: str) -> list[dict[str, Any]]:
    """Return the dead letters of a mail whose sender must not be told."""
    bed.send("m1", *recipients, sender="")
    bed.await_deleted(1)
    return bed.dead_letters()


def put_back(bed: Bed, letter: dict[str, Any], times: int = 1) -> None:
    """Put a dead letter back as SQS's redrive does: body and attributes stay."""
    attributes = {
        name: {"DataType": "String", "StringValue": value}
        for name, value in letter["attributes"].items()
    }
    entry = {"body": letter["body"], "attributes": attributes}
    bed.stub.post("send", queue="mail", entries=[entry] * times)


def taken(bed: Bed, directory: Directory) -> None:
    """Wait until `deliver` has a directory."""
    before = len(bed.log("directory taken"))
    bed.put_directory(directory.to_json())
    await_true("the directory", lambda: len(bed.log("directory taken")) > before)


def test_it_is_delivered_once_however_often_it_comes(bed: Bed) -> None:
    """Only to whom it could not be delivered: the others have it."""
    (letter,) = failed(bed, NEW, ANN)
    taken(bed, MORE)
    put_back(bed, letter, times=3)
    bed.await_deleted(4)
    assert {ANN: 1, NEW: 1} == {name: len(had) for name, had in bed.dovecot.mailboxes.items()}
    assert {NEW} == {each["recipient"] for each in bed.log("redriven")}


def test_an_address_that_is_an_alias_now(bed: Bed) -> None:
    """The dead letter's recipient leads to two mailboxes today: each gets the message once."""
    (letter,) = failed(bed, TEAM, ANN)
    taken(bed, MORE)
    put_back(bed, letter)
    bed.await_deleted(2)
    assert {ANN: 1, BEN: 1} == {name: len(had) for name, had in bed.dovecot.mailboxes.items()}


def test_what_still_fails_is_a_dead_letter_again(bed: Bed) -> None:
    """Not silence: the journal knew it as told."""
    (letter,) = failed(bed, NEW)
    put_back(bed, letter)
    bed.await_deleted(2)
    assert [NEW, NEW] == [each["attributes"]["Recipient"] for each in bed.dead_letters()]


def test_an_addressee_that_is_gone_is_a_dead_letter_again(bed: Bed) -> None:
    """With the recipient and the receipt of the first one, so that it can be redriven once more."""
    (letter,) = failed(bed, NEW)
    letter["attributes"]["Recipient"] = "friend@elsewhere.example"
    put_back(bed, letter)
    bed.await_deleted(2)
    again = bed.dead_letters()[1]["attributes"]
    assert ("friend@elsewhere.example", "m1") == (again["Recipient"], again["Receipt"])


def test_with_the_journal_lost_dovecot_is_asked(bed: Bed) -> None:
    """Who got it by an earlier redrive does not get it again."""
    (letter,) = failed(bed, NEW, ANN)
    taken(bed, MORE)
    put_back(bed, letter)
    bed.await_deleted(2)
    bed.kill()
    for path in (bed.root / "state").iterdir():
        path.unlink()
    bed.start()
    put_back(bed, letter)
    bed.await_deleted(3)
    assert {ANN: 1, NEW: 1} == {name: len(had) for name, had in bed.dovecot.mailboxes.items()}
    assert 1 == bed.dovecot.asked
