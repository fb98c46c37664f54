"""Which address a mail came to, and addresses that no grammar knows: one process for all of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from postal_plexus.directory import Directory, Domain, Mailbox
from service.deliver.bed import DIRECTORY, Bed, laid

ANN, BEN, CAT = (f"{name}@example.org" for name in ("ann", "ben", "cat"))
BURO = "ann@xn--bro-hoa.example"
FORGED = {"spf": "FAIL", "dmarc": "FAIL"}
MORE = Directory(
    (*DIRECTORY.domains, Domain("xn--bro-hoa.example")),
    (*DIRECTORY.mailboxes, Mailbox(BURO, "{PLAIN}x")),
    DIRECTORY.aliases,
)
# Nobody can have a mail to these.
NOBODY = ["a>\r\nRSET", "nobody", "", "\ud800@example.org", "x@[192.0.2.1]", "cat@example.org@"]
ODD_SENDERS = {
    "jörg@world.example": "jörg@world.example",
    "a@bücher.example": "a@xn--bcher-kva.example",
    "a@world.example.": "a@world.example",
    "@relay.example:a@world.example": "a@world.example",
    '"a b"@world.example': '"a b"@world.example',
    "MAILER-DAEMON": "",
    "a b@world.example": "",
    "a>\r\nRSET": "",
    "x" * 700 + "@world.example": "",
}
ODD_RECIPIENTS = {
    "Cat@Example.Org.": CAT,
    "<cat@example.org>": CAT,
    "@relay.example:cat@example.org": CAT,
    '"cat"@example.org': CAT,
    "ann@büro.example": BURO,
    "ANN@BÜRO.example.": BURO,
    "jörg@example.net": ANN,
    "postmaster": ANN,
}


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """Everything runs."""
    with laid(tmp_path_factory.mktemp("addresses")) as made:
        made.put_directory(MORE.to_json())
        made.start()
        yield made


def mails(bed: Bed, mailbox: str, receipt: str) -> list[bytes]:
    """Return what a mailbox has of one mail."""
    mark = f"X-Plexus-Receipt: {receipt}\r\n".encode()
    return [mail for mail in bed.dovecot.mailboxes[mailbox] if mark in mail]


def originals(mail: bytes) -> list[str]:
    """Return the addresses that the mail came to, by its trace fields."""
    head = mail.partition(b"\r\n\r\n")[0].decode()
    return re.findall("^X-Original-To: (.*)\r$", head, re.MULTILINE)


def test_the_address_that_a_mail_came_to_reaches_its_mailbox_alone(bed: Bed) -> None:
    """All addresses that led there, in their order; of another recipient nothing, not even shared.

    The two of an alias share one transaction, since the same address led to both.
    """
    caught = ["sales@example.net", "Jobs+x@Example.NET", '"a b"@example.net']
    bed.send("blind", *caught, "team@example.org", BEN, "cat+secret@example.org")
    bed.send("team", "team@example.org", sender="shared@b.c")
    bed.await_deleted(2)
    (to_ann,) = mails(bed, ANN, "blind")
    assert [*caught, "team@example.org"] == originals(to_ann)
    (to_ben,) = mails(bed, BEN, "blind")
    assert ["team@example.org", BEN] == originals(to_ben)
    (to_cat,) = mails(bed, "cat+secret@example.org", "blind")
    assert ["cat+secret@example.org"] == originals(to_cat)
    head = to_cat.partition(b"\r\n\r\n")[0]
    assert not any(each in head for each in (b"sales", b"Jobs", b"a b", b"team", b"ben@"))
    assert 1 == bed.dovecot.senders.count("shared@b.c")
    for mailbox in (ANN, BEN):
        (shared,) = mails(bed, mailbox, "team")
        assert ["team@example.org"] == originals(shared)


def test_an_odd_sender_costs_nobody_the_mail(bed: Bed) -> None:
    """Whatever it is, the mail is there, and says whom SES named; never bounced."""
    before = bed.stub.get("stats")["queues"]["mail"]["deleted"]
    for number, sender in enumerate(ODD_SENDERS):
        bed.send(f"from{number}", CAT, BEN, sender=sender)
    bed.await_deleted(before + len(ODD_SENDERS))
    for number, (sender, on_the_wire) in enumerate(ODD_SENDERS.items()):
        for mailbox in (CAT, BEN):
            (mail,) = mails(bed, mailbox, f"from{number}")
            named = b"\r\nX-Plexus-Sender: " in mail
            assert named == (sender != on_the_wire), sender
            assert on_the_wire in bed.dovecot.senders


def test_an_odd_recipient_costs_nobody_else_the_mail(bed: Bed) -> None:
    """Each by itself: who can have the mail has it, who cannot is a dead letter."""
    before = bed.stub.get("stats")["queues"]["mail"]["deleted"]
    for number, recipient in enumerate(ODD_RECIPIENTS):
        bed.send(f"to{number}", *NOBODY, recipient, BEN, **FORGED)
    bed.await_deleted(before + len(ODD_RECIPIENTS))
    for number, mailbox in enumerate(ODD_RECIPIENTS.values()):
        assert 1 == len(mails(bed, mailbox, f"to{number}"))
        assert 1 == len(mails(bed, BEN, f"to{number}"))
    letters = [letter["attributes"] for letter in bed.dead_letters()]
    assert len(NOBODY) * len(ODD_RECIPIENTS) == len(letters)
    assert {"5.1.1 no such mailbox"} == {each["Reason"] for each in letters}
