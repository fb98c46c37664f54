"""`plexus import` and `plexus export` refuse wrong arguments in one line, before anything runs."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
from plexus_runs import Plexus

from postal_plexus.cli import import_mail, main, system, tasks
from postal_plexus.cli.exits import CommandError
from postal_plexus.cli.importing import spelled_out
from postal_plexus.maintenance import codes
from postal_plexus.operations import moving_calendars
from postal_plexus.operations.system import AccessError, OperationError
from postal_plexus.operations.task import BusyError, RefusedError, TaskFailedError, TaskStoppedError

ANN, SOURCE = "ann@example.org", "imaps://imap.example.com"


def test_an_address_stands_for_the_command_that_brings_mail() -> None:
    """`plexus import ADDRESS` is `plexus import mail ADDRESS`; other words stay."""
    assert ["import", "mail", ANN, SOURCE] == spelled_out(["import", ANN, SOURCE])
    assert ["import", "mail", "--csv", "x"] == spelled_out(["import", "--csv", "x"])
    for words in (["import", "workmail-users"], ["import", "--help"], ["import"], ["export", ANN]):
        assert words == spelled_out(words)


def test_what_calendars_need_is_said_before_anything_runs(plexus: Plexus, tmp_path: Path) -> None:
    """A missing file, options that do not go together, and a stack without calendars."""
    ran = plexus("import", ANN, str(tmp_path / "none.ics"))
    assert (66, True) == (ran.code, f"{tmp_path}/none.ics" in ran.err)
    ran = plexus("export", ANN, "--calendar", "Family")
    assert (64, True) == (ran.code, "--to FILE" in ran.err)
    ran = plexus("export", ANN, "--calendars", "--format", "mbox")
    assert (64, True) == (ran.code, "not allowed with argument" in ran.err)
    with pytest.raises(OperationError, match="calendars: true"):
        moving_calendars.require(Namespace(parts={"maintenance": {"dovecot": "x"}}))


ENDS = [
    (RefusedError(codes.USAGE, "x"), 64),
    (RefusedError(codes.DATA, "x"), 65),
    (RefusedError(codes.NO_USER, "x"), 67),
    (RefusedError(codes.UNAVAILABLE, "x"), 69),
    (RefusedError(codes.FAULT, "x"), 69),
    (RefusedError(codes.NO_ROOM, "x"), 73),
    (RefusedError(codes.AGAIN, "x"), 75),
    (RefusedError(codes.REFUSED, "x"), 77),
    (RefusedError(codes.KILLED, "x"), 69),
    (RefusedError(codes.STOPPED, "x"), 69),
    (AccessError("x"), 77),
    (OperationError("x"), 69),
    (BusyError("x"), 69),
    (TaskFailedError("x"), 69),
    (TaskStoppedError("x"), 130),
]


@pytest.mark.parametrize(("error", "code"), ENDS)
def test_however_a_task_ends_its_command_has_the_documented_code(
    error: OperationError, code: int
) -> None:
    """All commands that use a stack convert exit codes by the same table."""

    @system.reported
    def run(_args: Namespace) -> int:
        raise error

    with pytest.raises(CommandError) as ended:
        run(Namespace())
    assert (code, ("plexus: x",)) == (ended.value.code, ended.value.lines)
    with pytest.raises(CommandError) as ended, tasks.ending("; again"):
        raise error
    assert code == ended.value.code
    docs = Path(__file__).parents[3].joinpath("docs/import-export.md").read_text()
    assert f"\n| {code} |" in docs


def test_every_code_of_a_task_has_one_of_a_command() -> None:
    """The table contains every code of a task."""
    own = {value for name, value in vars(codes).items() if name.isupper()}
    assert own == {error.code for error, _ in ENDS if isinstance(error, RefusedError)}


def test_a_csv_names_mailboxes_as_the_directory_has_them(tmp_path: Path) -> None:
    """In any case; an international domain in its encoded form."""
    path = tmp_path / "m.csv"
    path.write_text(
        f"address,source,user,password\nAnn@EXAMPLE.org,{SOURCE},,p\n"
        f"Jan@bu\u0308cher.example,{SOURCE},j,p\n",
        "utf-8",
    )
    args = Namespace(csv=path, address=None, source=None, user=None, password_file=None)
    orders = list(import_mail.orders(args))
    assert [ANN, "jan@xn--bcher-kva.example"] == [each.address for each in orders]
    assert ["Ann@EXAMPLE.org", "j"] == [each.user for each in orders]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["import", ANN], 64, "give ADDRESS and SOURCE"),
        (["import", ANN, SOURCE], 64, "--password-file"),
        (["import", ANN, SOURCE, "--password-file", "{}/none"], 66, "cannot be read"),
        (["import", ANN, SOURCE, "--password-file", "{}/p", "--folder", "x"], 64, "THEIRS=OURS"),
        (["import", "--csv", "{}/none.csv"], 66, "cannot be read"),
        (["import", "--csv", "{}/p"], 65, "must name the columns"),
        (["import", "--csv", "{}/lacking.csv"], 65, "line 2 lacks"),
        (["import", ANN, "--csv", "{}/p"], 64, "--csv names the mailboxes"),
        (["import", ANN, SOURCE, "--password-file", "{}/p"], 69, "no desk runs"),
        (["import", ANN, "{}/p", "--user", "x"], 64, "--password-file"),
        (["import", ANN, "{}/p"], 69, "no desk runs"),
        (["import", ANN, "--finish"], 69, "no desk runs"),
        (["import", "--csv", "{}/nothing.csv"], 65, "line 2 lacks"),
        (["import", "--csv", "{}/odd.csv"], 65, "line 3: the address 'a@' "),
        (["export", ANN, "--to", "{}/p"], 66, "already exists"),
        (["export", ANN], 69, "no desk runs"),
    ],
)
def test_what_is_wrong_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], code: int, text: str
) -> None:
    """With a documented exit code, and never the password."""
    (tmp_path / "p").write_text("pass word\n")
    (tmp_path / "lacking.csv").write_text("address,source,user,password\na@x.example,,,pass word\n")
    (tmp_path / "nothing.csv").write_text("address,source,user,password\na@x.example,,,\n")
    (tmp_path / "odd.csv").write_text(
        f"address,source,user,password\n{ANN},{SOURCE},,pass word\na@,{SOURCE},,pass word\n"
    )
    given = [each.format(tmp_path) for each in words]
    assert code == main.main([*given, "--desk", str(tmp_path / "desk")])
    said = capsys.readouterr().err
    assert text in said
    assert 1 == said.count("\n"), said
    assert "pass word" not in said
