"""Python's reader and our import read an exported mbox without a difference."""

from __future__ import annotations

import io
import mailbox
import os
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postal_plexus.maintenance.mail_records import read_head
from postal_plexus.maintenance.mbox_export import MailZip, lines_of, shown
from postal_plexus.maintenance.parcels import PartWriter
from postal_plexus.operations.mail_files.mbox import received, split
from postal_plexus.operations.mail_files.message import Found, read
from postal_plexus.operations.mail_files.sending import MailFiles

LINES = [b"text", b"", b"From me", b">From me", b">>>From x", b"Status: RO", b"\xff\0", b"From "]


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from(LINES), max_size=8),
    st.sampled_from(["", "S", "FS", "DFRST", "RSa", "ab"]),
    st.integers(1, 2_000_000_000),
    st.sampled_from([b"", b"\n"]),
)
def test_a_mail_comes_back_as_it_was(lines: list[bytes], flags: str, at: int, end: bytes) -> None:
    """Octets, flags, keywords and date are the same, except for the format's own fields."""
    mail = b"Subject: x\nstatus : theirs\n folded\nContent-Length: 7\n\n" + b"\n".join(lines) + end
    stored = b"Subject: x\n\n" + b"\n".join(lines) + end
    octets = b"".join(lines_of(io.BytesIO(mail), flags, {"a": "Important", "b": "$x"}, at))
    parts = [(part.separator, b"".join(part.pieces)) for part in split(io.BytesIO(octets + octets))]
    assert 2 == len(parts)
    assert parts[0] == parts[1]
    found = read(Found((), "", io.BytesIO(parts[0][1]), date=received(parts[0][0]), is_mbox=True))
    expected = stored if stored.endswith(b"\n") else stored + b"\n"
    assert expected == found.content.read()
    assert "".join(each for each in flags if each.isupper()) == found.flags
    assert ("Important" in found.keywords, "$x" in found.keywords) == ("a" in flags, "b" in flags)
    assert at == found.date


class Parts:
    """A bucket."""

    def __init__(self) -> None:
        self.octets = bytearray()

    def put(self, _bucket: str, _key: str, octets: bytes, _attempts: int) -> None:
        """Store a part."""
        self.octets += octets


def test_the_zip_file_is_written_as_a_stream_and_read_by_others(tmp_path: Path) -> None:
    """Names are readable and unique, and our import reads the file."""
    for folder, flags in (
        ("a", "S"),
        ("Work/M&APw-ller", "F"),
        ("WORK/M&APw-ller", ""),
        ("e", None),
    ):
        for part in ("cur", "new"):
            (tmp_path / folder / part).mkdir(parents=True)
        if flags is not None:
            path = tmp_path / folder / f"cur/1:2,{flags}"
            path.write_bytes(b"Subject: %s\n\nFrom me\n" % folder.encode())
            os.utime(path, (1_500_000_000, 1_500_000_000))
    (tmp_path / "mine.sieve").write_text("keep;")
    parts = Parts()
    to = PartWriter(parts, "bucket", "prefix", lambda _part, _octets: None)  # type: ignore[arg-type]
    with MailZip(to) as written:
        written.add_folder("INBOX", tmp_path / "a")
        for name in ("Work/M&APw-ller", "WORK/M&APw-ller", "e"):
            written.add_folder(name, tmp_path / name)
        written.add_file("sieve/mine.sieve", tmp_path / "mine.sieve")
    to.finish()
    assert (3, 3) == (written.mails, written.folders)
    (tmp_path / "out.zip").write_bytes(parts.octets)
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.testzip() is None
        assert {
            *("mail/INBOX.mbox", "mail/Work/Müller.mbox", "mail/WORK/Müller_.mbox", "mail/e.mbox"),
            "sieve/mine.sieve",
        } == set(archive.namelist())
        archive.extractall(tmp_path / "out")
    (mail,) = mailbox.mbox(tmp_path / "out/mail/INBOX.mbox")
    assert ("RO", "a", "From me\n") == (mail.get_flags(), mail["subject"], mail.get_payload()[1:])
    files = MailFiles(tmp_path / "out.zip", set(), {})
    assert {"INBOX", "Work/Müller", "WORK/Müller_"} == files.survey().folders.keys()
    stream = io.BytesIO(b"".join(files.records()))
    heads = []
    while head := read_head(stream):
        stream.read(head.octets)
        heads.append((head.folder, head.flags, head.date))
    assert ("Work/Müller", "F", 1_500_000_000) in heads


@pytest.mark.parametrize(
    ("name", "expected"),
    [("INBOX", "INBOX"), ("a/M&APw-", "a/Mü"), ("a&AC8-b", "a_b"), ("x:y?", "x_y_"), ("..", "__")],
)
def test_names_of_mboxes_are_names_everywhere(name: str, expected: str) -> None:
    """Without the characters that Windows refuses, and never `..`."""
    assert expected == shown(name)
