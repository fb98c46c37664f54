"""What the docs tell a reader to type, to open or to set is there: commands, files, keys."""

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from postal_plexus.cli.main import main
from postal_plexus.config.model import AliasEntry, DomainEntry, Keys, MailboxEntry, People
from postal_plexus.config.reading import by_key

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [*sorted((REPOSITORY / "docs").glob("*.md")), REPOSITORY / "README.md"]
BLOCK = re.compile(r"^```\w*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TARGET = re.compile(r"(?:^|[;&(] ?)make ([a-z][a-z0-9-]*)")
PLEXUS = re.compile(r"(?:^|[|;] ?)(?:[.\w]*/)*plexus ([^`#>;&]+)")
OPTION = re.compile(r"--[a-z][a-z-]*")
QUEUE_ID = "4bZk2X0bz1z2K"
PATH = re.compile(
    r"(?:src|pulumi|containers|tests|tools|benchmarks|docs|awsdesk|deliver|config|mail)/[\w./-]+"
)
ROOTS = [REPOSITORY / folder for folder in (".", "src", "src/postal_plexus")]
# What a command writes, and what stands for several.
MADE = re.compile(r"pulumi/venv.*|mail/.*\.mbox|benchmarks/results/.*|containers/NAME/.*")
SETTING = re.compile(r".*(?<!:)postal-plexus:([a-z-]+)\b.*|([a-z-]+): \w+")
KEYS = {
    key for model in (Keys, People, DomainEntry, MailboxEntry, AliasEntry) for key in by_key(model)
}


def written(page: Path) -> Iterator[str]:
    """Yield each line of the page's code blocks, and each text between back quotes."""
    text = page.read_text()
    for block in BLOCK.findall(text):
        yield from block.replace("\\\n", " ").splitlines()
    yield from re.findall(r"`([^`\n]+)`", BLOCK.sub("", text))


def commands(page: Path) -> Iterator[tuple[str, ...]]:
    """Yield the words after `plexus` of each command; `add|remove` is two commands."""
    for found in filter(None, map(PLEXUS.search, written(page))):
        words = re.sub(r"[\[\]\"']|\.\.\.", "", found[1]).replace(" ID", f" {QUEUE_ID}").split()
        yield from product(*(word.split("|") for word in words))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_a_page_are_those_of_plexus(
    page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The help of each has its options; its subcommand and its example values are accepted."""
    for words in dict.fromkeys(commands(page)):
        assert main([*words, "--help"]) == 0, words
        known = OPTION.findall(capsys.readouterr().out)
        assert [] == [word for word in OPTION.findall(" ".join(words)) if word not in known]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_targets_of_a_page_are_in_the_makefile(page: Path) -> None:
    """`make NAME` as it stands in code."""
    known = re.findall(r"^([a-z][a-z0-9-]*):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    named = {target for line in written(page) for target in TARGET.findall(line)}
    assert set() == named - set(known)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    """By their path in the repository, or below a package."""
    named = {line for line in written(page) if PATH.fullmatch(line) and not MADE.fullmatch(line)}
    assert [] == [path for path in named if not any((root / path).exists() for root in ROOTS)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_keys_that_a_page_sets_are_keys_of_the_stack_file(page: Path) -> None:
    """`key: value` in code, with or without the project's name before it."""
    found = filter(None, map(SETTING.fullmatch, written(page)))
    assert set() == {one[1] or one[2] for one in found} - KEYS
