"""`plexus password`: read without echo, hashed for Dovecot, never on a command line."""

import os
import pty
import re
import subprocess
import sys

import pytest
import yaml
from argon2 import PasswordHasher
from plexus_runs import Plexus

from postal_plexus.cli.exits import Exit
from postal_plexus.directory.password_hash import fault_of

_PLEXUS = (sys.executable, "-m", "postal_plexus.cli", "password")
_PASSWORD = "correct horse bättery"


def given(text: bytes, *args: str) -> subprocess.CompletedProcess[bytes]:
    """Run `plexus password` with the password on its standard input."""
    return subprocess.run([*_PLEXUS, *args], input=text, capture_output=True, check=False)


def verify(password_hash: str, password: str) -> bool:
    """Return whether argon2 verifies the password, and the directory accepts the hash."""
    assert fault_of(password_hash, "ann@example.org") is None
    return PasswordHasher().verify(password_hash.removeprefix("{ARGON2ID}"), password)


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_from_a_pipe(ending: bytes) -> None:
    """Only the hash is printed, that of the line without its end."""
    ended = given(_PASSWORD.encode() + ending)
    assert (0, b"") == (ended.returncode, ended.stderr)
    assert verify(ended.stdout.decode().removesuffix("\n"), _PASSWORD)


def test_an_entry_for_the_stack_file() -> None:
    """With an address, the output can be pasted under postal-plexus:mailboxes."""
    ended = given(_PASSWORD.encode(), "o'brien@bücher.example")
    (entry,) = yaml.safe_load(ended.stdout)
    assert ["address", "password-hash"] == list(entry)
    assert "o'brien@bücher.example" == entry["address"]
    assert verify(entry["password-hash"], _PASSWORD)


def test_generate(plexus: Plexus) -> None:
    """Each generated password is different, and is printed with its hash."""
    told = [plexus("password", "--generate") for _ in range(2)]
    made = [yaml.safe_load(each.out) for each in told]
    for each in made:
        assert re.fullmatch(r"([a-z2-9]{4}-){4}[a-z2-9]{4}", each["password"])
        assert verify(each["password-hash"], each["password"])
    assert made[0]["password"] != made[1]["password"]


def test_an_app_password(plexus: Plexus) -> None:
    """A random password is printed with its line for the mailbox's entry."""
    told = plexus("password", "ann@example.org", "--app", "phone").out
    first, _, rest = told.partition("\n")
    password = first.removeprefix("password: ")
    assert re.fullmatch(r"([a-z2-9]{4}-){4}[a-z2-9]{4}", password)
    (entry,) = yaml.safe_load(rest)
    assert ["address", "app-passwords"] == list(entry)
    assert verify(entry["app-passwords"]["phone"], password)
    bare = yaml.safe_load(plexus("password", "--app", "no").out)
    assert verify(bare["app-passwords"]["no"], bare["password"])


@pytest.mark.parametrize("name", ["main", "My Phone", "", "-x"])
def test_a_wrong_app_name(name: str) -> None:
    """A name that the stack file would refuse is refused before a password is generated."""
    ended = given(b"", f"--app={name}")
    assert (Exit.USAGE, b"") == (ended.returncode, ended.stdout)
    assert b"cannot name an app password" in ended.stderr


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"", "at least 12"),
        (b"hunter2\n", "at least 12"),
        (b"x" * 257, "at most 256"),
        (b"correct horse\nbattery", "more than one line"),
        (b"correct horse\0battery", "cannot be typed"),
        (b"correct horse \xff", "is not UTF-8"),
    ],
)
def test_refused(text: bytes, what: str) -> None:
    """An unsuitable password is refused with 65, and not printed."""
    ended = given(text)
    assert (Exit.DATA, b"") == (ended.returncode, ended.stdout)
    assert what in ended.stderr.decode()
    assert "hunter2" not in ended.stderr.decode()


def test_a_wrong_address() -> None:
    """An invalid address is reported before a password is asked for."""
    ended = given(b"", "ann")
    assert Exit.USAGE == ended.returncode
    assert b"the address 'ann' has no @" in ended.stderr


@pytest.mark.parametrize(
    ("second", "code", "seen"),
    [(_PASSWORD, 0, "{ARGON2ID}"), ("something else", Exit.DATA, "the two passwords differ")],
)
def test_from_a_terminal(second: str, code: int, seen: str) -> None:
    """On a terminal the password is asked for twice, without an echo."""
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, _PLEXUS)
    shown = _until(terminal, b"Password: ")
    os.write(terminal, f"{_PASSWORD}\n".encode())
    shown += _until(terminal, b"Once more: ")
    os.write(terminal, f"{second}\n".encode())
    shown += _until(terminal, None)
    os.close(terminal)
    assert code == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert seen in shown.decode()
    assert _PASSWORD not in shown.decode()


def _until(terminal: int, prompt: bytes | None) -> bytes:
    """Return the terminal's output up to a prompt, or to the end."""
    shown = b""
    while prompt is None or not shown.endswith(prompt):
        try:
            part = os.read(terminal, 1024)
        except OSError:  # Linux: EIO when the other side has gone
            part = b""
        if not part:
            assert prompt is None, f"ended with {shown!r} before {prompt!r}"
            return shown
        shown += part
    return shown
