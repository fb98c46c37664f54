"""The journal: for each (message, recipient), what was intended and how it ended, on the volume.

It answers one question when a notification comes again: is this recipient still owed the message?
Two files of constant size, `journal-0` and `journal-1`, are hash tables of 12-octet entries, mapped
into memory. Entries go into the younger one; when it is three quarters full, the older one is
emptied and becomes the younger. So at least the last 98,000 entries are known, in 3 MB, and each
look-up costs the same. What was forgotten is older than `horizon`.

**Crashes.** An entry is written by plain stores into a shared mapping, which the kernel keeps when
the process is killed. A key is stored before the state that makes it count, both at addresses where
a store is atomic, so a kill between them leaves INTENDED, the state for which Dovecot is asked.
When the whole host crashes, pages since the last write-back may be lost. The boot id in the files
shows this, and everything accepted before is then older than `horizon`, so its state is unknown and
Dovecot is asked. The same applies to a lost volume. Before the first entry of a table is cleared,
the new horizon is in the header of the other table.

**Damaged data.** A file with a valid header but invalid entries (a disk error) does not make a
look-up endless. If a look-up finds neither its key nor a free place within the longest probe
sequence that a valid table can have, it empties the table, and everything before is unknown.

**Clocks.** Within a process, entries are dated by a clock that is never set, which begins with the
wall clock's time at the start. So a change of the wall clock makes no entry older. How old one of
an earlier process is, nobody knows, if the wall clock was set in between: `age` is never more than
the time since the start. An entry with a time in the future counts as recorded now, and is
rewritten so: it waits as long as any other. A horizon is never in the future.

**Space** for both files is allocated when they are created, so a disk that fills up later cannot
stop the journal. If the volume cannot hold or open the files, OSError is raised at the start.

Keys are the first 8 octets of BLAKE2b: one false hit in 10^14 look-ups.
"""

import contextlib
import fcntl
import hashlib
import mmap
import os
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

_ENTRIES = 1 << 17
_ENTRY = struct.Struct("<QI")
_HEADER = struct.Struct("<8sIIdd16s")  # magic, entries, used, born, horizon, boot id
_USED_AT = 12
_HEADER_SIZE = 4096
_HORIZON_AT = 24
_MAGIC = b"plexusJ1"
# A valid table is at most three quarters full. With linear probing, a probe sequence of 500 places
# is as unlikely as a false hit.
_LONGEST_WAY = 4096
_EPOCH = 1_704_067_200  # 2024-01-01: 29 bits of seconds from here last until 2041
_SECONDS = (1 << 29) - 1


class State(IntEnum):
    """What is known about one recipient of one message."""

    INTENDED = 0  # sent, or about to be: it is unknown whether the mailbox has it
    OWED = 1  # tried; certainly not there
    DELIVERED = 2  # in the mailbox, or forwarded
    FAILING = 3  # failed permanently; the bounce or dead letter is about to be sent
    ACCOUNTED = 4  # failed permanently, and the sender or the operator knows


@dataclass(frozen=True, slots=True)
class Entry:
    """A state, and when it was recorded (seconds since the epoch)."""

    state: State
    recorded_at: float


class JournalBusyError(OSError):
    """Another process holds the journal."""


class _NoisyTableError(Exception):
    """A table's entries cannot be what was written."""


class Journal:
    """The open journal. Threads share it; other processes wait for it.

    Args:
        directory: where its files are.
        boot_id: of this boot of the host.
        entries: the places of each table.
        wall: seconds since the epoch.
        running: seconds since any moment, of a clock that is never set.
    """

    def __init__(
        self,
        directory: str,
        boot_id: bytes,
        entries: int = _ENTRIES,
        *,
        wall: Callable[[], float] | None = None,
        running: Callable[[], float] | None = None,
    ) -> None:
        self._lock = threading.Lock()
        self._entries = entries
        self._wall = wall or time.time
        self._running = running or _since_boot
        os.makedirs(directory, exist_ok=True)
        self._lock_file = os.open(
            os.path.join(directory, "journal.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock_file)
            raise JournalBusyError(f"{directory}: another process holds the journal") from error
        now = self._wall()
        self._opened_at, self._opened = now, self._running()
        boot = hashlib.blake2b(boot_id, digest_size=16).digest()
        tables = [_Table(os.path.join(directory, f"journal-{index}"), entries) for index in (0, 1)]
        known = [table for table in tables if table.valid]
        if not boot_id or not known or any(table.boot != boot for table in known):
            # A new volume, or the host has crashed: earlier entries cannot be relied on.
            horizon = now
        else:
            horizon = min(now, max(table.horizon for table in known))
        tables.sort(key=lambda table: (table.valid, table.born), reverse=True)
        self._young, self._old = tables
        for table in tables:
            if table.valid:
                if table.boot != boot:
                    table.recount()
                table.stamp(table.born, horizon, boot)
            else:
                table.clear(0.0 if table is self._old else now, horizon, boot)
        self._boot = boot
        self.horizon = horizon

    def state(self, message_id: str, recipient: str) -> State | None:
        """Return what is known about one recipient of one message, or None."""
        entry = self.look_up(journal_key(message_id, recipient))
        return entry.state if entry else None

    def look_up(self, key: bytes) -> Entry | None:
        """Return the entry of a key of `journal_key`, or None."""
        now = self._now()
        with self._lock:
            for table in (self._young, self._old):
                # Before the first turn-over the older table is empty, so its pages need not be
                # loaded.
                if table is self._old and not table.used:
                    continue
                try:
                    entry = table.get(key)
                    if entry is not None and entry.recorded_at > now:
                        entry = Entry(entry.state, now)
                        table.put(key, entry.state, now)
                except _NoisyTableError:
                    self._empty(table)
                    continue
                if entry is not None:
                    return entry
            return None

    def record(self, keys: list[bytes], state: State) -> None:
        """Record one state for all of these keys of `journal_key`."""
        now = self._now()
        with self._lock:
            for key in keys:
                if self._young.used >= self._entries * 3 // 4:
                    self._rotate()
                try:
                    self._young.put(key, state, now)
                except _NoisyTableError:
                    self._empty(self._young)
                    self._young.put(key, state, now)

    def age(self, entry: Entry | None) -> float:
        """Return how long ago an entry was recorded, in seconds at least; None: a forgotten one."""
        since_start = self._running() - self._opened
        if entry is None:
            return since_start
        return min(since_start, self._now() - entry.recorded_at)

    def close(self) -> None:
        """Write back, and let the next process open it."""
        with self._lock:
            self._young.close()
            self._old.close()
            os.close(self._lock_file)

    def _now(self) -> float:
        return self._opened_at + self._running() - self._opened

    def _rotate(self) -> None:
        # Compared with the times at which SES accepted messages, so by the wall clock.
        now = self._wall()
        if self._old.used:
            # The contents of the older table are forgotten: it was filled until the younger was
            # created.
            self.horizon = max(self.horizon, min(self._young.born, now))
            self._young.move_horizon(self.horizon)
        self._old.clear(now, self.horizon, self._boot)
        self._young, self._old = self._old, self._young

    def _empty(self, table: "_Table") -> None:
        """Clear a table whose content is damaged."""
        self.horizon = now = self._wall()
        other = self._old if table is self._young else self._young
        other.move_horizon(now)
        table.clear(table.born, now, self._boot)


def journal_key(message_id: str, recipient: str) -> bytes:
    """Return the key of one recipient (lower case, without its subaddress) of one mail."""
    return hashlib.blake2b(f"{message_id}\0{recipient}".encode(), digest_size=8).digest()


def read_boot_id() -> bytes:
    """Return an id of this boot of the host, or b"" if the kernel has none."""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id", "rb") as file:
        return file.read().strip()
    return b""


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class _Table:
    """One file: a header page and a table with linear probing. Key 0 marks a free entry."""

    def __init__(self, path: str, entries: int) -> None:
        self._entries = entries
        self.size = _HEADER_SIZE + entries * _ENTRY.size
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._blank = os.fstat(descriptor).st_size != self.size
            if self._blank:
                os.ftruncate(descriptor, 0)
            os.posix_fallocate(descriptor, 0, self.size)
            self._map = mmap.mmap(descriptor, self.size)
            # A key may be anywhere. With read-ahead, the whole file would be loaded at the start.
            self._map.madvise(mmap.MADV_RANDOM)
        finally:
            os.close(descriptor)
        magic, size, self.used, self.born, self.horizon, self.boot = _HEADER.unpack_from(self._map)
        self.valid = magic == _MAGIC and size == entries

    def recount(self) -> None:
        """Count the entries; after a crash of the host the header's number may be too low."""
        self._map.madvise(mmap.MADV_WILLNEED)
        unpack, step = _ENTRY.unpack_from, _ENTRY.size
        places = range(_HEADER_SIZE, self.size, step)
        self.used = sum(1 for place in places if unpack(self._map, place)[0])

    def stamp(self, born: float, horizon: float, boot: bytes) -> None:
        """Write the header, with the magic last."""
        self.born, self.horizon, self.boot, self.valid = born, horizon, boot, True
        self._blank = False
        header = _HEADER.pack(_MAGIC, self._entries, self.used, born, horizon, boot)
        self._map[8 : len(header)] = header[8:]
        self._map[:8] = header[:8]

    def move_horizon(self, horizon: float) -> None:
        """Write another horizon into the header, in one atomic store."""
        self.horizon = horizon
        self._map[_HORIZON_AT : _HORIZON_AT + 8] = struct.pack("<d", horizon)

    def clear(self, born: float, horizon: float, boot: bytes) -> None:
        """Clear the table.

        After a kill half way, the file is not valid and is cleared at the start.
        """
        self._map[:8] = b"\0" * 8
        blank = b"\0" * 65536
        for place in range(_HEADER_SIZE, 0 if self._blank else self.size, len(blank)):
            count = min(len(blank), self.size - place)
            self._map[place : place + count] = blank[:count]
        self.used = 0
        self.stamp(born, horizon, boot)

    def get(self, key: bytes) -> Entry | None:
        """Return the entry, or None."""
        place, found = self._find(_number(key))
        if not found:
            return None
        word = int.from_bytes(self._map[place + 8 : place + 12], "little")
        return Entry(_STATES[word >> 29], float((word & _SECONDS) + _EPOCH))

    def put(self, key: bytes, state: State, now: float) -> None:
        """Write an entry. The table must have a free place."""
        number = _number(key)
        place, found = self._find(number)
        if not found:
            self._map[place : place + 8] = number.to_bytes(8, "little")
            self.used += 1
            self._map[_USED_AT : _USED_AT + 4] = self.used.to_bytes(4, "little")
        word = state << 29 | (int(now) - _EPOCH) & _SECONDS
        self._map[place + 8 : place + 12] = word.to_bytes(4, "little")

    def close(self) -> None:
        """Write back and unmap."""
        self._map.flush()
        self._map.close()

    def _find(self, number: int) -> tuple[int, bool]:
        octets, unpack = self._map, _ENTRY.unpack_from
        index = number % self._entries
        for _ in range(min(self._entries, _LONGEST_WAY)):
            place = _HEADER_SIZE + index * _ENTRY.size
            known = unpack(octets, place)[0]
            if known == number:
                return place, True
            if known == 0:
                return place, False
            index = (index + 1) % self._entries
        raise _NoisyTableError


_STATES: tuple[State, ...] = (
    State.INTENDED,
    State.OWED,
    State.DELIVERED,
    State.FAILING,
    State.ACCOUNTED,
    State.INTENDED,
    State.INTENDED,
    State.INTENDED,
)


def _number(key: bytes) -> int:
    return int.from_bytes(key, "little") or 1
