"""`plexus app-passwords`: its output, and that it changes only its own line of the file."""

import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from argon2 import PasswordHasher
from plexus_runs import Plexus
from stack_texts import HASH, SOUND

from postal_plexus.cli.exits import Exit
from postal_plexus.config.edit import with_app_password, without_app_password
from postal_plexus.config.problems import StackError

WRITTEN = f"""# who we are
config:
  aws:region: us-east-1
  postal-plexus:domains: [example.org]
  postal-plexus:mailboxes:
    # the boss
    - address: Ann@example.org   # since 2020
      password-hash: "{HASH}"
      app-passwords:
        phone: "{HASH}"   # the blue one
        # lent to ben
        laptop: {{secure: v1:abc}}
    - password-hash: "{HASH}"
      address: ben@example.org
  postal-plexus:log-days: 30
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Write a stack file in a person's style, readable only by its owner."""
    path = tmp_path / "Pulumi.main.yaml"
    path.write_text(WRITTEN, encoding="utf-8")
    path.chmod(0o640)
    return path


def test_list(plexus: Plexus, file: Path) -> None:
    """It lists each mailbox with the names of its app passwords, also encrypted ones, without hashes."""
    expected = "ann@example.org\n  phone\n  laptop\nben@example.org\n"
    assert expected == plexus("app-passwords", "list", "--stack-file", file).out
    one = plexus("app-passwords", "list", "BEN@example.org", "--stack-file", file)
    assert "ben@example.org\n" == one.out


def test_list_with_last_use(plexus: Plexus, file: Path, tmp_path: Path) -> None:
    """The output of `logins` is joined by user and name; the newest use of each counts."""
    logins = tmp_path / "logins"
    logins.write_text(
        "ann@example.org main 2026-11-24T13:20:00Z imap 192.0.2.9\n"
        "ann@example.org phone 2026-11-24T13:10:00Z imap 192.0.2.1\n"
        "ann@example.org phone 2026-11-20T13:10:00Z smtp 192.0.2.2\n"
        "ben@example.org laptop 2026-11-24T13:00:00Z imap 192.0.2.3\n"
    )
    told = plexus("app-passwords", "list", "--logins", logins, "--stack-file", file)
    expected = (
        "ann@example.org\n"
        "  phone                last used 2026-11-24T13:10:00Z, imap from 192.0.2.1\n"
        "  laptop               not used in the last 90 days\n"
        "ben@example.org\n"
    )
    assert expected == told.out
    logins.write_text("Error: no container\n")
    told = plexus("app-passwords", "list", "--logins", logins, "--stack-file", file)
    assert (Exit.DATA, "") == (told.code, told.out)


def test_last_use_from_the_standard_input(file: Path) -> None:
    """`podman exec ... logins | plexus app-passwords list --logins -`."""
    done = subprocess.run(
        [sys.executable, "-m", "postal_plexus.cli", "app-passwords", "list"]
        + ["--logins=-", f"--stack-file={file}"],
        input="ann@example.org phone 2026-11-24T13:10:00Z imap 192.0.2.1\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert "phone                last used 2026-11-24T13:10:00Z" in done.stdout


def test_make_and_revoke(plexus: Plexus, file: Path) -> None:
    """An app password is created and revoked; then the file is the same, octet by octet."""
    told = plexus("app-passwords", "make", "ann@example.org", "tablet", "--stack-file", file)
    made = re.fullmatch(r"password: (([a-z2-9]{4}-){4}[a-z2-9]{4})\n", told.out)
    assert made
    assert "pulumi up" in told.err
    assert made[1] not in file.read_text()
    ann, _ = yaml.safe_load(file.read_text())["config"]["postal-plexus:mailboxes"]
    written = ann["app-passwords"]["tablet"].removeprefix("{ARGON2ID}")
    assert PasswordHasher().verify(written, made[1])
    assert ["tablet", "phone", "laptop"] == list(ann["app-passwords"])
    assert 0o640 == stat.S_IMODE(file.stat().st_mode)
    told = plexus("app-passwords", "revoke", "ann@example.org", "tablet", "--stack-file", file)
    assert (0, WRITTEN) == (told.code, file.read_text())


def test_the_first_and_the_last(plexus: Plexus, file: Path) -> None:
    """The heading is added with a mailbox's first app password and removed with its last."""
    for name in ("phone", "laptop"):
        plexus("app-passwords", "revoke", "ann@example.org", name, "--stack-file", file)
    kept = file.read_text()
    assert "app-passwords" not in kept
    for comment in ("# who we are", "# the boss", "# since 2020"):
        assert comment in kept
    told = plexus("app-passwords", "make", "ben@example.org", "no", "--stack-file", file)
    assert 0 == told.code
    expected = "ann@example.org\nben@example.org\n  no\n"
    assert expected == plexus("app-passwords", "list", "--stack-file", file).out
    plexus("app-passwords", "revoke", "ben@example.org", "no", "--stack-file", file)
    assert kept == file.read_text()


def test_an_address_in_another_script(plexus: Plexus, sound: Path) -> None:
    """A domain may be written in its own script."""
    told = plexus("app-passwords", "make", "ben@bücher.example", "phone", "--stack-file", sound)
    assert 0 == told.code
    told = plexus("app-passwords", "list", "ben@xn--bcher-kva.example", "--stack-file", sound)
    assert "ben@bücher.example\n  phone\n" == told.out
    plexus("app-passwords", "revoke", "ben@bücher.example", "phone", "--stack-file", sound)
    assert SOUND == sound.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("args", "code", "what"),
    [
        (("revoke", "ann@example.org", "fone"), Exit.NO_USER, "it has phone, laptop"),
        (("revoke", "zoe@example.org", "phone"), Exit.NO_USER, "no mailbox zoe@example.org"),
        (("make", "ann@example.org", "My Phone"), Exit.USAGE, "cannot name an app password"),
        (("make", "ann@example.org", "phone"), Exit.CONFIG, "already has an app password phone"),
        (("make", "ann", "phone"), Exit.USAGE, "the address 'ann'"),
    ],
)
def test_refusals(plexus: Plexus, file: Path, args: tuple[str, ...], code: Exit, what: str) -> None:
    """Each refusal is one line, and nothing is written."""
    told = plexus("app-passwords", *args, "--stack-file", file)
    assert (code, "") == (told.code, told.out)
    assert what in told.err
    assert WRITTEN == file.read_text()


@pytest.mark.parametrize(
    "mailboxes",
    [
        "[{address: ann@example.org, app-passwords: {phone: x}}]",
        "\n  - {address: ann@example.org, app-passwords: {phone: x}}",
        "\n  - address: ann@example.org\n    app-passwords: {phone: x, laptop: y}",
    ],
)
def test_between_braces(mailboxes: str) -> None:
    """App passwords between braces can be added and removed, with their heading."""
    text = f"config:\n  postal-plexus:mailboxes: {mailboxes}\n"
    more = with_app_password(text, "ann@example.org", "tablet", HASH)
    assert text == without_app_password(more, "ann@example.org", "tablet")
    less = without_app_password(text, "ann@example.org", "phone")
    assert ("laptop" in text) == ("app-passwords" in less)
    assert yaml.safe_load(less)["config"]["postal-plexus:mailboxes"][0]["address"]


def test_what_cannot_be_edited_is_left_alone() -> None:
    """A line shared by an anchor belongs to two mailboxes, so it has to be edited by hand."""
    text = """config:
  postal-plexus:mailboxes:
  - address: ann@example.org
    app-passwords: &apps
      phone: x
  - address: ben@example.org
    app-passwords: *apps
"""
    with pytest.raises(StackError, match="by hand"):
        without_app_password(text, "ann@example.org", "phone")
    with pytest.raises(StackError, match="by hand"):
        with_app_password(text, "ann@example.org", "tablet", HASH)


def test_a_text_without_a_last_line_end() -> None:
    """The last line of a file may end without one."""
    head = "config:\n  postal-plexus:mailboxes:\n"
    text = f'{head}  - address: ann@example.org\n    password-hash: "{HASH}"'
    more = with_app_password(text, "ann@example.org", "phone", HASH)
    assert text == without_app_password(more, "ann@example.org", "phone")
    only = f"{head}  - address: ann@example.org"
    more = with_app_password(only, "ann@example.org", "phone", HASH)
    assert f"{only}\n" == without_app_password(more, "ann@example.org", "phone")
