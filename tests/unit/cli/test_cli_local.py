"""`plexus local` where no desk runs: each command ends with its code and says what to do.

With a desk that runs it is used by the system tests.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from plexus_runs import Plexus

from postal_plexus.cli.exits import Exit


def test_up_with_a_wrong_stack_file(plexus: Plexus, tmp_path: Path, wrong: Path) -> None:
    """A wrong stack file is reported before anything is started or created."""
    told = plexus("local", "up", "--desk", tmp_path / "desk", "--stack-file", wrong)
    assert (Exit.CONFIG, "") == (told.code, told.out)
    assert told.err.startswith(f"{wrong}: postal-plexus:mailbox: ")
    assert not (tmp_path / "desk").exists()


def test_status(plexus: Plexus, tmp_path: Path) -> None:
    """Without a desk, status says so, as text and as JSON, and ends with 69."""
    desk = tmp_path / "desk"
    told = plexus("local", "status", "--desk", desk)
    assert (Exit.UNAVAILABLE, f"The desk in {desk} is not running.\n") == (told.code, told.out)
    told = plexus("local", "status", "--json", "--desk", desk)
    document = json.loads(told.out)
    assert Exit.UNAVAILABLE == told.code
    assert (False, [], {}) == (document["healthy"], document["accounts"], document["endpoints"])


def test_down(plexus: Plexus, tmp_path: Path) -> None:
    """Stopping a desk that is not running succeeds at once."""
    told = plexus("local", "down", "--desk", tmp_path / "desk")
    assert (0, "", "") == (told.code, told.out, told.err)


@pytest.mark.parametrize("command", [("send", "ann@example.org"), ("demo",)])
def test_without_a_desk(plexus: Plexus, tmp_path: Path, command: tuple[str, ...]) -> None:
    """Commands that need a desk say how to start one."""
    told = plexus("local", *command, "--desk", tmp_path / "desk")
    assert (Exit.UNAVAILABLE, "") == (told.code, told.out)
    assert "plexus local up" in told.err


def test_send_a_file_that_is_missing(plexus: Plexus, tmp_path: Path) -> None:
    """A missing message file ends with 66."""
    told = plexus("local", "send", "--file", tmp_path / "mail.eml", "ann@example.org")
    assert (Exit.NO_INPUT, True) == (
        told.code,
        told.err.startswith(f"{tmp_path / 'mail.eml'}: cannot be read ("),
    )


@pytest.mark.parametrize(
    "command",
    [("up",), ("down",), ("down", "--destroy"), ("status",), ("demo",), ("send", "a@b.c")],
)
def test_a_foreign_directory_is_left_alone(
    plexus: Plexus, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """In a directory with other files, nothing is created, stopped or removed."""
    (tmp_path / "daemon.pid").write_text("1\n")
    (tmp_path / "thesis.txt").write_text("x")
    mode = tmp_path.stat().st_mode
    told = plexus("local", *command, "--desk", tmp_path)
    assert (Exit.UNAVAILABLE, "") == (told.code, told.out)
    assert "is left alone" in told.err
    assert {"daemon.pid", "thesis.txt"} == {path.name for path in tmp_path.iterdir()}
    assert mode == tmp_path.stat().st_mode


def test_an_empty_directory_is_not_removed(plexus: Plexus, tmp_path: Path) -> None:
    """An empty directory is not a desk."""
    told = plexus("local", "down", "--destroy", "--desk", tmp_path)
    assert Exit.UNAVAILABLE == told.code
    assert tmp_path.exists()


@pytest.mark.parametrize("command", [("up",), ("down",), ("status",), ("demo",), ("send", "a@b.c")])
@pytest.mark.parametrize(
    "name",
    [
        "a-file",
        "a-file/desk",
        "circle",
        "~nobody-of-this-name/desk",
        "x" * 300,
        "/dev/null",
        "/proc/1",
    ],
)
def test_a_bad_desk_directory_is_told(
    plexus: Plexus, tmp_path: Path, command: tuple[str, ...], name: str
) -> None:
    """A file, a loop of links or a name that is too long gives one line, no traceback."""
    (tmp_path / "a-file").write_text("x")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    desk = name if name.startswith(("~", "/")) else tmp_path / name
    told = plexus("local", *command, "--desk", desk)
    assert Exit.UNAVAILABLE == told.code
    assert 1 == len(told.err.splitlines())
    assert "--desk" in told.err


def test_a_name_that_is_no_utf_8_can_be_shown(tmp_path: Path) -> None:
    """A desk directory may have any name."""
    plexus_command = [sys.executable, "-m", "postal_plexus.cli", "local", "status", "--desk"]
    ended = subprocess.run(
        [*map(os.fsencode, plexus_command), os.fsencode(tmp_path) + b"/d\xff"],
        capture_output=True,
        check=False,
    )
    assert (Exit.UNAVAILABLE, b"") == (ended.returncode, ended.stderr)
