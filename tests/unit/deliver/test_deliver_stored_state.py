"""What an existing host has on its volume, as it was written in November 2026, is still read.

The files in `state` were written by the code of that time, with its clock at `WRITTEN_AT`; a host
that is upgraded must find its journal, its key and its counts of bounces.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from postal_plexus.deliver.forward_bounces import ForwardBounces
from postal_plexus.deliver.journal import Journal, State, journal_key
from postal_plexus.deliver.return_path import ReturnPath

WRITTEN_AT = 1732800000.0
STATE = Path(__file__).parent / "state"


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """Provide a copy of what was written."""
    return shutil.copytree(STATE, tmp_path / "state")


def test_the_journal_is_read(volume: Path) -> None:
    """Each of the sixty entries with its state and its time; the horizon is where it was."""
    journal = Journal(str(volume), b"boot-1", entries=64)
    for number in range(60):
        entry = journal.look_up(journal_key(f"mail-{number}", "ann@example.org"))
        assert entry is not None
        assert (State(number % 5), WRITTEN_AT + number) == (entry.state, entry.recorded_at)
    assert None is journal.state("mail-60", "ann@example.org")
    assert WRITTEN_AT == journal.horizon
    journal.close()


def test_what_is_added_to_it_has_the_same_form(volume: Path, tmp_path: Path) -> None:
    """The same records with the same clock give the same octets, so the code before reads them."""
    again = tmp_path / "again"
    seconds = [WRITTEN_AT]
    journal = Journal(
        str(again), b"boot-1", entries=64, wall=lambda: seconds[0], running=lambda: seconds[0]
    )
    for number in range(60):
        seconds[0] = WRITTEN_AT + number
        key = journal_key(f"mail-{number}", "ann@example.org")
        journal.record([key], State(number % 5))
    journal.close()
    for name in ("journal-0", "journal-1"):
        assert (volume / name).read_bytes() == (again / name).read_bytes()


def test_return_paths_under_way_still_verify(volume: Path) -> None:
    """The key and the form of the signature are what they were."""
    return_path = ReturnPath(str(volume), lambda: WRITTEN_AT)
    signed = "postmaster+fwd-20055-b84b7e1d8266cdaae5ef@example.org"
    assert signed == return_path.sign("example.org")
    assert return_path.verify(signed)


def test_counts_of_bounces_are_read_and_written_alike(volume: Path) -> None:
    """The file of a process that only starts and ends loses what is older than a week, no more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("postal_plexus.deliver.forward_bounces.time.time", lambda: WRITTEN_AT)
        ForwardBounces(str(volume)).close()
    former, now = (json.loads((each / "forwards.json").read_text()) for each in (STATE, volume))
    assert former == now
