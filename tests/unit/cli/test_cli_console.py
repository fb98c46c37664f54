"""`plexus console` reports in one line why it cannot start.

With a desk that runs it is used by the system tests.
"""

from pathlib import Path

import pytest
from plexus_runs import Plexus

from postal_plexus.cli.exits import Exit
from postal_plexus.console import serve


def test_without_a_desk(plexus: Plexus, tmp_path: Path) -> None:
    """The desk to show must be running."""
    told = plexus("console", "--desk", tmp_path / "desk")
    assert (Exit.UNAVAILABLE, "") == (told.code, told.out)
    assert "plexus local up" in told.err


@pytest.mark.parametrize("port", ["-1", "65536", "x"])
def test_a_port_that_is_none(plexus: Plexus, tmp_path: Path, port: str) -> None:
    """An invalid port is a wrong command line."""
    told = plexus("console", "--desk", tmp_path / "desk", f"--port={port}")
    assert (Exit.USAGE, "") == (told.code, told.out)
    assert "--port" in told.err


def test_the_first_port_that_is_free() -> None:
    """If a port is in use, the next one is used; if none is left, all are named."""
    with serve.listen((0,)) as first:
        taken = first.getsockname()[1]
        assert "127.0.0.1" == first.getsockname()[0]
        with serve.listen((taken, 0)) as second:
            assert taken != second.getsockname()[1]
        with pytest.raises(serve.PortTakenError, match=f"127.0.0.1:{taken} "):
            serve.listen((taken,))
