"""Messages at a path are found with their folders; hostile or damaged files are reported and skipped."""

from __future__ import annotations

import io
import json
import mailbox
import os
import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postal_plexus.maintenance.mail_records import RecordError, read_head
from postal_plexus.maintenance.modified_utf7 import encode
from postal_plexus.operations.mail_files import labels
from postal_plexus.operations.mail_files.folder_names import common_root, folder
from postal_plexus.operations.mail_files.sending import MailFiles, Survey
from postal_plexus.operations.mail_files.sources import SourceError

MBOX = b"From x Fri Jan  1 10:00:00 2021\nSubject: %s\n\nbody\n\n"


def put(path: Path, octets: bytes = b"Subject: x\n\nbody\n") -> Path:
    """Write a file, with its parent directories."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(octets)
    return path


def surveyed(path: Path) -> Survey:
    """Survey a path."""
    return MailFiles(path, set(), {}).survey()


def counted(path: Path) -> dict[str, int]:
    """Return the number of messages in each folder."""
    return {name: each.mails for name, each in surveyed(path).folders.items()}


def sent(
    path: Path, known: set[bytes] | None = None
) -> list[tuple[str, str, str, tuple[str, ...], int]]:
    """Return the records to send: folder, name, flags, keywords, date."""
    files = MailFiles(path, known or set(), {})
    files.survey()
    stream = io.BytesIO(b"".join(files.records()))
    found = []
    while record := read_head(stream):
        assert record.octets == len(stream.read(record.octets))
        found.append((record.folder, record.name, record.flags, record.keywords, record.date))
    return found


def zipped(path: Path, entries: dict[str, bytes]) -> Path:
    """Write a zip file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, octets in entries.items():
            archive.writestr(name, octets)
    return path


def test_an_mbox_is_the_folder_of_its_name(tmp_path: Path) -> None:
    """`Inbox` is the inbox; an empty file has no messages and makes no folder."""
    assert {"INBOX": 1} == counted(put(tmp_path / "Inbox", MBOX % b"a"))
    assert {"Old mail": 2} == counted(put(tmp_path / "Old mail.mbox", MBOX % b"a" + MBOX % b"b"))
    assert {} == counted(put(tmp_path / "empty.mbox", b""))


def test_folders_of_thunderbird_and_apple_mail(tmp_path: Path) -> None:
    """`NAME.sbd/` are Thunderbird's, `NAME.mbox/mbox` is Apple's; indexes are not mail."""
    for name in ("Inbox", "Inbox.sbd/Sub", "Sent", "Work", "Work.sbd/2020", "Apple.mbox/mbox"):
        put(tmp_path / name, MBOX % name.encode())
    put(tmp_path / "Inbox.msf", b"index")
    put(tmp_path / "Apple.mbox/table_of_contents", b"index")
    found = surveyed(tmp_path)
    assert {"INBOX", "Sub", "Sent", "Work", "Work/2020", "Apple"} == found.folders.keys()
    assert ["Apple.mbox/table_of_contents"] == [each.name for each in found.left_out]


def test_a_maildir_of_either_layout(tmp_path: Path) -> None:
    """Names in modified UTF-7, flags in the files' names, keywords in Dovecot's own file."""
    box = mailbox.Maildir(tmp_path / "a")
    box.add("Subject: new\n\nx\n")
    seen = mailbox.MaildirMessage("Subject: seen\n\nx\n")
    seen.set_flags("RSF")
    seen.set_subdir("cur")
    box.add_folder("Work.M&APw-ller").add(seen)
    for name in ("cur/1:2,Sa", "cur/2:2,STb", "new/3", "Sub/cur/4;2,", "Sub/new/.keep"):
        put(tmp_path / "b" / name, b"Subject: %s\n\nx\n" % name.encode())
    put(tmp_path / "b/Sub/Deep &- er/cur/5:2,P")
    put(tmp_path / "b/Sub/Deep &- er/new/6")
    put(tmp_path / "b/dovecot-keywords", b"0 Important\n1 $label1\nx y\n99 z\n")
    os.utime(tmp_path / "b/cur/1:2,Sa", (1_500_000_000, 1_500_000_000))
    assert {("INBOX", ""), ("Work/Müller", "FRS")} == {
        each[0::2][:2] for each in sent(tmp_path / "a")
    }
    found = sent(tmp_path / "b")
    assert ("INBOX", "S", ("Important",), 1_500_000_000) in {
        (a, c, d, e) for a, _, c, d, e in found
    }
    assert ("INBOX", "ST", ("$label1",)) in {(a, c, d) for a, _, c, d, _ in found}
    assert ("Sub/Deep & er", "", ("$Forwarded",)) in {(a, c, d) for a, _, c, d, _ in found}


def test_workmails_export(tmp_path: Path) -> None:
    """A zip file of .eml files in folders; messages are marked as read, with the dates in their headers."""
    mail = (
        b"Received: x; Fri, 1 Jan 2021 10:00:00 +0100\nDate: Thu, 31 Dec 2020 10:00:00 +0000\n\nx\n"
    )
    names = ("Inbox/1.eml", "Sent Items/2.eml", "Inbox/Sub/3.EML", "Calendar/4.ics")
    archive = zipped(
        tmp_path / "export.zip", {f"ann/{each}": mail + each.encode() for each in names}
    )
    assert {
        ("INBOX", "S", 1609491600),
        ("Sent Items", "S", 1609491600),
        ("Sub", "S", 1609491600),
    } == {(a, c, e) for a, _, c, _, e in sent(archive)}
    assert ["ann/Calendar/4.ics"] == [each.name for each in surveyed(archive).left_out]


def test_takeout(tmp_path: Path) -> None:
    """Each message once, in the folder of the first label that stands for one."""
    labelled = b"From 1@xxx Mon Jan 01 10:11:12 +0000 2024\nX-GM-THRID: 1\nX-Gmail-Labels: %s\nSubject: %s\n\nx\n\n"
    octets = b"".join(
        labelled % each
        for each in [
            (b"Inbox,Important,Opened,Work", b"a"),
            (b"=?UTF-8?Q?Wichtig,Ge=C3=B6ffnet,Arbeit/2020?=", b"b"),
            (b"Archived,Unread,Category Updates", b"c"),
            (b"Sent,Opened", b"d"),
        ]
    )
    name = "Takeout/Mail/All mail Including Spam and Trash.mbox"
    archive = zipped(tmp_path / "takeout.zip", {name: octets, "Takeout/archive_browser.html": b"x"})
    found = {(each[0], each[2], each[4]) for each in sent(archive)}
    assert {("INBOX", "S"), ("Arbeit/2020", "S"), ("Archive", ""), ("Sent", "S")} == {
        each[:2] for each in found
    }
    assert {1704103872} == {each[2] for each in found}


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("Inbox,Important,Work", ["Inbox", "Work"]),
        ('"a, b",Starred', ["a, b"]),
        ("Important,Unread", ["Archive"]),
        ("", ["Archive"]),
        ("=?UTF-8?B?UG9zdGVpbmdhbmcsV2ljaHRpZw==?=", ["Posteingang"]),
        ("=?UTF-8?Q?Work,?=\r\n =?UTF-8?Q?Wichtig?=", ["Work"]),
        ("=?nonsense?Q?Work?=", ["=?nonsense?Q?Work?="]),
        ('"unclosed,Work', ["unclosed,Work"]),
    ],
)
def test_labels_become_folders(field: str, expected: list[str]) -> None:
    """X-Gmail-Labels, also as encoded words (RFC 2047); without a folder's label: Archive."""
    assert expected == labels.folders(labels.read_labels(field))


@settings(max_examples=100)
@given(st.lists(st.text(max_size=200), max_size=25))
def test_any_levels_are_a_name_that_a_task_takes(levels: list[str]) -> None:
    """Names are short, not reserved by a Maildir, and never lead upwards."""
    name = folder(levels)
    assert len(name.split("/")) <= 20
    assert all(0 < len(encode(each)) <= 255 for each in name.split("/"))
    head = f'{{"folder":{json.dumps(name)},"name":"{"0" * 32}","flags":"","keywords":[],"date":1,"octets":1}}\n'
    read_head(io.BytesIO(head.encode()))
    assert name == folder(name.split("/"))


def _quoted(text: str) -> str:
    import json

    return json.dumps(text)


@pytest.mark.parametrize(
    ("levels", "name"),
    [
        (("..", "..", "etc"), "etc"),
        ((".ssh", "cur", "~ann"), "_.ssh/_cur/_~ann"),
        (("INBOX", "Work"), "Work"),
        (("Work", "INBOX"), "Work/_INBOX"),
        (("Posteingang",), "INBOX"),
        (("a/b\0c", " "), "a_b_c"),
        (("M\u0075\u0308ller",), "M\u00fcller"),
        ((), "INBOX"),
    ],
)
def test_names_of_folders(levels: tuple[str, ...], name: str) -> None:
    """Of files and labels: safe ones without paths and control characters, composed (NFC)."""
    assert name == folder(levels)


def test_what_says_nothing_above_the_inbox_is_left_out() -> None:
    """Directories that all folders of a zip file share, such as Takeout/Mail."""
    assert 2 == common_root([("Takeout", "Mail", "Inbox"), ("Takeout", "Mail", "Sent")])
    assert 0 == common_root([("Work", "2020")])
    assert 0 == common_root([("Work",), ("Work", "Inbox")])
    assert 0 == common_root([])


def test_what_is_no_file_is_told_and_not_opened(tmp_path: Path) -> None:
    """Pipes would block, and links may lead anywhere."""
    put(tmp_path / "x/1.eml")
    os.mkfifo(tmp_path / "x/pipe.eml")
    (tmp_path / "x/link.eml").symlink_to("/etc/passwd")
    (tmp_path / "x/loop").symlink_to(tmp_path)
    put(tmp_path / "x/note.txt", b"no mail")
    put(tmp_path / "x/empty.eml", b"")
    put(tmp_path / os.fsdecode(b"x/M\xfcller/2.eml"))
    found = surveyed(tmp_path)
    assert {"x": 1, "x/Müller": 1} == {name: each.mails for name, each in found.folders.items()}
    assert {"is no file", "is a link", "is not a message", "is empty"} == {
        each.reason for each in found.left_out
    }
    assert (5, 0) == (found.left_out_count, found.lost_count)
    for wrong in (
        tmp_path / "none",
        tmp_path / "x/pipe.eml",
        tmp_path / "x/note.txt",
        Path("a\0b"),
    ):
        with pytest.raises(SourceError):
            surveyed(wrong)


def test_names_in_a_zip_file_are_no_paths(tmp_path: Path) -> None:
    """Names cannot leave the directory, and links are not followed."""
    path = zipped(
        tmp_path / "x.zip",
        {"../../etc/1.eml": b"A: 1\n\n", "/root/2.eml": b"A: 2\n\n", "c:\\x\\3.eml": b"A: 3\n\n"},
    )
    link = zipfile.ZipInfo("link.eml")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    assert {"etc": 1, "root": 1, "c:/x": 1} == counted(path)


def test_damage_is_told_and_ends_nothing(tmp_path: Path) -> None:
    """After a wrong checksum, a truncated or an encrypted entry, the others are read."""
    entries = {f"{number}.eml": b"Subject: x\n\n" + os.urandom(3000) for number in range(3)}
    octets = bytearray(zipped(tmp_path / "x.zip", entries).read_bytes())
    octets[octets.find(b"1.eml") + 100] ^= 0xFF
    found = surveyed(put(tmp_path / "broken.zip", bytes(octets)))
    assert (2, 1) == (found.new, found.lost_count)
    assert "is damaged" in found.left_out[0].reason
    with pytest.raises(SourceError):
        surveyed(put(tmp_path / "cut.zip", bytes(octets[:-40])))


def test_a_zip_bomb_is_a_mail_too_large(tmp_path: Path) -> None:
    """It needs no memory, and one with overlapping parts is refused."""
    path = tmp_path / "bomb.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("1.eml", "w") as to,
    ):
        for _ in range(50):
            to.write(bytes(1 << 20))
    (folder_of,) = surveyed(path).folders.values()
    assert (1, 0) == (folder_of.mails, folder_of.new)
    assert [("1.eml", 50 << 20)] == folder_of.too_large
    assert not sent(path)
    with zipfile.ZipFile(path) as archive:
        entry = archive.infolist()[0]
        size = entry.compress_size
    octets = path.read_bytes()
    central = octets.find(b"PK\x01\x02")
    head = octets[central : octets.find(b"PK\x05\x06")]
    end = bytearray(octets[octets.find(b"PK\x05\x06") :])
    count = 5
    end[8:12] = count.to_bytes(2, "little") * 2
    end[12:16] = (len(head) * count).to_bytes(4, "little")
    with pytest.raises(SourceError, match="parts"):
        surveyed(put(tmp_path / "over.zip", octets[:central] + head * count + bytes(end)))
    assert size < len(octets)


def test_a_second_run_sends_what_is_new(tmp_path: Path) -> None:
    """Identical messages are both sent; a message that moved to another file is recognized."""
    for name in ("a/1.eml", "b/2.eml"):
        put(tmp_path / name, b"Subject: same\n\n")
    first = sent(tmp_path)
    assert 2 == len({each[1] for each in first})
    known = {bytes.fromhex(each[1]) for each in first}
    (tmp_path / "a/1.eml").rename(tmp_path / "b/1.eml")
    put(tmp_path / "b/3.eml", b"Subject: new\n\n")
    (new,) = sent(tmp_path, known)
    assert "b" == new[0]
    assert sent(tmp_path) == sent(tmp_path)


@pytest.mark.parametrize(
    "head",
    [
        b"{}",
        b"[]",
        b"x",
        b'{"folder":"../x"',
        *(
            b'{"folder":"%s","name":"%s","flags":"%s","keywords":[%s],"date":%s,"octets":%s}' % each
            for each in [
                (b"../x", b"0" * 32, b"", b"", b"1", b"1"),
                (b"/x", b"0" * 32, b"", b"", b"1", b"1"),
                (b"x/../y", b"0" * 32, b"", b"", b"1", b"1"),
                (b"x/cur", b"0" * 32, b"", b"", b"1", b"1"),
                (b".Expunged", b"0" * 32, b"", b"", b"1", b"1"),
                (b"x\\u0000", b"0" * 32, b"", b"", b"1", b"1"),
                (b"x\\ud800", b"0" * 32, b"", b"", b"1", b"1"),
                (b"x", b"../" + b"0" * 29, b"", b"", b"1", b"1"),
                (b"x", b"0" * 32, b"S/../", b"", b"1", b"1"),
                (b"x", b"0" * 32, b"", b'"a\\nb"', b"1", b"1"),
                (b"x", b"0" * 32, b"", b"1", b"1", b"1"),
                (b"x", b"0" * 32, b"", b"", b"-1", b"1"),
                (b"x", b"0" * 32, b"", b"", b"1", b"99999999"),
                (b"x", b"0" * 32, b"", b"", b"1", b"true"),
            ]
        ),
    ],
)
def test_a_task_refuses_what_is_no_record(head: bytes) -> None:
    """Invalid records are refused, because their sender may not write anywhere in the mail store."""
    with pytest.raises(RecordError):
        read_head(io.BytesIO(head + b"\n"))
