"""`plexus local` where no desk runs: each command ends with its code and says what to do.

With a desk that runs it is used by the system tests.
"""

import json
from pathlib import Path

import pytest
from plexus_runs import Plexus

from postal_plexus.cli.exits import Exit


def test_up_with_a_wrong_stack_file(plexus: Plexus, tmp_path: Path, wrong: Path) -> None:
    """A wrong stack file is told before anything is started or made."""
    told = plexus("local", "up", "--desk", tmp_path / "desk", "--stack-file", wrong)
    assert (Exit.CONFIG, "") == (told.code, told.out)
    assert told.err.startswith(f"{wrong}: postal-plexus:mailbox: ")
    assert not (tmp_path / "desk").exists()


def test_status(plexus: Plexus, tmp_path: Path) -> None:
    """Where no desk is, status says so, for people and as JSON, and ends with 69."""
    desk = tmp_path / "desk"
    told = plexus("local", "status", "--desk", desk)
    assert (Exit.UNAVAILABLE, f"The desk in {desk} is not running.\n") == (told.code, told.out)
    told = plexus("local", "status", "--json", "--desk", desk)
    document = json.loads(told.out)
    assert Exit.UNAVAILABLE == told.code
    assert (False, [], {}) == (document["healthy"], document["accounts"], document["endpoints"])


def test_down(plexus: Plexus, tmp_path: Path) -> None:
    """Stopping what does not run is done at once."""
    told = plexus("local", "down", "--desk", tmp_path / "desk")
    assert (0, "", "") == (told.code, told.out, told.err)


@pytest.mark.parametrize("command", [("send", "ann@example.org"), ("demo",)])
def test_without_a_desk(plexus: Plexus, tmp_path: Path, command: tuple[str, ...]) -> None:
    """What needs a desk says how to start one."""
    told = plexus("local", *command, "--desk", tmp_path / "desk")
    assert (Exit.UNAVAILABLE, "") == (told.code, told.out)
    assert "plexus local up" in told.err


def test_send_a_file_that_is_missing(plexus: Plexus, tmp_path: Path) -> None:
    """A mail that cannot be read ends with 66."""
    told = plexus("local", "send", "--file", tmp_path / "mail.eml", "ann@example.org")
    assert (Exit.NO_INPUT, True) == (
        told.code,
        told.err.startswith(f"{tmp_path / 'mail.eml'}: cannot be read ("),
    )
