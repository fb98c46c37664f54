"""The keeper writes files atomically, and reads only ordinary files."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from postal_plexus.account import files, sessions
from postal_plexus.account.entry import entry_of
from postal_plexus.account.guesses import MOST, WINDOW_SECONDS, Guesses
from postal_plexus.account.sessions import IDLE_SECONDS, LONGEST_SECONDS, MOST_OF_USER, Sessions

ANN = "ann@example.org"


@contextmanager
def no_room(octets: int) -> Iterator[None]:
    """Simulate a disk that accepts this many octets of a file and then fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    """On a full disk the old file stays complete, and no temporary file remains."""
    path = tmp_path / "example.org/ann/.passwords"
    files.write(path, b"old")
    assert (0o600, 0o700) == (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777)
    with no_room(1000), pytest.raises(OSError, match="too large"):
        files.write(path, b"new" * 1000)
    assert [(".passwords", b"old")] == [
        (each.name, each.read_bytes()) for each in path.parent.iterdir()
    ]


def test_what_an_ended_keeper_left_is_replaced(tmp_path: Path) -> None:
    """A leftover temporary file is replaced; if it is a link, its target is not written."""
    (tmp_path / "victim").write_bytes(b"untouched")
    (tmp_path / ".passwords.new").symlink_to("victim")
    files.write(tmp_path / ".passwords", b"new")
    assert b"untouched" == (tmp_path / "victim").read_bytes()
    assert "new" == files.read(tmp_path / ".passwords", 10)


def test_only_ordinary_files_are_read(tmp_path: Path) -> None:
    """Links, pipes (without blocking), directories and oversized files are refused."""
    (tmp_path / "file").write_bytes(b"1234")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "folder", "pipe"):
        with pytest.raises(OSError):  # noqa: PT011
            files.read(tmp_path / name, 10)
    with pytest.raises(OSError, match="larger"):
        files.read(tmp_path / "file", 3)
    assert files.read(tmp_path / "none", 10) is None


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_session_ends_by_itself(tmp_path: Path) -> None:
    """It ends after some time without use, and after some hours in any case; its file contains no token."""
    clock = Clock()
    all_of_them = Sessions(tmp_path, clock)
    token = all_of_them.begin(ANN, "key")
    assert token not in "".join(f"{each.name}{each.read_text()}" for each in tmp_path.iterdir())
    for _ in range(int(LONGEST_SECONDS / (IDLE_SECONDS - 1))):
        clock.now += IDLE_SECONDS - 1
        found = all_of_them.find(token)
        assert found is not None
    clock.now += IDLE_SECONDS - 1
    assert all_of_them.find(token) is None
    second = all_of_them.begin(ANN, "key")
    clock.now += IDLE_SECONDS
    assert all_of_them.find(second) is None
    assert [] == list(tmp_path.iterdir())


def test_sessions_are_bounded(tmp_path: Path) -> None:
    """Beyond the limit a user's own oldest session ends; no user can end another's sessions."""
    all_of_them = Sessions(tmp_path, Clock())
    bens = all_of_them.begin("ben@example.org", "key")
    tokens = [all_of_them.begin(ANN, "key") for _ in range(sessions.MOST + 5)]
    assert len(list(tmp_path.iterdir())) == MOST_OF_USER + 1
    assert all_of_them.find(bens) is not None
    assert all_of_them.find(tokens[-1]) is not None


@pytest.mark.parametrize(
    "token", ["", "../../etc/passwd", "x" * 43 + "\n", "x" * 42, "\u00e9" * 43]
)
def test_no_token_breaks_the_sessions(tmp_path: Path, token: str) -> None:
    """Any text is a valid token or refused."""
    all_of_them = Sessions(tmp_path, Clock())
    assert all_of_them.find(token) is None
    all_of_them.end(token)


def test_wrong_codes_are_counted_within_a_day(tmp_path: Path) -> None:
    """Each user has a separate count."""
    guesses = Guesses(tmp_path)
    for number in range(MOST):
        assert not guesses.are_too_many(ANN, 5000.0)
        guesses.note(ANN, 5000.0 + number)
    assert guesses.are_too_many(ANN, 5010.0)
    assert not guesses.are_too_many("ben@example.org", 5010.0)
    assert not guesses.are_too_many(ANN, 5000.0 + WINDOW_SECONDS)
    (tmp_path / ANN).write_bytes(b"\xff\n-1\n\xd9\xa1\n\n")
    assert not guesses.are_too_many(ANN, 5010.0)


TABLE = """\
ann@example.org:{ARGON2ID}a::::::userdb_quota_storage_size=5M app-phone={ARGON2ID}p app-renamed={ARGON2ID}q
anna@example.org:{ARGON2ID}b::::/srv/mail/example.net/anne::
anne@example.net:{CRYPT}*::::/srv/mail/example.net/anne::renamed=anna@example.org
"""


def test_the_directory_says_who_there_is() -> None:
    """It contains the hash, the mail's place and the operator's app passwords; former addresses are no users."""
    ann, anna = entry_of(TABLE, ANN), entry_of(TABLE, "anna@example.org")
    assert ann is not None
    assert anna is not None
    assert ("{ARGON2ID}a", "example.org/ann", {"phone", "renamed"}) == (
        ann.stack_hash,
        ann.home,
        ann.apps,
    )
    assert ("example.net/anne", "anne@example.net") == (anna.home, anna.storage)
    for nobody in ("anne@example.net", "nn@example.org", "", "ann@example.org:{ARGON2ID}a"):
        assert entry_of(TABLE, nobody) is None
