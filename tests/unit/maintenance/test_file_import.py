"""A task unpacks uploaded messages below its own tree, once, even if it is killed."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from postal_plexus.maintenance.file_import import FileImports, Tree, unpack
from postal_plexus.maintenance.mail_records import Record, RecordError, write_head
from postal_plexus.maintenance.output import Output
from postal_plexus.maintenance.staging import finish

ANN = "ann@example.org"
NAMES = [f"{number:032x}" for number in range(40)]


def record(
    number: int, folder: str = "INBOX", flags: str = "", keywords: tuple[str, ...] = ()
) -> bytes:
    """Return a record with a message of five octets."""
    return write_head(Record(folder, NAMES[number], flags, keywords, 1_500_000_000, 5)) + b"A: b\n"


def unpacked(top: Path, *records: bytes) -> list[str]:
    """Unpack records; return the names of all files below."""
    top.mkdir(exist_ok=True)
    unpack(io.BytesIO(b"".join(records)), Tree(top), Output(io.StringIO()))
    return sorted(str(each.relative_to(top)) for each in top.rglob("*") if each.is_file())


def test_mails_get_their_flags_keywords_and_dates(tmp_path: Path) -> None:
    """A second stream uses the keyword letters of the first."""
    top = tmp_path / "tree"
    found = unpacked(
        top,
        record(0, flags="FS"),
        record(1, "Work/Müller", keywords=("one", "two")),
    )
    deep = "Work/M&APw-ller"
    assert [
        f"{deep}/cur/{NAMES[1]}:2,ab",
        f"{deep}/dovecot-keywords",
        f"cur/{NAMES[0]}:2,FS",
    ] == found
    unpacked(top, record(2, "Work/Müller", "S", ("three", "one")))
    assert "0 one\n1 two\n2 three\n" == (top / deep / "dovecot-keywords").read_text()
    (mail,) = (top / deep / "cur").glob(f"{NAMES[2]}:2,Sac")
    assert 1_500_000_000 == mail.stat().st_mtime


def test_a_folder_has_at_most_26_keywords(tmp_path: Path) -> None:
    """A Maildir has 26 letters; further keywords are left out."""
    keywords = tuple(f"k{number}" for number in range(30))
    names = unpacked(tmp_path / "tree", record(0, keywords=keywords))
    assert f"cur/{NAMES[0]}:2,abcdefghijklmnopqrstuvwxyz" in names


def test_a_stream_that_is_cut_leaves_no_part_of_a_mail(tmp_path: Path) -> None:
    """The message before the cut is stored; of the one in it there is no file."""
    with pytest.raises(RecordError, match="cut off"):
        unpacked(tmp_path / "tree", record(0), record(1)[:-2])
    assert [f"{NAMES[0]}:2,"] == [each.name for each in (tmp_path / "tree/cur").iterdir()]


def test_a_link_in_the_tree_is_not_written_through(tmp_path: Path) -> None:
    """If there is a link, its target stays unchanged."""
    (tmp_path / "tree/tmp").mkdir(parents=True)
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "tree/tmp" / NAMES[0]).symlink_to(tmp_path / "kept")
    unpacked(tmp_path / "tree", record(0))
    assert "kept" == (tmp_path / "kept").read_text()


def test_what_was_brought_is_known_for_good(tmp_path: Path) -> None:
    """Also after a truncated record and after `--finish`; a refused pass records nothing."""
    files = FileImports(ANN, tmp_path)
    for numbers in ([0, 1], [2]):
        files.make()
        unpacked(files.tree, *(record(number) for number in numbers))
        files.begin()
        files.end(is_done=True)
        assert not files.tree.exists()
        with (tmp_path / ".import/example.org/ann/files.known").open("ab") as file:
            file.write(b"cut")
    files.make()
    unpacked(files.tree, record(3))
    assert [NAMES[3]] == list(files.pending())
    files.end(is_done=False)
    assert not list(files.pending())
    assert 0 == finish(tmp_path, ANN, "2026-01-01")
    known = b"".join(files.known())
    assert NAMES[:3] == sorted(known[at : at + 16].hex() for at in range(0, len(known), 16))


def test_a_pass_that_was_killed_and_then_finished_asks_the_mailbox(tmp_path: Path) -> None:
    """The mailbox is asked, because there is no record of what the pass stored."""
    files = FileImports(ANN, tmp_path)
    files.make()
    unpacked(files.tree, record(0))
    files.begin()
    (tmp_path / ".import/example.org/ann/maildir-files").mkdir()
    assert not files.is_lost
    files.end(is_done=False)
    assert [NAMES[0]] == list(files.pending())
    assert 1 == finish(tmp_path, ANN, "2026-01-01")
    assert files.is_lost
