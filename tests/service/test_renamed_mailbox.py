"""A renamed mailbox: its mail stays where it is stored, and none is lost."""

from __future__ import annotations

import imaplib
import smtplib
import threading

import pytest

from service.mail_host import PASSWORD, STACK, MailHost
from wire import await_true

pytestmark = pytest.mark.timeout(600)

ANN, ANNA, BEN = "ann@example.org", "anna@example.org", "ben@example.org"
ODD, ODD_FIRST = "odd@example.org", "a!#$%&*=?^_`{|}~-b@example.org"


def renamed() -> dict[str, object]:
    """Return the stack in which ann and the odd one have other addresses."""
    ann, ben, odd = STACK["mailboxes"]
    return STACK | {
        "domains": ["example.org", {"name": "example.net", "catch-all": ANNA}],
        "mailboxes": [
            ann | {"address": ANNA, "stored-as": ANN, "quota-gb": 1},
            ben,
            odd | {"address": ODD, "stored-as": ODD_FIRST},
        ],
        "aliases": [
            {"address": "info@example.org", "destinations": [ANNA, BEN]},
            {"address": "away@example.org", "destinations": ["someone@elsewhere.example"]},
            {"address": ANN, "destinations": [ANNA]},
        ],
    }


@pytest.fixture(scope="module")
def host(idle_host: MailHost) -> MailHost:
    """Provide a host with Dovecot running."""
    idle_host.write_directory(STACK)
    idle_host.start("dovecot")
    return idle_host


def send(host: MailHost, recipient: str, subject: str) -> bool:
    """Deliver by LMTP; whether it was taken."""
    content = f"From: s@elsewhere.example\r\nSubject: {subject}\r\n\r\nHello\r\n"
    with host.lmtp() as lmtp:
        try:
            lmtp.sendmail("s@elsewhere.example", [recipient], content.encode())
        except smtplib.SMTPRecipientsRefused as refused:
            code = refused.recipients[recipient][0]
            assert 400 <= code < 600
            return False
        return True


def subjects(client: imaplib.IMAP4_SSL, folder: str = "INBOX") -> list[str]:
    """Return the subjects of all messages of a folder."""
    assert client.select(f'"{folder}"', readonly=True)[0] == "OK"
    found = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
    return sorted(
        part[1].decode().partition(":")[2].strip() for part in found if isinstance(part, tuple)
    )


def homes(host: MailHost) -> set[str]:
    """Return the mailboxes' directories."""
    return {path.name for path in (host.root / "mail/example.org").iterdir()}


def test_nothing_is_lost_while_mail_comes(host: MailHost) -> None:
    """Deliveries and a client continue during the change: each message once, flags and folders kept."""
    for number in range(3):
        assert send(host, ANN, f"before {number}")
    assert send(host, ODD_FIRST, "odd")
    with host.imap(ANN) as client:
        client.select("INBOX")
        client.store("1:2", "+FLAGS", r"(\Flagged Kept)")
        client.create("Projects/Deep")
        client.copy("1", "Projects/Deep")
        validity = client.response("UIDVALIDITY")[1]
        client.select("INBOX")
    stopped = threading.Event()
    taken: list[str] = []

    def keep_sending() -> None:
        number = 0
        while not stopped.is_set():
            # As `deliver` and Postfix do: what is under way still has the old address.
            for recipient in (ANN, ANNA):
                subject = f"during {number} {recipient}"
                if send(host, recipient, subject):
                    taken.append(subject)
            number += 1

    sender = threading.Thread(target=keep_sending)
    sender.start()
    open_before = host.imap(ANN)
    open_before.select("INBOX")
    try:
        await_true("mail by the old address", lambda: len(taken) >= 5)
        host.write_directory(renamed())
        await_true("mail by the new address", lambda: sum(ANNA in each for each in taken) >= 5)
        # A client that was there all the time goes on.
        assert open_before.noop()[0] == "OK"
        # An address that is given back and taken again: each step is the same edit.
        host.write_directory(STACK)
        host.write_directory(renamed())
        count = len(taken)
        await_true("more mail", lambda: len(taken) >= count + 5)
    finally:
        stopped.set()
        sender.join()
    open_before.logout()
    # Dovecot reads its table again within a second.
    await_true("the new login", lambda: host.imap(ANNA).logout()[0] == "BYE")
    with host.imap(ANNA) as client:
        expected = sorted([*taken, *(f"before {number}" for number in range(3))])
        assert expected == subjects(client)
        assert ["before 0"] == subjects(client, "Projects/Deep")
        client.select("INBOX", readonly=True)
        assert [b"1 2"] == client.search(None, "FLAGGED", "KEYWORD", "Kept")[1]
        assert "ann" in homes(host)
        assert "anna" not in homes(host)
        indexes = {path.name for path in (host.root / "indexes/example.org").iterdir()}
        assert ("ann" in indexes, "anna" in indexes) == (True, False)
        assert validity is not None


def test_devices_go_on_with_the_old_login(host: MailHost) -> None:
    """The old login works with the mailbox's passwords, as the new user with the new quota."""
    host.write_directory(renamed())
    with host.imap(ANN) as client:
        roots = client.getquotaroot("INBOX")[1]
        assert b"1048576" in b" ".join(part for each in roots for part in each if part)
    with pytest.raises(imaplib.IMAP4.error):
        host.imap(ANN, "not " + PASSWORD)
    with pytest.raises(imaplib.IMAP4.error):
        host.imap(ANN, "")
    with host.imap(ODD) as client:
        assert ["odd"] == subjects(client)


def test_what_is_shared(host: MailHost) -> None:
    """A folder that the renamed user shares is found under the new name, with its messages and flags."""
    host.write_directory(renamed())
    with host.imap(ANNA) as client:
        assert client.setacl("Projects/Deep", BEN, "lrs")[0] == "OK"
    with host.imap(BEN) as client:
        folder = f"shared/{ANNA}/Projects/Deep"
        assert any(folder.encode() in line for line in client.list('""', '"*"')[1])
        assert ["before 0"] == subjects(client, folder)
    with host.imap(ANNA) as client:
        client.deleteacl("Projects/Deep", BEN)


def test_the_copies_of_the_indexes_follow(host: MailHost) -> None:
    """The hourly copy and a restart find the renamed mailbox's indexes where its messages are."""
    host.write_directory(renamed())
    dovecot = host.containers["dovecot"]
    dovecot.exec("setpriv", "--reuid=vmail", "--regid=vmail", "--clear-groups", "indexes", "copy")
    assert list((host.root / "mail/example.org/ann").rglob("dovecot.index.copy"))
    host.start("dovecot")
    with host.imap(ANNA) as client:
        client.select("INBOX", readonly=True)
        assert [b"1 2"] == client.search(None, "FLAGGED", "KEYWORD", "Kept")[1]
