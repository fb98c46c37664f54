"""`plexus directory`: who gets mail for an address."""

from pathlib import Path

import pytest
from plexus_runs import Plexus

from postal_plexus.cli.exits import Exit


def test_addresses(plexus: Plexus, sound: Path) -> None:
    """Each address with its recipients, domains in their own script; outside addresses are marked."""
    asked = [
        "Ann+x@example.org",
        "info@example.org",
        "any@bücher.example",
        "postmaster@example.org",
    ]
    told = plexus("directory", "--stack-file", sound, *asked)
    expected = (
        "Ann+x@example.org -> ann+x@example.org\n"
        "info@example.org -> ann@example.org, ben@bücher.example, zoe@example.com (outside)\n"
        "any@bücher.example -> ann+rest@example.org\n"
        "postmaster@example.org -> ann@example.org\n"
    )
    assert (0, expected, "") == (told.code, told.out, told.err)


def test_an_unknown_address(plexus: Plexus, sound: Path) -> None:
    """If an address is unknown, the exit code is 67; the others are printed anyway."""
    told = plexus("directory", "--stack-file", sound, "no@example.org", "ann@example.org")
    expected = "no@example.org -> nobody\nann@example.org -> ann@example.org\n"
    assert (Exit.NO_USER, expected) == (told.code, told.out)


def test_everything(plexus: Plexus, sound: Path) -> None:
    """Without an address the whole directory is printed."""
    expected = (
        "example.org\n"
        "  ann@example.org\n"
        "  info@example.org -> ann@example.org, ben@bücher.example, zoe@example.com (outside)\n"
        "  postmaster@example.org -> ann@example.org\n"
        "bücher.example\n"
        "  ben@bücher.example\n"
        "  everyone else -> ann+rest@example.org\n"
    )
    assert expected == plexus("directory", "--stack-file", sound).out


@pytest.mark.parametrize("address", ["ann", "ann@localhost", "a b@example.org", ""])
def test_no_address(plexus: Plexus, sound: Path, address: str) -> None:
    """An invalid address is a wrong command line."""
    told = plexus("directory", "--stack-file", sound, address)
    assert (Exit.USAGE, "") == (told.code, told.out)
    assert told.err.startswith(f"plexus: the address {address!r} ")


def test_a_wrong_stack_file(plexus: Plexus, wrong: Path) -> None:
    """A wrong stack file is reported instead of an answer."""
    told = plexus("directory", "--stack-file", wrong, "ann@example.org")
    assert (Exit.CONFIG, "") == (told.code, told.out)
