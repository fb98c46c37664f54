"""Archived messages, the server's special folders and limits, and shared files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postal_plexus.maintenance.brought import Brought, gone
from postal_plexus.maintenance.dsync import Large, LimitedError, failure, prefetch
from postal_plexus.maintenance.gmail import Labels
from postal_plexus.maintenance.imap_server import listed
from postal_plexus.maintenance.import_job import target_folders
from postal_plexus.maintenance.staging import share

ALL = "[Gmail]/All Mail"
_ids = st.dictionaries(st.integers(1, 30), st.integers(1, 12), max_size=12)


@given(st.fixed_dictionaries({ALL: _ids, "INBOX": _ids, "Work": _ids}), st.data())
def test_archived_is_what_no_other_folder_has(
    ids: dict[str, dict[int, int]], data: st.DataObject
) -> None:
    """Whatever changed meanwhile, each known staged message is in some folder."""
    staged = {
        name: data.draw(st.sets(st.sampled_from(sorted(its)))) if its else set()
        for name, its in ids.items()
    }
    found = Labels(ALL, ids, frozenset()).archived(staged)
    labelled = {ids[name][uid] for name in ("INBOX", "Work") for uid in staged[name]}
    assert {ids[ALL][uid] for uid in staged[ALL]} - labelled == set(found.values())


def test_a_mail_that_came_after_the_list_waits_for_the_next_pass() -> None:
    """Its labels are unknown yet, so it would be taken for archived."""
    labels = Labels(ALL, {ALL: {1: 7}, "INBOX": {}}, frozenset())
    assert {1: 7} == labels.archived({ALL: {1, 2}, "INBOX": {9}, "new": {1}})


def test_mails_of_several_folders() -> None:
    """Each message by Google's id, with every folder and UID; All Mail can be left out."""
    labels = Labels(ALL, {ALL: {1: 7, 2: 8}, "INBOX": {5: 7}, "Work": {3: 7}}, frozenset())
    assert {7: [(ALL, 1), ("INBOX", 5), ("Work", 3)]} == labels.instances()
    assert {7: [("INBOX", 5), ("Work", 3)]} == labels.instances(but=ALL)


@pytest.mark.parametrize(
    ("line", "prefix", "name"),
    [
        (rb'(\HasNoChildren \Sent) "/" "[Gmail]/Gesendet"', "", "[Gmail]/Gesendet"),
        (rb'(\Sent) "." INBOX.Sent', "INBOX", "Sent"),
        (rb'(\Sent) "." "Work.2020"', "", "Work/2020"),
        (rb'(\Sent) "\\" "A\\B"', "", "A/B"),
        (rb'(\Sent) "/" "say \"so\""', "", 'say "so"'),
        (rb"(\Sent) NIL INBOX", "", "INBOX"),
        ((rb'(\Sent) "/" {4}', b'a"b)'), "", 'a"b)'),
    ],
)
def test_a_folder_as_servers_list_it(
    line: bytes | tuple[bytes, bytes], prefix: str, name: str
) -> None:
    """Delimiters, quoting, literals and prefixes of LIST responses (RFC 3501, 7.2.2)."""
    (found,) = listed([line, b")", None], prefix)
    assert name == found.name
    assert r"\sent" in found.attributes


@given(st.binary(max_size=60))
def test_no_line_of_a_list_is_too_odd(line: bytes) -> None:
    """Whatever the source sends, reading it does not raise."""
    list(listed([line, (line, line)], "INBOX"))


def test_a_use_that_the_source_tells_comes_before_names() -> None:
    """The source's mark counts, in any language, and even beside a folder with our name."""
    theirs = ["Trimise", "Sent", ".archived", "Archive"]
    found = target_folders(theirs, {}, {"Sent": "Trimise", "Archive": ".archived"})
    expected = {"Trimise": "Sent", "Sent": "Sent_", ".archived": "Archive", "Archive": "Archive_"}
    assert expected == found
    assert "X" == target_folders(theirs, {"Trimise": "X"}, {"Sent": "Trimise"})["Trimise"]


@pytest.mark.parametrize(
    "said",
    [
        "NO [OVERQUOTA] Account exceeded command or bandwidth limits. (Failure)",
        "Disconnected: [ALERT] Too many simultaneous connections. (Failure)",
    ],
)
def test_a_limit_of_the_server_is_one_to_try_again(said: str) -> None:
    """A server's limit means to retry later, whatever the program's exit status."""
    for error in (failure(65, said), failure(77, "it failed", f"first\n{said}\nlast")):
        assert isinstance(error, LimitedError)
        assert 75 == error.status
        assert said in str(error)
    assert not isinstance(failure(65, "Over quota"), LimitedError)


@pytest.mark.parametrize(
    ("large", "ahead"),
    [
        ([], 20),
        ([(1, 39)], 20),  # alone it costs nothing more
        ([(1, 39), (30, 39)], 20),
        ([(1, 39), (2, 39)], 0),
        ([(1, 39), (4, 39)], 2),
        ([(number, 2) for number in range(1, 100)], 20),
        ([(number, 8) for number in range(1, 100)], 10),
    ],
)
def test_large_mails_in_a_row_are_fetched_one_by_one(
    large: list[tuple[int, int]], ahead: int
) -> None:
    """An import's memory does not grow with their number."""
    mails = [Large(number, number, size << 20) for number, size in large]
    assert ahead == prefetch([mails, []])


def test_what_was_brought_and_is_gone_is_not_brought_again(tmp_path: Path) -> None:
    """A user deleted it here: the record of earlier passes has it, the mailbox does not."""
    record = Brought(tmp_path / "brought")
    assert {} == record.read()
    record.write({"INBOX": ["a", "b"]})
    brought = record.read()["INBOX"]
    assert [2] == gone(brought, {"a": 1, "b": 2, "new": 3}, {"a"})


def test_files_of_one_mail_become_one_and_others_stay(tmp_path: Path) -> None:
    """Files with equal content are linked, despite different times; missing ones are skipped."""
    texts = {"u.1": "2 M1e C1\nmail\n", "u.2": "2 M1e C2\nmail\n", "u.3": "2 M1e C1\nother\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    share(tmp_path / name for name in ("u.0", "u.1", "u.2", "u.3", "u.4"))
    assert sorted(texts) == sorted(each.name for each in tmp_path.iterdir())
    assert (tmp_path / "u.1").samefile(tmp_path / "u.2")
    assert texts["u.3"] == (tmp_path / "u.3").read_text()
