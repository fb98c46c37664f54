"""A desk says that wrong passwords have locked its clients out, and lets them in again."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from awsdesk.layout import DeskLayout
from postal_plexus.desk import lockout

CONFIGURATION = Path(__file__).parents[3] / "containers/dovecot/auth.conf"


@pytest.fixture
def layout(tmp_path: Path) -> DeskLayout:
    """Provide a desk whose Dovecot has noted nothing yet."""
    made = DeskLayout.at(tmp_path)
    made.host_path("/var/lib/plexus/run/dovecot/guesses").mkdir(parents=True)
    return made


def note(layout: DeskLayout, name: str, ages: list[int]) -> Path:
    """Return what passwords.lua writes: SECONDS CHECK a line."""
    path = layout.host_path("/var/lib/plexus/run/dovecot/guesses") / name
    lines = [f"{int(time.time()) - age} {'ab' * 16}\n" for age in sorted(ages, reverse=True)]
    path.write_text("".join(lines))
    return path


def test_the_limits_are_dovecots() -> None:
    """The desk counts as auth.conf says."""
    text = CONFIGURATION.read_text()
    for name, value in (
        ("address_guesses", lockout.ADDRESS_GUESSES),
        ("window_seconds", lockout.WINDOW_SECONDS),
    ):
        assert [str(value)] == [
            line.partition(" = ")[2]
            for line in text.splitlines()
            if line.partition(" = ")[0].strip() == name
        ]


def test_ten_within_the_window_lock_out_and_are_lifted(layout: DeskLayout) -> None:
    """Said with the time and the remedy; afterwards nothing is left of it."""
    noted = note(layout, "address-10.89.0.1", list(range(10)))
    said = lockout.note(layout)
    assert ("plexus local up" in said, True) == (
        True,
        bool(re.search(r"until \d\d:\d\d:\d\d", said)),
    )
    assert lockout.lift(layout)
    assert (False, "", False) == (noted.exists(), lockout.note(layout), lockout.lift(layout))


@pytest.mark.parametrize(
    ("name", "ages"),
    [
        ("address-10.89.0.1", list(range(9))),
        ("address-10.89.0.1", [1000, *range(9)]),
        ("user-ann@example.org", list(range(10))),
    ],
)
def test_what_locks_nobody_out_is_left_alone(
    layout: DeskLayout, name: str, ages: list[int]
) -> None:
    """Nine, ten with an old one, or guesses at one user (whose known addresses are let in)."""
    noted = note(layout, name, ages)
    assert ("", False, True) == (lockout.note(layout), lockout.lift(layout), noted.exists())


def test_broken_notes_and_a_desk_without_any_say_nothing(
    tmp_path: Path, layout: DeskLayout
) -> None:
    """Whatever a container wrote, `status` goes on."""
    (layout.host_path("/var/lib/plexus/run/dovecot/guesses") / "address-x").write_bytes(
        b"\xff no number\n"
    )
    assert "" == lockout.note(layout)
    assert "" == lockout.note(DeskLayout.at(tmp_path / "none"))
