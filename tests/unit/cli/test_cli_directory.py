"""`plexus directory`: who gets a mail to an address."""

from pathlib import Path

import pytest
from plexus_runs import Plexus

from postal_plexus.cli.exits import Exit


def test_addresses(plexus: Plexus, sound: Path) -> None:
    """Each address with its people, domains as they are read; an address outside is marked."""
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
    """If one of the addresses is nobody's, the code is 67; the others are told all the same."""
    told = plexus("directory", "--stack-file", sound, "no@example.org", "ann@example.org")
    expected = "no@example.org -> nobody\nann@example.org -> ann@example.org\n"
    assert (Exit.NO_USER, expected) == (told.code, told.out)


def test_everything(plexus: Plexus, sound: Path) -> None:
    """Without an address the whole directory is drawn up."""
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
    """What is no address is told as a wrong command line."""
    told = plexus("directory", "--stack-file", sound, address)
    assert (Exit.USAGE, "") == (told.code, told.out)
    assert told.err.startswith(f"plexus: the address {address!r} ")


def test_a_wrong_stack_file(plexus: Plexus, wrong: Path) -> None:
    """A wrong stack file answers nothing, but tells what is wrong with it."""
    told = plexus("directory", "--stack-file", wrong, "ann@example.org")
    assert (Exit.CONFIG, "") == (told.code, told.out)
