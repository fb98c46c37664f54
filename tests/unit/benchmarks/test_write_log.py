"""The disk after a power cut: what was flushed is there, what was not is gone."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from host.write_log import DISCARD, FLUSH, MAGIC, THROUGH, replay

SECTOR = 512


def _entry(sector: int, content: bytes, flags: int = 0) -> bytes:
    head = struct.pack("<QQQQ", sector, len(content) // SECTOR, flags, 0)
    return head.ljust(SECTOR, b"\0") + content


def _log(path: Path, *entries: bytes) -> int:
    """Write a log as QEMU does; return its length."""
    head = struct.pack("<QQQI", MAGIC, 1, len(entries), SECTOR).ljust(SECTOR, b"\0")
    path.write_bytes(head + b"".join(entries))
    return path.stat().st_size


def _disk(path: Path) -> Path:
    path.write_bytes(b"." * SECTOR * 4)
    return path


def _letters(disk: Path) -> str:
    content = disk.read_bytes()
    return "".join(chr(content[at]) for at in range(0, len(content), SECTOR))


def test_what_follows_the_last_flush_is_lost_but_for_what_went_through(tmp_path: Path):
    """The order of writes is kept, and a write through the cache needs no flush."""
    log, disk = tmp_path / "log", _disk(tmp_path / "disk")
    end = _log(
        log,
        _entry(0, b"a" * SECTOR * 2),
        _entry(1, b"b" * SECTOR),
        _entry(0, b"", FLUSH),
        _entry(0, b"c" * SECTOR),
        _entry(2, b"d" * SECTOR, THROUGH),
        _entry(3, b"e" * SECTOR),
    )
    assert replay(log, end, disk) == 2
    assert _letters(disk) == "abd."


def test_a_cut_ends_the_log(tmp_path: Path):
    """What was written and flushed after the moment of the cut never happened."""
    log, disk = tmp_path / "log", _disk(tmp_path / "disk")
    end = _log(log, _entry(0, b"a" * SECTOR), _entry(0, b"", FLUSH))
    _log(
        log,
        _entry(0, b"a" * SECTOR),
        _entry(0, b"", FLUSH),
        _entry(1, b"b" * SECTOR),
        _entry(0, b"", FLUSH),
    )
    assert replay(log, end, disk) == 0
    assert _letters(disk) == "a..."


def test_a_write_that_has_begun_is_lost(tmp_path: Path):
    """A cut in the middle of an entry leaves it out."""
    log, disk = tmp_path / "log", _disk(tmp_path / "disk")
    end = _log(log, _entry(0, b"a" * SECTOR), _entry(0, b"", FLUSH))
    _log(log, _entry(0, b"a" * SECTOR), _entry(0, b"", FLUSH), _entry(1, b"b" * SECTOR, THROUGH))
    assert replay(log, end + SECTOR, disk) == 0
    assert _letters(disk) == "a..."


def test_a_discard_has_no_data_in_the_log(tmp_path: Path):
    """What follows it is found."""
    log, disk = tmp_path / "log", _disk(tmp_path / "disk")
    discard = struct.pack("<QQQQ", 0, 4, DISCARD, 0).ljust(SECTOR, b"\0")
    end = _log(log, discard, _entry(3, b"a" * SECTOR), _entry(0, b"", FLUSH))
    assert replay(log, end, disk) == 0
    assert _letters(disk) == "...a"


def test_another_file_is_refused(tmp_path: Path):
    """A log that QEMU has not written leaves no disk that looks like one."""
    other = tmp_path / "log"
    other.write_bytes(b"x" * SECTOR)
    with pytest.raises(ValueError, match="no log"):
        replay(other, SECTOR, _disk(tmp_path / "disk"))
