"""A claim in the docs names the test that holds it, and that test is there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TESTS = tuple((REPOSITORY / "tests").rglob("test_*.py"))
DOCS = sorted((REPOSITORY / "docs").glob("*.md"))
NAMED = re.compile(r"`((?:[\w/]+/)?test_\w+(?:\.py)?)`")


@cache
def known_tests() -> frozenset[str]:
    """Return all names that a page may give a test: its function's, its file's, its file's path."""
    nodes = (node for file in TESTS for node in ast.parse(file.read_text()).body)
    functions = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    paths = {file.relative_to(REPOSITORY).as_posix() for file in TESTS}
    return frozenset(functions | paths | {file.name for file in TESTS})


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_the_tests_that_a_page_names_are_there(page: Path) -> None:
    """Functions by their name; files by their name, or by their path in the repository."""
    assert set() == set(NAMED.findall(page.read_text())) - known_tests()


def test_each_refusal_of_the_security_page_has_a_test() -> None:
    """No row of the table of refusals is without one."""
    section = (REPOSITORY / "docs/security.md").read_text().partition("## What is refused")[2]
    table = section.partition("\n## ")[0].split("|---|---|---|\n")[1].partition("\n\n")[0]
    rows = table.splitlines()
    assert len(rows) > 15
    assert [] == [row for row in rows if not NAMED.search(row.split("|")[3])]


LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)")


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {word.replace(" ", "-") for word in words}


PAGES = [*DOCS, REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    """To a file of the repository, and to a heading of that page if an anchor is given."""
    for name, anchor in LINK.findall(page.read_text()):
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{name} does not exist"
        assert not anchor or anchor in anchors(target), f"{name}#{anchor} does not exist"
