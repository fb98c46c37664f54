"""`plexus` itself: its help, its exit codes, and interruptions."""

import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from plexus_runs import Plexus

from loading import loaded_by
from postal_plexus.cli import exits
from postal_plexus.cli.exits import Exit

_PLEXUS = (sys.executable, "-m", "postal_plexus.cli")


def test_version(plexus: Plexus) -> None:
    """The version is that of the installed package."""
    assert f"plexus {version('postal-plexus')}\n" == plexus("--version").out


def test_help_documents_every_exit_code(plexus: Plexus) -> None:
    """Each code and its meaning is in the help and in the module that defines it."""
    told = plexus("--help")
    assert 0 == told.code
    for code in Exit:
        assert f"  {code.value:>3}  {code.meaning}\n" in told.out
        row = [f"{code.value}", code.name, code.meaning]
        assert row in [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in (exits.__doc__ or "").splitlines()
        ]


@pytest.mark.parametrize(
    "command", ["check", "cost", "directory", "dns", "password", "app-passwords", "local"]
)
def test_each_command_has_help(plexus: Plexus, command: str) -> None:
    """Each command has help, without names of the program's internals."""
    told = plexus(command, "--help")
    assert 0 == told.code
    assert "CommandError" not in told.out


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("nothing",),
        ("check", "--nothing"),
        ("dns", "--nothing"),
        ("local",),
        ("local", "send"),
        ("password", "a", "b"),
        ("app-passwords",),
        ("app-passwords", "revoke", "ann@example.org"),
    ],
)
def test_a_wrong_command_line(plexus: Plexus, args: tuple[str, ...]) -> None:
    """A wrong command line ends with 64 and refers to the help."""
    told = plexus(*args)
    assert Exit.USAGE == told.code
    assert "" == told.out
    assert "--help" in told.err


def test_interrupted() -> None:
    """Control-C ends with 130 and no traceback."""
    # A shell lets what it runs in the background ignore the signal.
    interruptible = ["env", "--default-signal=INT", *_PLEXUS, "password"]
    with subprocess.Popen(interruptible, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        _await_reading(process.pid)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert (130, b"\n") == (process.returncode, err)


def test_the_reader_has_gone(sound: Path) -> None:
    """A closed pipe ends with 141 and no message, as for any other command."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        ended = subprocess.run(
            [*_PLEXUS, "directory", "--stack-file", str(sound)],
            stdout=gone,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (141, b"") == (ended.returncode, ended.stderr)


@pytest.mark.parametrize(
    "command", [["--help"], ["--version"], ["local", "--help"], ["local", "status"], ["directory"]]
)
def test_a_full_output(sound: Path, tmp_path: Path, command: list[str]) -> None:
    """Output that cannot be written ends with 74 and one line, however short it is."""
    if command == ["directory"]:
        command = [*command, "--stack-file", str(sound)]
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [*_PLEXUS, *command], stdout=full, stderr=subprocess.PIPE, cwd=tmp_path, check=False
        )
    assert Exit.IO_ERROR == ended.returncode
    assert b"plexus: the output cannot be written (No space left on device)\n" == ended.stderr


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-", "2>/dev/full"])
@pytest.mark.parametrize("command", ["local status", "local down --desk /dev/null", "--help"])
def test_a_closed_output(tmp_path: Path, redirection: str, command: str) -> None:
    """With closed output only the exit code reports the error; there is never a traceback."""
    ended = subprocess.run(
        ["sh", "-c", f'"$@" {command} {redirection}', "sh", *_PLEXUS],
        capture_output=True,
        cwd=tmp_path,
        check=False,
    )
    assert b"Traceback" not in ended.stderr + ended.stdout
    assert (0 if command == "--help" else Exit.UNAVAILABLE) == ended.returncode


def test_the_desk_is_loaded_only_for_the_desk() -> None:
    """The other commands start without loading the emulator's and the containers' code."""
    heavy = ("dns", "postal_plexus.desk", "postal_plexus.deliver", "boto3", "pulumi", "ministack")
    assert not set(heavy) & loaded_by("postal_plexus.cli.main")


def _await_reading(pid: int) -> None:
    """Wait until the process sleeps in a read of its standard input, a pipe."""
    state = Path(f"/proc/{pid}/wchan")
    if not state.exists():
        pytest.skip("needs Linux's /proc")
    for _ in range(2000):
        if "pipe" in state.read_text():
            return
        signal.sigtimedwait([], 0.01)
    pytest.fail("plexus password did not come to read its standard input")
