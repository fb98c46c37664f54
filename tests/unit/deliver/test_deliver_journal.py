"""The journal: what it knows after any crash, and how large it may become."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postal_plexus.deliver.journal import Journal, JournalBusyError, State, journal_key

BOOT = b"boot-1"


def state_of(journal: Journal, key: bytes) -> State | None:
    """Return the state, or None."""
    entry = journal.look_up(key)
    return entry.state if entry else None


def overwrite(file: Path, place: int, octets: bytes) -> None:
    """Change a table under the journal that has it open: both map the same pages."""
    with file.open("r+b", buffering=0) as table:
        table.seek(place)
        table.write(octets)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.sampled_from(list(State)), st.booleans()), max_size=120
    )
)
def test_it_knows_what_was_recorded_also_when_opened_again(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, State, bool]]
) -> None:
    """Against a dictionary: the last state of each key, over any number of restarts.

    A small table, so that it turns over: the last 48 entries at least are never forgotten.
    """
    place = tmp_path_factory.mktemp("journal")
    journal = Journal(place, BOOT, entries=64)
    known: dict[int, State] = {}
    for number, state, again in steps:
        if again:
            journal.close()
            journal = Journal(place, BOOT, entries=64)
        journal.record([journal_key("m", str(number))], state)
        known.pop(number, None)
        known[number] = state
    for number, state in list(known.items())[-24:]:
        assert state is state_of(journal, journal_key("m", str(number)))
    journal.close()


def resident_pages(path: Path) -> int:
    """Return how much of a file is in memory (mincore(2)), in pages."""
    size = path.stat().st_size
    pages = (size + mmap.PAGESIZE - 1) // mmap.PAGESIZE
    found = (ctypes.c_ubyte * pages)()
    with path.open("r+b") as file, mmap.mmap(file.fileno(), size) as mapped:
        anchor = ctypes.c_char.from_buffer(mapped)
        libc = ctypes.CDLL(None, use_errno=True)
        address = ctypes.c_void_p(ctypes.addressof(anchor))
        assert 0 == libc.mincore(address, ctypes.c_size_t(size), found)
        del anchor
    return sum(page & 1 for page in found)


def test_only_what_is_asked_for_comes_into_memory(tmp_path: Path) -> None:
    """A start reads one page of each file, a lookup one more, and none of a table that is empty."""
    journal = Journal(tmp_path, BOOT)
    journal.record([journal_key("m", "ann@example.org")], State.DELIVERED)
    journal.close()
    files = [tmp_path / "journal-0", tmp_path / "journal-1"]
    for path in files:
        descriptor = os.open(path, os.O_RDWR)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    if any(map(resident_pages, files)):
        pytest.skip("this file system keeps its files in memory")
    journal = Journal(tmp_path, BOOT)
    assert [1, 1] == sorted(map(resident_pages, files))
    for number in range(30):
        assert None is journal.look_up(journal_key(f"unknown-{number}", "ann@example.org"))
    once, young = sorted(map(resident_pages, files))
    assert 1 == once
    assert young <= 31
    journal.close()


def test_it_is_flat_at_100_000_mails(tmp_path: Path) -> None:
    """Its files have the size of the first day; a lookup finds the latest 98,000 at least."""
    journal = Journal(tmp_path, BOOT)
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    keys = [journal_key(f"message-{number}", "ann@example.org") for number in range(250_000)]
    for start in range(0, len(keys), 100):
        journal.record(keys[start : start + 100], State.DELIVERED)
    assert size == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert size < 3.2e6
    assert all(state_of(journal, key) is State.DELIVERED for key in keys[-98_000:])
    journal.close()


def test_what_it_forgot_lies_before_its_horizon(tmp_path: Path) -> None:
    """A horizon that grows only when something was forgotten, and outlives a restart."""
    journal = Journal(tmp_path, BOOT, entries=64)
    first = journal.horizon
    for number in range(48 + 48):
        journal.record([journal_key("m", str(number))], State.DELIVERED)
    assert first == journal.horizon
    time.sleep(0.01)
    journal.record([journal_key("m", "one more")], State.DELIVERED)
    assert journal.look_up(journal_key("m", "0")) is None
    horizon = journal.horizon
    assert horizon > first
    journal.close()
    again = Journal(tmp_path, BOOT, entries=64)
    assert horizon == again.horizon
    again.close()


def test_after_a_crash_of_the_host_everything_before_is_in_doubt(tmp_path: Path) -> None:
    """Another boot id: the horizon is the start, so what is not known counts as forgotten."""
    journal = Journal(tmp_path, BOOT)
    journal.record([journal_key("m", "ann")], State.DELIVERED)
    journal.close()
    before = time.time()
    again = Journal(tmp_path, b"boot-2")
    assert again.horizon >= before
    assert State.DELIVERED is state_of(again, journal_key("m", "ann"))
    again.close()


def test_a_new_volume_has_its_horizon_at_the_start(tmp_path: Path) -> None:
    """So a mail received before counts as forgotten."""
    before = time.time()
    journal = Journal(tmp_path / "new", BOOT)
    assert journal.horizon >= before
    journal.close()


def test_a_key_without_its_state_is_an_intent(tmp_path: Path) -> None:
    """Killed between the two stores: unknown, which makes us ask; not delivered, not owed."""
    journal = Journal(tmp_path, BOOT, entries=64)
    key = journal_key("m", "ann")
    number = int.from_bytes(key, "little")
    overwrite(tmp_path / "journal-0", 4096 + number % 64 * 12, key)
    assert State.INTENDED is state_of(journal, key)
    journal.close()


def test_a_file_cleared_half_way_is_cleared_whole(tmp_path: Path) -> None:
    """Killed while a table is emptied: its entries are gone, the other table's are not."""
    journal = Journal(tmp_path, BOOT, entries=64)
    for number in range(49):
        journal.record([journal_key("m", str(number))], State.DELIVERED)
    overwrite(tmp_path / "journal-0", 0, b"\0" * 8)
    journal.close()
    again = Journal(tmp_path, BOOT, entries=64)
    assert State.DELIVERED is state_of(again, journal_key("m", "48"))
    again.close()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A second process gets an error instead of writing too."""
    journal = Journal(tmp_path, BOOT)
    with pytest.raises(JournalBusyError):
        Journal(tmp_path, BOOT)
    journal.close()
    Journal(tmp_path, BOOT).close()


WRITER = """
import sys, pathlib
from postal_plexus.deliver.journal import Journal, State, journal_key
journal = Journal(pathlib.Path(sys.argv[1]), b"boot-1")
number = 0
while True:
    journal.record([journal_key("m", str(number))], State.INTENDED)
    journal.record([journal_key("m", str(number))], State.DELIVERED)
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
    number += 1
"""


@pytest.mark.parametrize("seed", range(4))
def test_sigkill_loses_nothing_that_was_recorded(tmp_path: Path, seed: int) -> None:
    """Killed at any moment: all that the process said it had recorded is there."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    time.sleep(0.05 + seed * 0.03)
    os.kill(writer.pid, signal.SIGKILL)
    said = [0, *(int(line) for line in writer.stdout.read().splitlines() if line)]
    writer.wait()
    writer.stdout.close()
    journal = Journal(tmp_path, BOOT)
    assert all(state_of(journal, journal_key("m", str(n))) is State.DELIVERED for n in said[:-1])
    assert state_of(journal, journal_key("m", str(said[-1] + 2))) is None
    journal.close()


class DyingMap(mmap.mmap):
    """A mapping into which so many stores are made, and then the process is killed."""

    left = -1

    def __setitem__(self, place: int | slice, value: object) -> None:
        if DyingMap.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        DyingMap.left -= 1
        super().__setitem__(place, value)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]


@pytest.mark.parametrize("stores", range(12))
def test_a_kill_at_each_point_of_the_turn_over_forgets_no_horizon(
    tmp_path: Path, stores: int
) -> None:
    """Forgotten entries are before the horizon, wherever the rotation was interrupted."""
    journal = Journal(tmp_path, BOOT, entries=64)
    for number in range(48 + 48):
        journal.record([journal_key("m", str(number))], State.DELIVERED)
        if number == 47:
            time.sleep(0.01)
            first_half_ends = time.time()
    journal.close()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            mmap.mmap = DyingMap  # type: ignore[misc]  # in the child alone
            again = Journal(tmp_path, BOOT, entries=64)
            DyingMap.left = stores
            again.record([journal_key("m", "one more")], State.DELIVERED)
        os._exit(0)
    os.waitpid(child, 0)
    after = Journal(tmp_path, BOOT, entries=64)
    for number in range(96):
        known = state_of(after, journal_key("m", str(number)))
        assert known is State.DELIVERED or (number < 48 and after.horizon >= first_half_ends)
    after.close()


@pytest.mark.parametrize("table", ["journal-0", "journal-1"])
def test_noise_below_a_sound_header_ends_every_look_up(tmp_path: Path, table: str) -> None:
    """No key and no free place, in the older or the younger table: all before is in doubt."""
    journal = Journal(tmp_path, BOOT, entries=64)
    for number in range(60):
        journal.record([journal_key("m", str(number))], State.DELIVERED)
    before = time.time()
    overwrite(tmp_path / table, 4096, b"\xa5" * (64 * 12))
    assert None is state_of(journal, journal_key("m", "unknown"))
    assert journal.horizon >= before
    journal.record([journal_key("m", "new")], State.DELIVERED)
    assert State.DELIVERED is state_of(journal, journal_key("m", "new"))
    journal.close()
    again = Journal(tmp_path, BOOT, entries=64)
    assert again.horizon >= before
    assert State.DELIVERED is state_of(again, journal_key("m", "new"))
    again.close()


def test_noise_is_no_reason_not_to_record(tmp_path: Path) -> None:
    """The first to meet it may be a record."""
    journal = Journal(tmp_path, BOOT, entries=64)
    overwrite(tmp_path / "journal-0", 4096, b"\xa5" * (64 * 12))
    journal.record([journal_key("m", "new")], State.DELIVERED)
    assert State.DELIVERED is state_of(journal, journal_key("m", "new"))
    journal.close()


def test_an_entry_of_the_future_is_as_old_as_its_first_look(tmp_path: Path) -> None:
    """The clock ran ahead, and was set right: the entry waits no longer than others."""
    key = journal_key("m", "ann")
    ahead = time.time() + 400 * 86400
    with pytest.MonkeyPatch.context() as clock:
        clock.setattr(time, "time", lambda: ahead)
        journal = Journal(tmp_path, BOOT, entries=64)
        journal.record([key], State.INTENDED)
        journal.close()
    again = Journal(tmp_path, BOOT, entries=64)
    first = again.look_up(key)
    assert first is not None
    assert (State.INTENDED, True) == (first.state, first.recorded_at <= time.time())
    second = again.look_up(key)
    assert second is not None
    assert second.recorded_at <= first.recorded_at
    assert again.horizon <= time.time()
    again.close()


class Clocks:
    """A wall clock that can be set, and one that cannot."""

    def __init__(self) -> None:
        self.wall, self.running = time.time(), 1000.0

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.wall += seconds
        self.running += seconds

    def opened(self, place: Path) -> Journal:
        """Open the journal."""
        return Journal(
            str(place), BOOT, entries=64, wall=lambda: self.wall, running=lambda: self.running
        )


@pytest.mark.parametrize("step", [-7200.0, 7200.0])
def test_a_clock_that_is_set_makes_no_entry_older(tmp_path: Path, step: float) -> None:
    """In the process that recorded it; and in the next, which does not know how it was set."""
    clocks, key = Clocks(), journal_key("m", "ann")
    journal = clocks.opened(tmp_path)
    clocks.pass_by(50)
    journal.record([key], State.INTENDED)
    clocks.wall += step
    clocks.pass_by(7)
    entry = journal.look_up(key)
    # Entries have whole seconds.
    assert 7 <= journal.age(entry) < 8.001
    journal.close()
    clocks.wall += step
    again = clocks.opened(tmp_path)
    clocks.pass_by(5)
    assert again.age(again.look_up(key)) <= 5
    assert 5 == again.age(None)
    clocks.pass_by(60)
    assert again.age(again.look_up(key)) >= 60
    again.close()


def test_a_horizon_is_by_the_clock_that_was_set_right(tmp_path: Path) -> None:
    """It is compared with the times at which SES accepted messages."""
    clocks = Clocks()
    journal = clocks.opened(tmp_path)
    clocks.wall += 3600
    for number in range(48 + 48 + 48 + 1):
        journal.record([journal_key("m", str(number))], State.DELIVERED)
    assert clocks.wall == journal.horizon
    journal.close()
