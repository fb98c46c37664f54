"""Gmail's labels are imported: each message once, archived ones too, and changes in later passes.

Google's own server cannot be reached here; `gmail_server` behaves as Google documents.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from service import imap_source, import_task
from service.certificates import Authority
from service.imap_source import ImapSource
from service.import_task import Done, imap_job, run
from service.mail_host import MailHost

pytestmark = pytest.mark.timeout(300)

ANN, BEN = "ann@example.org", "ben@example.org"
ALL_MAIL = '"[Gmail]/Alle Nachrichten"'
SIZE = 3000
LINE = b"x" * 70 + b"\r\n"


@pytest.fixture(scope="module")
def host(idle_host: MailHost) -> MailHost:
    """Start a host with Dovecot."""
    idle_host.start("dovecot")
    return idle_host


@pytest.fixture(scope="module")
def gmail(
    host: MailHost, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ImapSource]:
    """Start a server with an account of 14 messages.

    Of All Mail's UIDs 1 to 4 are in the inbox, 3 to 6 have the label Work, 6 also Work/2020; 4 to 9
    are important, 10 has a star, 7 a label that is not shown. 13 is junk, 14 was sent.
    """
    source = imap_source.start_gmail(
        host.engine, host.network.name, host.images["dovecot"], authority
    )
    host.names[source.host] = source.address
    import_task.start(host, tmp_path_factory.getbasetemp())
    client = source.client()
    client.create("Work")
    client.create("Work/2020")
    for number in range(1, 13):
        client.append(ALL_MAIL, r"(\Seen)" if number % 2 else r"(\Answered)", None, content(number))
    client.select(ALL_MAIL)
    for uids, labels in {
        "1:4": r"(\Inbox)", "3:6": "(Work)", "6": '("Work/2020")', "4:9": r"(\Important)", "7": "(hidden)",
    }.items():  # fmt: skip
        client.uid("STORE", uids, "+X-GM-LABELS", labels)
    client.uid("STORE", "10", "+FLAGS", r"(\Flagged)")
    client.append("[Gmail]/Spam", "", None, content(13))
    client.append("[Gmail]/Gesendet", r"(\Seen)", None, content(14))
    client.logout()
    try:
        yield source
    finally:
        source.container.remove()


def content(number: int) -> bytes:
    """Return the message with a number."""
    head = f"From: a@x.example\r\nSubject: {number}\r\nMessage-ID: <{number}@x.example>\r\n\r\n".encode()
    return head + LINE + os.urandom(SIZE // 2).hex().encode() + b"\r\n"


def here(host: MailHost, address: str) -> dict[str, list[int]]:
    """Return the numbers of a mailbox's messages by folder."""
    found: dict[str, list[int]] = {}
    with host.imap(address) as client:
        for line in client.list()[1]:
            name = re.search(rb' "?/"? "?(.*?)"?$', line)[1].decode()  # type: ignore[index,arg-type]
            if client.select(f'"{name}"', readonly=True)[1] != [b"0"]:
                text = repr(client.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1])
                found[name] = sorted(map(int, re.findall(r"Subject: (\d+)", text)))
    return found


def flagged(host: MailHost, address: str, folder: str) -> dict[int, set[str]]:
    """Return the flags of a folder's messages by their numbers."""
    with host.imap(address) as client:
        client.select(folder, readonly=True)
        lines = client.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
    found = re.findall(r"FLAGS \(([^)]*)\).*?Subject: (\d+)", repr(lines))
    return {int(number): set(re.findall(r"\w+", flags)) - {"Recent"} for flags, number in found}


def inodes(root: Path) -> list[int]:
    """Return the inode of each stored message."""
    return [path.stat().st_ino for path in root.rglob("u.*")]


def done(finished: Done) -> Done:
    """Run a task to its end and return it."""
    assert 0 == finished.code, (finished.lines, finished.noise)
    return finished


def test_each_mail_comes_once_and_none_is_missing(
    host: MailHost, gmail: ImapSource, tmp_path: Path
) -> None:
    """Check folders, octets fetched, and files; the job does not mention Gmail."""
    job = imap_job(tmp_path / "job/job", gmail)
    looked = done(run(host, imap_job(tmp_path / "look/job", gmail, look=True), ANN))
    finished = done(run(host, job, ANN))
    expected = {
        "INBOX": [1, 2, 3, 4], "Work": [3, 4, 5, 6], "Work/2020": [6], "Junk": [13], "Sent": [14],
        "Archive": [7, 8, 9, 10, 11, 12],
    }  # fmt: skip
    assert expected == here(host, ANN)
    assert {"Seen"} == flagged(host, ANN, "Archive")[7]
    assert {"Answered", "Flagged"} == flagged(host, ANN, "Archive")[10]
    for lines in (looked, finished):
        report = {line["folder"]: line["mails"] for line in lines.of("folder")}
        assert {name: len(mails) for name, mails in expected.items()} == report
    assert all(line["brought"] == line["mails"] == line["now"] for line in finished.of("folder"))
    assert finished.of("source")[0]["new_octets"] == sum(
        line["octets"] for line in finished.of("folder")
    )
    fetched = re.findall(r"fetched (\d+)", gmail.container.logs())
    assert sorted(map(str, range(1, 15))) == sorted(fetched)
    for root in (host.root / "mail/example.org/ann", host.root / "mail/.import/example.org/ann"):
        assert 14 == len(set(inodes(root)))
    assert 17 == len(inodes(host.root / "mail/example.org/ann"))


def test_labels_that_changed_change_folders_and_lose_nothing(
    host: MailHost, gmail: ImapSource, tmp_path: Path
) -> None:
    """Messages are archived, restored or labelled at the source; flags set here stay."""
    with host.imap(ANN) as client:
        client.select("Archive")
        client.uid("MOVE", "6", "Work")
    client = gmail.client()
    client.select(ALL_MAIL)
    client.uid("STORE", "1", "-X-GM-LABELS", r"(\Inbox)")
    client.uid("STORE", "8", "+X-GM-LABELS", r"(\Inbox)")
    client.uid("STORE", "5", "+X-GM-LABELS", '("Work/2020")')
    client.uid("STORE", "9", "+FLAGS", r"(\Flagged)")
    client.append("INBOX", "", None, content(15))
    client.logout()
    before = len(re.findall("fetched", gmail.container.logs()))
    for _ in range(2):
        done(run(host, imap_job(tmp_path / "job/job", gmail), ANN))
        expected = {
            "INBOX": [2, 3, 4, 8, 15], "Work": [3, 4, 5, 6, 12], "Work/2020": [5, 6], "Junk": [13],
            "Sent": [14], "Archive": [1, 7, 9, 10, 11],
        }  # fmt: skip
        assert expected == {
            name: found for name, found in here(host, ANN).items() if name != ".Expunged"
        }
        assert before + 1 == len(re.findall("fetched", gmail.container.logs()))
    assert {"Seen", "Flagged"} == flagged(host, ANN, "Archive")[9]
    root = host.root / "mail/example.org/ann/sdbox/mailboxes"
    assert 1 == len({(root / f"{name}/dbox-Mails").stat().st_dev for name in ("Work", "Work/2020")})
    files = {
        name: {p.stat().st_ino for p in (root / name / "dbox-Mails").glob("u.*")}
        for name in ("Work", "Work/2020")
    }
    assert files["Work/2020"] <= files["Work"]


def test_what_google_refuses_is_said_and_what_came_is_kept(
    host: MailHost, gmail: ImapSource, tmp_path: Path
) -> None:
    """The daily limit, messages that exhaust the memory, a wrong password, All Mail hidden from IMAP."""
    job = imap_job(tmp_path / "job/job", gmail)
    command(gmail, "XLIMIT 12000")
    refused = run(host, job, BEN)
    assert 75 == refused.code, refused.lines
    assert "bandwidth limits" in refused.of("error")[0]["text"]
    staged = len(set(inodes(host.root / "mail/.import/example.org/ben")))
    assert 0 < staged < 15
    before = len(re.findall("fetched", gmail.container.logs()))
    command(gmail, "XLIMIT 999999999")
    done(run(host, job, BEN))
    assert 15 - staged == len(re.findall("fetched", gmail.container.logs())) - before
    assert 15 == len(set(inodes(host.root / "mail/example.org/ben")))
    client = gmail.client()
    for number in (16, 17, 18):
        client.append("INBOX", "", None, content(number) + LINE * (38 * 1_000_000 // len(LINE)))
    client.logout()
    report = done(run(host, job, BEN)).of("folder")  # three in a row, in the memory of the task
    assert all(line["octets"] == line["brought_octets"] for line in report)
    assert 3 * 37e6 < report[0]["brought_octets"]
    refused = run(host, imap_job(tmp_path / "web/job", gmail, password="as for the web"), BEN)
    assert 77 == refused.code
    assert "Application-specific password required" in refused.of("error")[0]["text"]
    command(gmail, "XHIDE [Gmail]/Alle Nachrichten")
    refused = run(host, job, BEN)
    assert 65 == refused.code
    assert "Show in IMAP" in refused.of("error")[0]["text"]


def command(source: ImapSource, text: str) -> None:
    """Send the stand-in for Gmail a command of the tests."""
    client = source.connection()
    client.send(f"1 {text}\r\n".encode())
    assert client.readline().startswith(b"1 OK")
    client.shutdown()
