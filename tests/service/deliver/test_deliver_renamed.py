"""A mail that comes again after its mailbox got another address is known, and not delivered twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from postal_plexus.directory import Alias, Directory
from service.deliver.bed import DIRECTORY, Bed, laid
from wire import await_true

ANN, ANNA = "ann@example.org", "anna@example.org"


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """Everything runs."""
    with laid(tmp_path) as made:
        made.start()
        yield made


def renamed() -> Directory:
    """Return the directory in which ann is anna."""
    return Directory(
        DIRECTORY.domains,
        tuple(
            replace(each, address=ANNA, stored_as=ANN) if each.address == ANN else each
            for each in DIRECTORY.mailboxes
        ),
        (*DIRECTORY.aliases, Alias(ANN, (ANNA,))),
    )


def test_once_across_the_renaming(bed: Bed) -> None:
    """SQS gives an entry again that was delivered to the old address; another mail takes the new one."""
    bed.send("m1", ANN)
    bed.await_deleted(1)
    before = len(bed.log("directory taken"))
    bed.put_directory(renamed().to_json())
    await_true("the directory", lambda: len(bed.log("directory taken")) > before)
    bed.send("m1", ANN)
    bed.send("m2", ANN)
    bed.await_deleted(3)
    assert {ANN: 1, ANNA: 1} == {name: len(had) for name, had in bed.dovecot.mailboxes.items()}
