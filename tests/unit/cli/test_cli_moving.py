"""`plexus import` and `plexus export`: what is refused before anything runs, in one line each."""

from __future__ import annotations

from pathlib import Path

import pytest

from postal_plexus.cli import main
from postal_plexus.cli.importing import spelled_out

ANN, SOURCE = "ann@example.org", "imaps://imap.example.com"


def test_an_address_stands_for_the_command_that_brings_mail() -> None:
    assert ["import", "mail", ANN, SOURCE] == spelled_out(["import", ANN, SOURCE])
    assert ["import", "mail", "--csv", "x"] == spelled_out(["import", "--csv", "x"])
    for words in (["import", "workmail-users"], ["import", "--help"], ["import"], ["export", ANN]):
        assert words == spelled_out(words)


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
    given = [each.format(tmp_path) for each in words]
    assert code == main.main([*given, "--desk", str(tmp_path / "desk")])
    said = capsys.readouterr().err
    assert text in said
    assert 1 == said.count("\n"), said
    assert "pass word" not in said
