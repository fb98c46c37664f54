"""`plexus check` prints one line for a valid stack file, and one per problem for a wrong one."""

from pathlib import Path

import pytest
from plexus_runs import Plexus
from stack_texts import SOUND

from postal_plexus.cli.exits import Exit


def test_in_order(plexus: Plexus, sound: Path) -> None:
    """One line summarizes the file, and names what could not be checked."""
    told = plexus("check", "--stack-file", sound)
    expected = (
        f"{sound}: in order: 2 domains, 2 mailboxes, 1 alias, 1 catch-all; "
        "1 password hash encrypted by Pulumi, not checked\n"
    )
    assert (0, expected, "") == (told.code, told.out, told.err)


def test_what_is_still_the_templates(plexus: Plexus) -> None:
    """The template is valid, but with its hashes nobody can log in; a note says so."""
    template = Path(__file__).parents[3] / "pulumi" / "Pulumi.prod.yaml"
    told = plexus("check", "--stack-file", template)
    assert 0 == told.code
    assert told.out.endswith(
        "; 2 password hashes are the template's, and nobody can log in with that: "
        "use plexus password\n"
    )


def test_wrong(plexus: Plexus, wrong: Path) -> None:
    """Every problem has file, key, entry, text and remedy; the exit code is 78."""
    told = plexus("check", "--stack-file", wrong)
    assert (Exit.CONFIG, "") == (told.code, told.out)
    misspelled, plain = told.err.splitlines()
    assert misspelled.startswith(f"{wrong}: postal-plexus:mailbox: ")
    assert misspelled.endswith("Did you mean mailboxes?")
    assert plain.startswith(f"{wrong}: postal-plexus:mailboxes: entry 1 (ann@example.org): ")
    assert plain.endswith("plexus password ann@example.org")


def test_broken_yaml(plexus: Plexus, tmp_path: Path) -> None:
    """Broken YAML is reported with its line."""
    path = tmp_path / "Pulumi.broken.yaml"
    path.write_text("config:\n\taws:region: x\n")
    told = plexus("check", "--stack-file", path)
    assert Exit.CONFIG == told.code
    assert told.err.startswith(f"{path}: line 2, column 1: ")


def test_not_utf_8(plexus: Plexus, tmp_path: Path) -> None:
    """A file in another encoding is reported with the line."""
    path = tmp_path / "Pulumi.latin.yaml"
    path.write_bytes("config:\n  a:b: bücher.example\n".encode("latin-1"))
    told = plexus("check", "--stack-file", path)
    assert (Exit.CONFIG, f"{path}: line 2: is not UTF-8. Save the file as UTF-8.\n") == (
        told.code,
        told.err,
    )


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_no_such_file(plexus: Plexus, tmp_path: Path, name: str) -> None:
    """An unreadable file ends with 66 and the reason."""
    told = plexus("check", "--stack-file", tmp_path / name)
    assert Exit.NO_INPUT == told.code
    assert told.err.startswith(f"{tmp_path / name}: cannot be read (")


def test_the_only_stack_file_is_meant(
    plexus: Plexus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an option, the only stack file here or in pulumi/ is checked; otherwise one must be named."""
    monkeypatch.chdir(tmp_path)
    told = plexus("check")
    assert (Exit.NO_INPUT, "plexus: there is no Pulumi.*.yaml here or in pulumi/; name one: ") == (
        told.code,
        told.err.removesuffix("--stack-file FILE\n"),
    )

    (tmp_path / "pulumi").mkdir()
    (tmp_path / "pulumi" / "Pulumi.yaml").write_text("name: postal-plexus\n")
    (tmp_path / "pulumi" / "Pulumi.prod.yaml").write_text(SOUND, encoding="utf-8")
    told = plexus("check")
    assert (0, True) == (told.code, told.out.startswith("pulumi/Pulumi.prod.yaml: in order: "))

    (tmp_path / "Pulumi.test.yaml").write_text(SOUND, encoding="utf-8")
    told = plexus("check")
    assert Exit.NO_INPUT == told.code
    assert "name one of Pulumi.test.yaml, pulumi/Pulumi.prod.yaml\n" in told.err


def test_the_templates_of_the_checkout_can_be_read(plexus: Plexus) -> None:
    """The shipped stack files contain no key that `check` does not know."""
    checkout = Path(__file__).parents[3]
    shipped = [
        *checkout.glob("pulumi/Pulumi.*.yaml"),
        *checkout.glob("src/postal_plexus/desk/stack.yaml"),
    ]
    assert shipped
    for path in shipped:
        assert "is not a key" not in plexus("check", "--stack-file", path).err
