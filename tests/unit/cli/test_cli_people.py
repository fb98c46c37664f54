"""`plexus mailbox` and `plexus alias`: what they write, print, and leave unchanged."""

import io
import json
import re
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml
from argon2 import PasswordHasher
from plexus_runs import Plexus
from stack_texts import HASH, SOUND

from postal_plexus.cli import stack_edits
from postal_plexus.cli.exits import CommandError, Exit
from postal_plexus.config.edit import with_alias

ANN, BEN = "ann@example.org", "ben@bücher.example"


class _Terminal(io.StringIO):
    """A standard input at which somebody sits."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch):
    """Answer questions at the terminal."""

    def answer(text: str) -> None:
        monkeypatch.setattr(sys, "stdin", _Terminal(text))

    return answer


def mailboxes(path: Path) -> list[dict[str, object]]:
    """Return the mailboxes of a stack file."""
    return yaml.safe_load(path.read_text("utf-8"))["config"]["postal-plexus:mailboxes"]


def test_add_with_a_password_made(plexus: Plexus, sound: Path) -> None:
    """The password is printed once, its hash is in the file, and `pulumi up`'s effect is described."""
    sound.chmod(0o640)
    told = plexus("mailbox", "add", "Carl@example.org", "--generate", "--stack-file", sound)
    assert 0 == told.code
    made = re.search(r"^password: (([a-z2-9]{4}-){4}[a-z2-9]{4})$", told.out, re.MULTILINE)
    assert made
    entry = mailboxes(sound)[-1]
    assert "Carl@example.org" == entry["address"]
    assert PasswordHasher().verify(str(entry["password-hash"]).removeprefix("{ARGON2ID}"), made[1])
    assert made[1] not in sound.read_text()
    assert f"{sound}: has the mailbox carl@example.org\n" in told.out
    assert "pulumi up: SES accepts mail to carl@example.org\n" in told.out
    assert 0o640 == stat.S_IMODE(sound.stat().st_mode)


def test_add_with_a_password_from_the_standard_input(sound: Path) -> None:
    """Piped in, it is neither printed nor in the file."""
    done = subprocess.run(
        [sys.executable, "-m", "postal_plexus.cli", "mailbox", "add", "carl@example.org"]
        + [f"--stack-file={sound}", "--quota-gb=50", "--json"],
        input="correct horse battery\n",
        capture_output=True,
        text=True,
        check=True,
    )
    document = json.loads(done.stdout)
    assert ["file", "done", "pulumi_up", "notes"] == list(document)
    assert "correct horse" not in done.stdout + done.stderr + sound.read_text()
    assert 50 == mailboxes(sound)[-1]["quota-gb"]


def test_rename(plexus: Plexus, sound: Path) -> None:
    """All references to the mailbox follow; its mail stays where it is."""
    told = plexus("mailbox", "rename", ANN, "anna@example.org", "--stack-file", sound, "--json")
    assert 0 == told.code
    config = yaml.safe_load(sound.read_text("utf-8"))["config"]
    assert {"address": "anna@example.org", "stored-as": ANN, "password-hash": HASH} == config[
        "postal-plexus:mailboxes"
    ][0]
    assert "anna+rest@example.org" == config["postal-plexus:domains"][1]["catch-all"]
    assert {"address": ANN, "destinations": ["anna@example.org"]} == config[
        "postal-plexus:aliases"
    ][-1]
    effects = json.loads(told.out)["pulumi_up"]
    assert "SES accepts mail to anna@example.org" in effects
    assert not any("refuses" in each for each in effects)
    plexus("mailbox", "rename", "anna@example.org", ANN, "--no-alias", "--stack-file", sound)
    assert "stored-as" not in sound.read_text("utf-8")


def test_remove_asks(plexus: Plexus, sound: Path, answers) -> None:
    """The question says what happens to the mail; without a yes nothing changes."""
    plexus("alias", "remove", "info@example.org", BEN, "--yes", "--stack-file", sound)
    before = sound.read_text("utf-8")
    answers("n\n")
    told = plexus("mailbox", "remove", BEN, "--stack-file", sound)
    assert (Exit.USAGE, before) == (told.code, sound.read_text("utf-8"))
    assert "stays on the file system, in /srv/mail/xn--bcher-kva.example/ben" in told.err
    answers("y\n")
    told = plexus("mailbox", "remove", BEN, "--stack-file", sound)
    assert 0 == told.code
    assert [ANN] == [each["address"] for each in mailboxes(sound)]


def test_remove_where_something_leads_there(plexus: Plexus, sound: Path) -> None:
    """It is refused with a list of the references, or removes all of them."""
    told = plexus("mailbox", "remove", ANN, "--yes", "--stack-file", sound)
    assert (Exit.CONFIG, SOUND) == (told.code, sound.read_text("utf-8"))
    assert "its catch-all 'ann+rest@example.org' is neither" in told.err
    assert "its destination 'ann@example.org' is neither" in told.err
    assert "--everywhere" in told.err
    told = plexus("mailbox", "remove", ANN, "--yes", "--everywhere", "--stack-file", sound)
    assert 0 == told.code
    assert "ann" not in sound.read_text("utf-8").replace(HASH, "")


def test_aliases(plexus: Plexus, sound: Path) -> None:
    """Aliases are added, get more destinations, lose some, and are removed."""
    told = plexus("alias", "add", "club@example.org", ANN, "--stack-file", sound)
    assert f"{sound}: club@example.org leads to ann@example.org\n" in told.out
    told = plexus("alias", "add", "club@example.org", "zoe@example.com", "--stack-file", sound)
    assert "club@example.org leads to ann@example.org, zoe@example.com\n" in told.out
    command = ("alias", "remove", "club@example.org")
    told = plexus(*command, ANN, "--yes", "--stack-file", sound)
    assert "club@example.org leads to zoe@example.com\n" in told.out
    told = plexus(*command, "zoe@example.com", "--yes", "--stack-file", sound)
    assert (Exit.CONFIG, True) == (told.code, "has no destinations" in told.err)
    told = plexus(*command, "--yes", "--stack-file", sound)
    assert "pulumi up: SES refuses mail to club@example.org\n" in told.out
    assert SOUND == sound.read_text("utf-8")


@pytest.mark.parametrize(
    ("args", "code", "what"),
    [
        (("mailbox", "add", "carl"), Exit.USAGE, "the address 'carl' has no @"),
        (("mailbox", "add", ANN, "--generate"), Exit.CONFIG, "already exists"),
        (("mailbox", "add", "info@example.org", "--generate"), Exit.CONFIG, "already exists"),
        (("mailbox", "add", "c@elsewhere.example", "--generate"), Exit.CONFIG, "is not among"),
        (("mailbox", "add", "c+x@example.org", "--generate"), Exit.CONFIG, "has a subaddress"),
        (
            ("mailbox", "add", "c@example.org", "--generate", "--quota-gb=nan"),
            Exit.USAGE,
            "from 0.1 to",
        ),
        (
            ("mailbox", "add", "c@example.org", "--generate", "--quota-gb=0"),
            Exit.USAGE,
            "from 0.1 to",
        ),
        (("mailbox", "rename", "zoe@example.org", "z@example.org"), Exit.NO_USER, "no mailbox zoe"),
        (("mailbox", "rename", ANN, "ANN@example.org"), Exit.USAGE, "already its address"),
        (("mailbox", "rename", ANN, BEN), Exit.CONFIG, "already exists"),
        (("mailbox", "remove", "zoe@example.org", "--yes"), Exit.NO_USER, "no mailbox zoe"),
        (("mailbox", "remove", "info@example.org", "--yes"), Exit.NO_USER, "no mailbox info"),
        (("mailbox", "remove", ANN, "--everywhere"), Exit.USAGE, "--yes"),
        (("alias", "remove", "infos@example.org", "--yes"), Exit.NO_USER, "no alias infos"),
        (("alias", "add", "a@example.org", "b@example.org"), Exit.CONFIG, "neither a mailbox nor"),
        (("alias", "add", "a@example.org", "b"), Exit.CONFIG, "has no @"),
        (("alias", "add", "info@example.org", ANN), Exit.CONFIG, "twice"),
        (("alias", "add", "a@example.org", "a@example.org"), Exit.CONFIG, "circle"),
    ],
)
def test_refusals(
    plexus: Plexus,
    sound: Path,
    args: tuple[str, ...],
    code: Exit,
    what: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each refusal is reported, and the file is unchanged."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    told = plexus(*args, "--stack-file", sound)
    assert (code, SOUND) == (told.code, sound.read_text("utf-8"))
    assert what in told.err
    assert "Traceback" not in told.err


def add(path: Path, plexus: Plexus) -> tuple[int, str]:
    """Add an alias; return the exit code and the error output."""
    told = plexus("alias", "add", "more@example.org", ANN, "--stack-file", path)
    return told.code, told.err


def test_line_ends_stay(plexus: Plexus, sound: Path) -> None:
    """CRLF line ends stay, line by line."""
    sound.write_bytes(SOUND.replace("\n", "\r\n").encode())
    assert 0 == add(sound, plexus)[0]
    content = sound.read_bytes()
    assert content.count(b"\r\n") == content.count(b"\n") == SOUND.count("\n") + 2
    plexus("alias", "remove", "more@example.org", "--yes", "--stack-file", sound)
    assert SOUND.replace("\n", "\r\n").encode() == sound.read_bytes()


def test_a_link_stays_one(plexus: Plexus, sound: Path, tmp_path: Path) -> None:
    """A link stays a link, and its target is edited."""
    link = tmp_path / "Pulumi.link.yaml"
    link.symlink_to(sound)
    assert 0 == add(link, plexus)[0]
    assert link.is_symlink()
    assert "more@example.org" in sound.read_text("utf-8")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (
            SOUND.replace(
                "config:", "config:\n  postal-plexus:spot: true\n  postal-plexus:spot: true"
            ),
            "occurs twice",
        ),
        (SOUND.replace("  aws:region", "\taws:region"), "line 3"),
        (SOUND.replace("aws:region: us-east-1", "aws:region: mars-1"), "mars-1"),
        ("config: [", "line 1"),
        ("", "has no config"),
    ],
)
def test_a_wrong_file(plexus: Plexus, sound: Path, content: str, what: str) -> None:
    """Mistakes are reported with their place, before anything is written."""
    sound.write_text(content, encoding="utf-8")
    code, told = add(sound, plexus)
    assert (Exit.CONFIG, content) == (code, sound.read_text("utf-8"))
    assert what in told


def test_files_that_cannot_be_used(plexus: Plexus, sound: Path, tmp_path: Path) -> None:
    """Read-only, missing and non-UTF-8 files give one line each, with the remedy."""
    sound.chmod(0o444)
    assert (Exit.NO_INPUT, True) == ((found := add(sound, plexus))[0], "chmod u+w" in found[1])
    assert (Exit.NO_INPUT, True) == (
        (found := add(tmp_path / "Pulumi.no.yaml", plexus))[0],
        "No such file" in found[1],
    )
    sound.chmod(0o644)
    sound.write_bytes(SOUND.encode("latin-1"))
    assert (Exit.CONFIG, True) == ((found := add(sound, plexus))[0], "is not UTF-8" in found[1])


def test_two_at_once(sound: Path) -> None:
    """Neither edit is lost."""

    def add_three(name: str) -> None:
        for number in range(3):
            address = f"{name}{number}@example.org"
            stack_edits.write(sound, lambda text, a=address: with_alias(text, a, [ANN]))

    threads = [threading.Thread(target=add_three, args=(name,)) for name in ("x", "y", "z")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    aliases = yaml.safe_load(sound.read_text("utf-8"))["config"]["postal-plexus:aliases"]
    assert 10 == len(aliases)


def test_another_program_meanwhile(sound: Path) -> None:
    """Changes that an editor saved meanwhile are not overwritten."""

    def edit(text: str) -> str:
        sound.write_text(SOUND + "# saved\n", encoding="utf-8")
        return with_alias(text, "more@example.org", [ANN])

    with pytest.raises(CommandError, match="by another program meanwhile"):
        stack_edits.write(sound, edit)
    assert SOUND + "# saved\n" == sound.read_text("utf-8")
    assert [sound] == list(sound.parent.iterdir())
