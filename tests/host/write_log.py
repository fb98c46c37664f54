"""The disk that a power cut leaves if the disk's cache forgets: QEMU's log of writes, replayed.

    log = tmp_path / "data.log"
    log.touch()
    volume = Volume(tmp_path / "data.img", "data", log=log)   # keep a copy of data.img before it is used
    ...
    end = log.stat().st_size                                  # a power cut at this moment
    ...
    guest.finish_writes()
    lost = replay(log, end, copy_of_data_img)                 # the disk after it

QEMU gives each request a place in the log when it begins, and finishes it some time before the guest learns of its
end. So at any moment the log is at least as long as what the guest knows to be done, and what lies before that
length is whole once the writes are finished. The monitor's `stop` is no such moment: it flushes all disks.

QEMU's driver blklogwrites writes the format of the kernel's dm-log-writes
(Documentation/admin-guide/device-mapper/log-writes.rst, drivers/md/dm-log-writes.c): a superblock, then an entry
for each request, followed by its data. What was written before a flush is on the disk after it. What follows the last
flush is lost here, all of it, except for what was written through the cache (FUA). A real disk may lose less.

Raises ValueError if the file is no such log.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MAGIC = 0x6A736677736872
FLUSH, THROUGH, DISCARD = 1, 2, 4
_SUPERBLOCK = struct.Struct("<QQQI")
_ENTRY = struct.Struct("<QQQQ")


@dataclass(frozen=True)
class Entry:
    """One request: offset and length on the disk, flags, and where in the log its data is; in octets."""

    offset: int
    length: int
    flags: int
    data: int


def entries(log: Path, end: int) -> Iterator[Entry]:
    """Read the entries that lie before `end`. Raises ValueError."""
    with log.open("rb") as file:
        magic, version, _, sector = _SUPERBLOCK.unpack(file.read(_SUPERBLOCK.size))
        if (magic, version) != (MAGIC, 1) or not sector:
            raise ValueError(f"{log} is no log of writes")
        place = sector
        while place + sector <= end:
            file.seek(place)
            start, count, flags, _ = _ENTRY.unpack(file.read(_ENTRY.size))
            after = place + sector + (0 if flags & DISCARD else count * sector)
            if after > end:
                return
            yield Entry(start * sector, count * sector, flags, place + sector)
            place = after


def replay(log: Path, end: int, disk: Path) -> int:
    """Write to `disk`, which is as it was before the log, what a power cut at `end` leaves.

    Returns how many writes are lost.
    """
    found = list(entries(log, end))
    safe = max((at + 1 for at, entry in enumerate(found) if entry.flags & FLUSH), default=0)
    kept = [entry for at, entry in enumerate(found) if at < safe or entry.flags & THROUGH]
    with log.open("rb") as source, disk.open("r+b") as target:
        for entry in kept:
            if entry.flags & DISCARD:
                continue  # its content is undefined: the old one will do
            source.seek(entry.data)
            target.seek(entry.offset)
            target.write(source.read(entry.length))
    return len(found) - len(kept)
