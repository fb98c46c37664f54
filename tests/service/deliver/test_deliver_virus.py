"""A mail in which SES found a virus: held and told of, dropped, or delivered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from postal_plexus.mail.held import release
from service.deliver.bed import Bed, laid, without_trace

ANN, BEN = "ann@example.org", "ben@example.org"


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """Everything but `deliver` runs."""
    with laid(tmp_path) as made:
        yield made


def test_a_virus_is_held_told_once_and_released(bed: Bed) -> None:
    """A dead letter, and one notice for each reader, with nothing of the mail; then the mail.

    Notified once more after a restart, as by a redrive, it is held again without another notice.
    Released twice, it is in the inbox once.
    """
    content = b"Subject: EICAR\r\n\r\nEICAR\r\n"
    bed.send("m1", ANN, "team@example.org", content=content, virus="FAIL")
    bed.start()
    bed.await_deleted(1)
    bed.stop()
    bed.start()
    bed.send("m1", ANN, "team@example.org", content=content, virus="FAIL")
    bed.await_deleted(2)
    letter, again = bed.dead_letters()
    assert letter["attributes"] == again["attributes"]
    assert ("virus", "m1") == (letter["attributes"]["Reason"], letter["attributes"]["Receipt"])
    for name in (ANN, BEN):
        (notice,) = bed.dovecot.mailboxes[name]
        assert b"held back" in notice
        assert b"    sender: a@b.c" in notice
        assert b"    id:     m1" in notice
        assert b"EICAR" not in notice
    assert {""} == set(bed.dovecot.senders)

    bed.put(release(letter["body"]), release(letter["body"]))
    bed.await_deleted(4)
    for name in (ANN, BEN):
        _, mail = bed.dovecot.mailboxes[name]
        assert content == without_trace(mail)
        assert b"virus=GRAY" in mail


def test_the_notice_of_a_virus_waits_for_its_mailbox(bed: Bed) -> None:
    """A mailbox that cannot take it now gets it later, and there is one dead letter all the same."""
    bed.dovecot.said = lambda _name, before: "250 2.0.0 ok" if before else "451 4.3.0 later"
    bed.send("m1", ANN, virus="FAIL")
    bed.start()
    bed.await_deleted(1)
    assert 1 == len(bed.dovecot.mailboxes[ANN])
    assert 1 == len(bed.dead_letters())


@pytest.mark.parametrize("policy", ["junk", "drop"])
def test_virus_as_configured(bed: Bed, policy: str) -> None:
    """Junk: delivered with the header that Sieve files by. Drop: gone, with a log line."""
    bed.settings["PLEXUS_VIRUS"] = policy
    bed.send("m1", ANN, virus="FAIL")
    bed.start()
    bed.await_deleted(1)
    assert [] == bed.dead_letters()
    mails = bed.dovecot.mailboxes[ANN]
    assert (1 if policy == "junk" else 0) == len(mails)
    assert all(b"virus=FAIL" in mail for mail in mails)
    assert (policy == "drop") == bool(bed.log("dropped"))
