"""`.Expunged` contains each expunged message once and complete, whichever session expunges it and when."""

from __future__ import annotations

import random
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from postal_plexus.deliver.doveadm import Doveadm
from service.mail_host import MailHost

pytestmark = pytest.mark.timeout(300)

ANN = "ann@example.org"
BEN = "ben@example.org"
SESSIONS = 10
MAILS = 40
ROUNDS = 6


@pytest.fixture(scope="module")
def host(idle_host: MailHost) -> MailHost:
    """Provide a host with Dovecot running."""
    idle_host.start("dovecot")
    return idle_host


def deliver(host: MailHost, recipient: str, *subjects: str) -> None:
    """Deliver a mail with each subject."""
    with host.lmtp() as lmtp:
        for subject in subjects:
            content = f"Subject: {subject}\r\n\r\nThe text of {subject}.\r\n"
            assert {} == lmtp.sendmail("s@elsewhere.example", [recipient], content)


def kept(host: MailHost, address: str) -> list[str]:
    """Return subjects of what can be restored, each read from the whole mail."""
    with host.imap(address) as client:
        status, (count,) = client.select(".Expunged", readonly=True)
        if status == "NO" or count == b"0":
            return []
        mails = client.fetch("1:*", "(BODY.PEEK[])")[1]
    texts = [each[1] for each in mails if isinstance(each, tuple)]
    assert len(texts) == int(count), "a copy has no content"
    return sorted(re.search(rb"The text of (.*)\.", text)[1].decode() for text in texts)


def expunge(host: MailHost, address: str, subject: str, folder: str = "INBOX") -> None:
    """Delete and expunge a mail."""
    with host.imap(address) as client:
        client.select(folder)
        (uid,) = client.uid("SEARCH", "SUBJECT", subject)[1][0].split()
        client.uid("STORE", uid, "+FLAGS.SILENT", r"(\Deleted)")
        assert client.expunge()[0] == "OK"


def test_sessions_that_expunge_the_same_mails_at_once(host: MailHost) -> None:
    """Each mail is kept once, with its content, and no session is refused.

    Without the plugin expunge_once 60 messages gave 377 copies, some void, and some sessions failed.
    """
    subjects = [f"n{number:02d}" for number in range(MAILS)]
    deliver(host, ANN, *subjects)
    together = threading.Barrier(SESSIONS)

    def session(chance: random.Random) -> None:
        with host.imap(ANN) as client:
            client.select()
            for _ in range(ROUNDS):
                together.wait(60)
                client.noop()
                uids = client.uid("SEARCH", "ALL")[1][0].decode().split()
                some = chance.sample(uids, min(len(uids), 6))
                if some:
                    client.uid("STORE", ",".join(some), "+FLAGS.SILENT", r"(\Deleted)")
                    assert client.expunge()[0] == "OK"

    with ThreadPoolExecutor(SESSIONS) as pool:
        for each in [pool.submit(session, random.Random(number)) for number in range(SESSIONS)]:
            each.result()
    with host.imap(ANN) as client:
        (left,) = client.select()[1]
        if int(left):
            client.store("1:*", "+FLAGS.SILENT", r"(\Deleted)")
            client.expunge()
    assert kept(host, ANN) == subjects
    log = host.containers["dovecot"].logs()
    assert not re.findall(r".*(?:lost uid|azy.expunge|Panic|without a lock).*", log)


def test_moved_mail_is_kept_when_it_is_expunged_at_last(host: MailHost) -> None:
    """A move adds no copy to `.Expunged`; the message is kept there once it is expunged at last."""
    deliver(host, BEN, "moved")
    with host.imap(BEN) as client:
        client.select()
        (uid,) = client.uid("SEARCH", "SUBJECT", "moved")[1][0].split()
        assert client.uid("MOVE", uid, "Trash")[0] == "OK"
    assert kept(host, BEN) == []
    expunge(host, BEN, "moved", "Trash")
    assert kept(host, BEN) == ["moved"]


def test_mail_that_others_have_too_is_kept(host: MailHost) -> None:
    """One mail to two users may be one file (LMTP): each can restore what he has expunged."""
    with host.lmtp() as lmtp:  # smtplib's own sendmail reads one reply for both
        lmtp.ehlo_or_helo_if_needed()
        lmtp.mail("s@elsewhere.example")
        assert [250, 250] == [lmtp.rcpt(each)[0] for each in (ANN, BEN)]
        lmtp.putcmd("data")
        assert lmtp.getreply()[0] == 354
        lmtp.send("Subject: together\r\n\r\nThe text of together.\r\n.\r\n")
        assert [250, 250] == [lmtp.getreply()[0] for _ in range(2)]
    expunge(host, BEN, "together")
    assert "together" in kept(host, BEN)
    assert "together" not in kept(host, ANN)


def test_copied_mail_is_kept_when_one_copy_goes(host: MailHost) -> None:
    """Clients without MOVE copy and expunge: what they expunge can be restored as well."""
    deliver(host, BEN, "copied")
    with host.imap(BEN) as client:
        client.select()
        (uid,) = client.uid("SEARCH", "SUBJECT", "copied")[1][0].split()
        assert client.uid("COPY", uid, "Archive")[0] == "OK"
    expunge(host, BEN, "copied")
    assert "copied" in kept(host, BEN)


def test_deliver_hears_of_a_mail_wherever_it_lies(host: MailHost) -> None:
    """In any folder, Trash or `.Expunged`: a replay restores only messages that are nowhere.

    That another user has it, in a folder that this one sees, does not count.
    """
    question = Doveadm(str(host.root / "run/dovecot/question.sock"))
    receipt = f"replay-{host.root.name}"
    with host.lmtp() as lmtp:
        content = f"X-Plexus-Receipt: {receipt}\r\nSubject: asked\r\n\r\nThe text of asked.\r\n"
        lmtp.sendmail("s@elsewhere.example", [BEN], content)
    with host.imap(ANN) as client:
        client.create("Shared")
        client.append("Shared", None, None, content.encode())
        assert client.setacl("Shared", BEN, "lrs")[0] == "OK"
    with host.imap(BEN) as client:
        assert client.select(f"shared/{ANN}/Shared", readonly=True)[0] == "OK"
        client.create("Filed")
        for folder, into in (("INBOX", "Filed"), ("Filed", "Trash")):
            client.select(folder)
            (uid,) = client.uid("SEARCH", "SUBJECT", "asked")[1][0].split()
            assert question.holds(BEN, receipt) is True
            assert client.uid("MOVE", uid, into)[0] == "OK"
    assert question.holds(BEN, receipt) is True
    expunge(host, BEN, "asked", "Trash")
    assert question.holds(BEN, receipt) is True
    expunge(host, BEN, "asked", ".Expunged")
    assert question.holds(BEN, receipt) is False
