"""Every command without access to AWS ends with one line and a documented exit code.

`COMMANDS` has all of `plexus`; a new one without a place here fails. AWS is a server of this
process that refuses in AWS's own words.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import botocore.session
import pytest
from botocore.loaders import create_loader
from plexus_runs import Plexus, Ran
from refusing_aws import Refusal, serving, shut

from postal_plexus.cli import main
from postal_plexus.cli.exits import Exit

_LOADER = create_loader()
ANN = "ann@example.org"
SOURCE = "imaps://127.0.0.1:9"
# What needs a running stack, on AWS or on a desk: `{}` is a directory with a file `p`.
ON_A_STACK = {
    "mailbox list": "",
    "mailbox sessions": "",
    "mailbox kick": ANN,
    "mailbox quota": ANN,
    "import mail": f"{ANN} {SOURCE} --password-file {{}}/p",
    "import calendars": f"{ANN} {{}}/p.ics",
    "export": f"{ANN} --to {{}}/new.tar",
    "doctor": "",
    "dead-letters list": "",
    "dead-letters show": "1",
    "dead-letters deliver": "1",
    "dead-letters drop": "1 --yes",
    "replay": f"{ANN} --since 1d",
    "restore": ANN,
    "failover": "2 --yes",
    "queue list": "",
    "queue show": "4jcKRL6JlXzJmjb",
    "queue retry": "",
    "queue hold": "4jcKRL6JlXzJmjb",
    "queue release": "4jcKRL6JlXzJmjb",
    "queue drop": "4jcKRL6JlXzJmjb --yes",
    "reports": "",
    "operator-policy": "",
    "trace": ANN,
}
# What reads a stack file and no stack.
ON_A_FILE = {
    "check": "",
    "cost": "",
    "directory": ANN,
    "dns": "",
    "mailbox add": "new@example.org --generate",
    "mailbox rename": f"{ANN} new@example.org",
    "mailbox remove": f"{ANN} --yes",
    "alias add": f"new@example.org {ANN}",
    "alias remove": "new@example.org --yes",
    "move": f"{ANN} 1",
    "app-passwords list": "",
    "app-passwords make": f"{ANN} phone",
    "app-passwords revoke": f"{ANN} phone",
    "up": "--yes",
}
ELSEWHERE = {
    # The page outlives its questions (tests/unit/console); import workmail-users has no desk.
    *("console", "import workmail-users", "password"),
    # tests/unit/cli/test_cli_local.py
    *("local up", "local down", "local status", "local send", "local demo"),
}
COMMANDS = {*ON_A_STACK, *ON_A_FILE, *ELSEWHERE}


def leaves(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[str]:
    """Return the commands that a parser knows."""
    kind = argparse._SubParsersAction  # noqa: SLF001  argparse has no other way
    groups = [each for each in parser._actions if isinstance(each, kind)]  # noqa: SLF001
    if not groups:
        yield " ".join(words)
    for name, below in (item for group in groups for item in group.choices.items()):
        yield from leaves(below, (*words, name))


def test_every_command_is_here() -> None:
    """A new command must be added to this file's lists, and so to its tests."""
    assert set(leaves(main.parser())) == COMMANDS


@pytest.fixture(autouse=True)
def stranger(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Set up a machine without credentials, region and terminal."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "HOME": str(tmp_path),
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    # It has read the files of AWS's library, some megabytes, once for all commands.
    monkeypatch.setattr(botocore.session, "create_loader", lambda _path: _LOADER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    (tmp_path / "p").write_text("pass word\n")
    (tmp_path / "p.ics").write_text("BEGIN:VCALENDAR\nEND:VCALENDAR\n")
    return monkeypatch


@pytest.fixture
def known(stranger: pytest.MonkeyPatch) -> None:
    """Set up a machine with credentials."""
    stranger.setenv("AWS_ACCESS_KEY_ID", "AKIA0000000000000000")
    stranger.setenv("AWS_SECRET_ACCESS_KEY", "0" * 40)


def run(plexus: Plexus, name: str, tmp_path: Path, *more: str) -> Ran:
    words = {**ON_A_STACK, **ON_A_FILE, "import workmail-users": ""}[name]
    return plexus(*name.split(), *words.format(tmp_path).split(), *more)


def assert_one_line(ran: Ran, code: Exit, text: str) -> None:
    """Assert that standard output is empty and standard error has one line."""
    assert (code, "") == (ran.code, ran.out), ran.err
    assert text in ran.err
    assert 1 == ran.err.count("\n"), ran.err
    assert ran.err.startswith("plexus: ")
    assert "pass word" not in ran.err


def hosts_for(name: str) -> int:
    """Return how many hosts the stack of a command has: those are in test_cli_hosts.py."""
    return 2 if name == "failover" else 1


ON_AWS = [*ON_A_STACK, "import workmail-users"]
# These stand for all where the same lines answer: each command's own are walked by ON_AWS.
FOR_ALL = ["queue list", "operator-policy", "import workmail-users"]


@pytest.mark.parametrize("name", ON_AWS)
def test_no_credentials(plexus: Plexus, tmp_path: Path, name: str) -> None:
    """With --json nothing is printed either."""
    ran = run(plexus, name, tmp_path, "--json")
    assert_one_line(ran, Exit.NO_PERMISSION, "AWS_PROFILE")


@pytest.mark.parametrize("name", FOR_ALL)
@pytest.mark.usefixtures("known")
def test_expired_credentials(
    plexus: Plexus, stranger: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """Each command ends with 77 and one line that says to log in again."""
    with serving(Refusal("ExpiredTokenException")) as url:
        stranger.setenv("AWS_ENDPOINT_URL", url)
        ran = run(plexus, name, tmp_path)
    assert_one_line(ran, Exit.NO_PERMISSION, "have expired; log in again")


@pytest.mark.parametrize(
    ("word", "text", "code"),
    [
        ("UnrecognizedClientException", "does not know these credentials", Exit.NO_PERMISSION),
        ("AccessDeniedException", "AWS refuses SSM GetParameter", Exit.NO_PERMISSION),
        ("ParameterNotFound", "there is no stack 'main' in us-east-1", Exit.UNAVAILABLE),
        ("InternalFailure", "InternalFailure", Exit.UNAVAILABLE),
    ],
)
@pytest.mark.usefixtures("known")
def test_a_stack_that_cannot_be_found(
    plexus: Plexus, stranger: pytest.MonkeyPatch, tmp_path: Path, word: str, text: str, code: Exit
) -> None:
    """All commands read its parts in the same way; `queue list` represents them."""
    with serving(Refusal(word)) as url:
        stranger.setenv("AWS_ENDPOINT_URL", url)
        assert_one_line(run(plexus, "queue list", tmp_path), code, text)


@pytest.mark.parametrize("name", ON_A_STACK)
@pytest.mark.usefixtures("known")
def test_rights_that_end_at_finding_the_stack(
    plexus: Plexus, stranger: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """The missing permission is named; doctor continues, and names it for each check."""
    with serving(Refusal(knows_the_stack=True, hosts=hosts_for(name))) as url:
        stranger.setenv("AWS_ENDPOINT_URL", url)
        ran = run(plexus, name, tmp_path)
    if name == "doctor":
        assert ran.out.count("AWS refuses ") > 10
        assert (Exit.CRITICAL, "") == (ran.code, ran.err)  # IMAP does not answer there
    else:
        assert_one_line(ran, Exit.NO_PERMISSION, "ask for that permission")


@pytest.mark.parametrize("name", FOR_ALL)
@pytest.mark.usefixtures("known")
def test_no_way_to_aws(
    plexus: Plexus, stranger: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """Each command ends with 69 and one line when nothing listens at the endpoint."""
    stranger.setenv("AWS_ENDPOINT_URL", shut())
    assert_one_line(run(plexus, name, tmp_path), Exit.UNAVAILABLE, "cannot be reached")


@pytest.mark.parametrize("name", ON_AWS)
@pytest.mark.usefixtures("known")
def test_control_c(plexus: Plexus, stranger: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    """Control-C during a call to AWS prints nothing but a line end."""
    refusal = Refusal(knows_the_stack=True, interrupts=True, hosts=hosts_for(name))
    with serving(refusal) as url:
        stranger.setenv("AWS_ENDPOINT_URL", url)
        ran = run(plexus, name, tmp_path)
    assert (Exit.INTERRUPTED, "\n") == (ran.code, ran.err)


@pytest.mark.parametrize(
    ("variables", "more", "code", "text"),
    [
        ({"AWS_PROFILE": "nobody"}, [], Exit.NO_PERMISSION, "see `aws configure list-profiles`"),
        ({"AWS_DEFAULT_REGION": None}, [], Exit.UNAVAILABLE, "no AWS region is set"),
        ({"AWS_DEFAULT_REGION": ""}, [], Exit.UNAVAILABLE, "check AWS_REGION"),
        ({"AWS_ENDPOINT_URL": "here"}, [], Exit.UNAVAILABLE, "check AWS_REGION and AWS_ENDPOINT"),
        ({}, ["--region", "no such region"], Exit.UNAVAILABLE, "no such region"),
    ],
    ids=["profile", "no region", "empty region", "endpoint", "region"],
)
@pytest.mark.parametrize("name", FOR_ALL)
@pytest.mark.usefixtures("known")
def test_a_profile_or_region_that_is_none(  # noqa: PLR0917
    plexus: Plexus,
    stranger: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
    variables: dict[str, str | None],
    more: list[str],
    code: Exit,
    text: str,
) -> None:
    """Each command names the setting to correct, in one line."""
    for variable, value in variables.items():
        if value is None:
            stranger.delenv(variable)
        else:
            stranger.setenv(variable, value)
    assert_one_line(run(plexus, name, tmp_path, *more), code, text)


@pytest.mark.parametrize("name", [*ON_A_STACK, "console"])
def test_a_desk_that_is_down(plexus: Plexus, tmp_path: Path, name: str) -> None:
    """Each command ends with 69 and the command that starts the desk."""
    words = ON_A_STACK.get(name, "").format(tmp_path).split()
    ran = plexus(*name.split(), *words, "--desk", str(tmp_path / "desk"))
    assert_one_line(ran, Exit.UNAVAILABLE, "plexus local up")


@pytest.mark.parametrize("name", ON_A_FILE)
def test_a_stack_file_that_is_missing(plexus: Plexus, tmp_path: Path, name: str) -> None:
    """Each command ends with 66 and one line that names the file."""
    ran = run(plexus, name, tmp_path, "--stack-file", str(tmp_path / "none.yaml"))
    assert (Exit.NO_INPUT, "") == (ran.code, ran.out)
    assert 1 == ran.err.count("\n"), ran.err
    assert "none.yaml" in ran.err


@pytest.mark.parametrize("word", ["no-address", "a b@example.org", "ann@", "\x1b[31m@x.example"])
@pytest.mark.parametrize(
    "name",
    [
        *("mailbox kick", "mailbox quota", "import mail", "import calendars", "export", "replay"),
        "restore",
    ],
)
def test_an_address_that_is_none(plexus: Plexus, tmp_path: Path, name: str, word: str) -> None:
    """An invalid address is reported, with escapes, before AWS is called, for which there are no credentials."""
    given = ON_A_STACK[name].format(tmp_path).split()
    ran = plexus(*name.split(), *(word if each == ANN else each for each in given))
    assert_one_line(ran, Exit.USAGE, f"the address {word!r} ")


@pytest.mark.parametrize("name", [name for name, given in ON_A_STACK.items() if "--yes" in given])
@pytest.mark.usefixtures("known")
def test_nobody_to_ask(plexus: Plexus, stranger: pytest.MonkeyPatch, name: str) -> None:
    """Without a terminal nothing is dropped."""
    given = ON_A_STACK[name].removesuffix("--yes").split()
    with serving(refusal := Refusal(knows_the_stack=True, hosts=hosts_for(name))) as url:
        stranger.setenv("AWS_ENDPOINT_URL", url)
        ran = plexus(*name.split(), *given)
    assert ran.code in {Exit.USAGE, Exit.NO_PERMISSION}
    assert not [each for each in refusal.asked if "Delete" in each or "RunTask" in each]
