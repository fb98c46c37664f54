"""Which files hold a mailbox, and what a hold means for its mail."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postal_plexus.deliver.hold_file import LONGEST_SECONDS, hold_seconds
from postal_plexus.deliver.mailbox_holds import MailboxHolds
from postal_plexus.deliver.policy import deferred, held, next_attempt
from postal_plexus.mail.disposition import Disposition, Fate

ANN, BOOT = "ann@example.org", "b00t"
DELIVERED = Disposition("ben@example.org", Fate.DELIVERED, "2.0.0", "Saved")


def text_of(address: str = ANN, boot: str = BOOT, until: object = 1180) -> str:
    """Return a hold as `hold` writes it."""
    return f"plexus-hold 1\n{address}\n{boot}\n{until} owner\n"


def test_a_hold_ends_by_itself() -> None:
    """180 seconds after it was set, however late the clock is read."""
    assert [180, 1, 0, 0] == [
        hold_seconds(text_of(), ANN, BOOT, now) for now in (1000, 1179, 1180, 9e9)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        text_of(address="ben@example.org"),
        text_of(boot="another boot"),
        text_of(until=1000 + LONGEST_SECONDS + 1),
        text_of(until="soon"),
        text_of(until="-1"),
        text_of(until="nan"),
        text_of(until="\u0661\u0661\u0660\u0660"),
        text_of()[:-3],
        text_of() + "more\n",
        text_of().replace("hold 1", "hold 2"),
    ],
)
def test_anything_else_is_no_hold(text: str) -> None:
    """Of another mailbox or boot, without a sound end, torn, of a format to come."""
    assert 0 == hold_seconds(text, ANN, BOOT, 1000)


@given(text=st.text() | st.text().map(lambda end: text_of() + end), now=st.floats(0, 1e9))
def test_no_text_holds_for_longer_than_a_task_asks_for(text: str, now: float) -> None:
    """A damaged or forged file of holds delays mail by three minutes at most."""
    assert 0 <= hold_seconds(text, ANN, BOOT, now) <= LONGEST_SECONDS


def test_without_a_boot_id_nothing_is_held() -> None:
    """The clock of a hold counts from the boot, so a hold without its boot cannot be judged."""
    assert 0 == hold_seconds(text_of(boot=""), ANN, "", 1000)


@pytest.fixture
def name(tmp_path: Path) -> Path:
    """Provide the file that would hold Ann's mailbox."""
    return tmp_path / hashlib.sha256(ANN.encode()).hexdigest()


def is_held(path: Path) -> bool:
    """Return whether Ann's mailbox is held by what lies there."""
    now = int(float(Path("/proc/uptime").read_text().split()[0]))
    sound = path.parent / "sound"
    sound.write_text(text_of(until=now + 60))
    return MailboxHolds(str(path.parent), BOOT.encode()).seconds(ANN) > 0


def test_what_is_no_file_of_its_owner_is_no_hold(name: Path) -> None:
    """A link, a pipe, a directory or another user's file holds no mailbox and blocks nothing."""
    assert not is_held(name)
    name.symlink_to(name.parent / "sound")
    assert not is_held(name)
    name.unlink()
    os.mkfifo(name)
    assert not is_held(name)
    name.unlink()
    name.mkdir()
    assert not is_held(name)
    name.rmdir()
    name.write_text((name.parent / "sound").read_text())
    assert is_held(name)
    if os.geteuid() == 0:
        os.chown(name, 65534, 65534)
        assert not is_held(name)


def test_a_directory_that_is_not_there_has_no_holds(tmp_path: Path) -> None:
    """Before the first task the directory does not exist, and mail is delivered."""
    holds = MailboxHolds(str(tmp_path / "none"), BOOT.encode())
    with holds.entering([ANN]) as free:
        assert {ANN} == free


def test_a_held_mail_is_tried_again_soon_and_for_ever() -> None:
    """Neither its age nor the receives in vain make it fail; other recipients' waits are as ever."""
    waits = [next_attempt([DELIVERED, held(ANN)], count + 1, count, 0.0) for count in range(7)]
    assert [3, 6, 12, 24, 48, 60, 60] == waits
    other = deferred("cat@example.org", "4.3.0", "later", 0.0)
    assert 30 == next_attempt([held(ANN), other], receive_count=7, in_vain=5, jitter=0.0)
    assert next_attempt([DELIVERED], 3, 2, 0.0) is None


def test_receives_in_vain_are_forgotten_with_their_entry(tmp_path: Path) -> None:
    """Otherwise the counts would grow for as long as the service runs."""
    holds = MailboxHolds(str(tmp_path), b"")
    for _ in range(3):
        holds.received_in_vain("entry")
    assert 3 == holds.receives_in_vain("entry")
    holds.forget("entry")
    assert 0 == holds.receives_in_vain("entry")
