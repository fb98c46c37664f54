"""Fixtures of the command's tests: running `plexus` in this process, and stack files on disk."""

from pathlib import Path

import pytest
from plexus_runs import Plexus, Ran
from stack_texts import SOUND, WRONG

from postal_plexus.cli.main import main


@pytest.fixture
def plexus(capsys: pytest.CaptureFixture[str]) -> Plexus:
    """Run `plexus` with some arguments; return its exit code and output."""

    def run(*args: object) -> Ran:
        try:
            code = main([str(arg) for arg in args])
        except SystemExit as end:
            assert isinstance(end.code, int)
            code = end.code
        return Ran(int(code), *capsys.readouterr())

    return run


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """Write a valid stack file."""
    path = tmp_path / "Pulumi.sound.yaml"
    path.write_text(SOUND, encoding="utf-8")
    return path


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    """Write a stack file with two mistakes."""
    path = tmp_path / "Pulumi.wrong.yaml"
    path.write_text(WRONG, encoding="utf-8")
    return path
