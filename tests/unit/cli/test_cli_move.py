"""`plexus move`: what it writes and prints, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from plexus_runs import Plexus
from stack_texts import SOUND

from postal_plexus.cli.exits import Exit

TWO = SOUND.replace("config:\n", "config:  # ours\n  postal-plexus:hosts: 2\n", 1)


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A stack file of two hosts."""
    path = tmp_path / "Pulumi.two.yaml"
    path.write_text(TWO, "utf-8")
    return path


def entries(path: Path, key: str) -> list[object]:
    return yaml.safe_load(path.read_text("utf-8"))["config"][f"postal-plexus:{key}"]


def test_a_mailbox_there_and_back(plexus: Plexus, two: Path) -> None:
    """Only its `host` changes; the rest of the file stays, and who moves is printed."""
    told = plexus("move", "Ann@example.org", "2", "--stack-file", two)
    assert 0 == told.code
    assert "pulumi up: ann@example.org moves from host 1 to host 2\n" in told.out
    assert [2, None] == [dict(each).get("host") for each in entries(two, "mailboxes")]
    text = two.read_text("utf-8")
    assert TWO == text.replace("      host: 2\n", "")
    told = plexus("move", "ann@example.org", "1", "--json", "--stack-file", two)
    assert [{"address": "ann@example.org", "from": 2, "to": 1}] == json.loads(told.out)["moves"]
    told = plexus("move", "ann@example.org", "1", "--stack-file", two)
    assert 0 == told.code
    assert "no mailbox moves" in told.out


@pytest.mark.parametrize(
    ("domain", "address"),
    [("EXAMPLE.org", "ann@example.org"), ("bücher.example", "ben@bücher.example")],
)
def test_a_domain_takes_its_mailboxes_along(
    plexus: Plexus, two: Path, domain: str, address: str
) -> None:
    """Whether its entry is a name or has keys; a mailbox with a host of its own stays."""
    told = plexus("move", domain, "2", "--stack-file", two)
    assert 0 == told.code
    assert f"{address} moves from host 1 to host 2" in told.out
    assert 1 == told.out.count("moves from")
    plexus("move", address, "2", "--stack-file", two)
    told = plexus("move", domain, "1", "--stack-file", two)
    assert "no mailbox moves" in told.out


@pytest.mark.parametrize(
    ("what", "host", "code", "words"),
    [
        ("zoe@example.org", "2", Exit.NO_USER, "has no mailbox zoe@example.org"),
        ("info@example.org", "2", Exit.NO_USER, "has no mailbox info@example.org"),
        ("example.com", "2", Exit.NO_USER, "has no domain example.com"),
        ("", "2", Exit.NO_USER, "has no domain"),
        ("ann@example.org", "3", Exit.CONFIG, "host"),
        ("ann@example.org", "0", Exit.USAGE, "not the number of a host"),
        ("ann@example.org", "two", Exit.USAGE, "not the number of a host"),
    ],
)
def test_what_cannot_be_changes_nothing(
    plexus: Plexus, two: Path, what: str, host: str, code: int, words: str
) -> None:
    """An unknown mailbox or domain, a host that the stack does not have, no number."""
    told = plexus("move", what, host, "--stack-file", two)
    assert code == told.code
    assert words in told.err
    assert TWO == two.read_text("utf-8")
