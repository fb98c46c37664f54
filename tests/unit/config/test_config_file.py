"""A Pulumi stack file's text: what Pulumi would give the program, and what YAML would hide."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postal_plexus.config.file import SEALED_HASH, read_stack_file
from postal_plexus.config.problems import StackError
from postal_plexus.directory.password_hash import fault_of
from stack_mistakes import HASH

STACK = f"""
encryptionsalt: v1:abc
config:
  aws:region: us-east-1
  postal-plexus:domains:
    - example.org
  postal-plexus:mailboxes:
    - address: ann@example.org
      password-hash:
        secure: v1:hKJ/o1yV
    - address: ben@example.org
      password-hash: "{HASH}"
  postal-plexus:aliases: '[{{"address": "info@example.org", "destinations": ["ann@example.org"]}}]'
"""


def test_a_stack_file() -> None:
    """All settings come under their full keys, JSON in a text is read, a sealed hash is filled."""
    stack = read_stack_file(STACK)
    expected = {
        "aws:region": "us-east-1",
        "postal-plexus:domains": ["example.org"],
        "postal-plexus:mailboxes": [
            {"address": "ann@example.org", "password-hash": SEALED_HASH},
            {"address": "ben@example.org", "password-hash": HASH},
        ],
        "postal-plexus:aliases": [
            {"address": "info@example.org", "destinations": ["ann@example.org"]}
        ],
    }
    assert expected == stack.settings
    assert 1 == stack.sealed_hashes
    assert ("ann@example.org",) == stack.directory().resolve("info@example.org").mailboxes


def test_the_sealed_hash_is_one_that_dovecot_could_read() -> None:
    """It stands where a hash is expected, so it has a hash's form."""
    assert fault_of(SEALED_HASH, "ann@example.org") is None


@pytest.mark.parametrize(
    ("text", "place", "mentioned"),
    [
        ("", "", ("config:", "postal-plexus:domains")),
        ("- 1", "", ("config:", "postal-plexus:domains")),
        ("config:", "config", ("a mapping", "postal-plexus:domains")),
        ("config:\n  a:b: [", "line 2, column 9", ("Correct the YAML there",)),
        ("config:\n\ta:b: 1", "line 2, column 1", ("Correct the YAML there",)),
        (
            "config:\n  postal-plexus:mailboxes: []\n  a:b: 1\n  postal-plexus:mailboxes: []",
            "line 4, column 3",
            ("'postal-plexus:mailboxes'", "twice", "Keep one"),
        ),
        (
            "config:\n  a:b:\n  - address: x\n    address: y",
            "line 4, column 5",
            ("'address'", "twice", "Keep one"),
        ),
        (
            "config:\n  a:b: !!python/object:os.system x",
            "line 2, column 8",
            ("os.system", "Correct the YAML there"),
        ),
        ("confg: {}\nconfig: {}", "confg", ("Did you mean config?",)),
        ("config:\n  domains: []", "domains", ("Write postal-plexus:domains",)),
        (
            "config:\n  postal_plexus:domains: []",
            "postal_plexus:domains",
            ("Write postal-plexus:domains",),
        ),
        (
            "config:\n  postal-plexus:mailboxes:\n    secure: v1:abc",
            "postal-plexus:mailboxes",
            (
                "secret",
                "pulumi config set --secret --path 'postal-plexus:mailboxes[0].password-hash'",
            ),
        ),
    ],
)
def test_a_broken_file(text: str, place: str, mentioned: tuple[str, ...]) -> None:
    """A problem names its line or its key, and the kind of remedy."""
    with pytest.raises(StackError) as caught:
        read_stack_file(text)
    (problem,) = caught.value.problems
    assert place == problem.key
    assert [] == [each for each in mentioned if each not in f"{problem.what}. {problem.remedy}"]


@pytest.mark.parametrize(
    "text", ["[" * 1500, "{a: " * 1500, "- " * 50_000, "config: \0", "config:\n a:b: " + "1" * 5000]
)
def test_what_yaml_itself_cannot_bear(text: str) -> None:
    """Deep nesting, control characters and endless numbers are reported as one problem."""
    with pytest.raises(StackError, match="cannot be read as YAML"):
        read_stack_file(text)


def test_a_secret_elsewhere_is_told_as_what_it_is() -> None:
    """A secret where no hash is expected cannot be used; it is a mapping, not a text."""
    text = STACK.replace("address: ben@example.org", "address: {secure: v1:abc}")
    with pytest.raises(StackError, match="entry 2: its address .*mapping"):
        read_stack_file(text).directory()


def test_bytes() -> None:
    """Bytes are accepted too; a problem names the line that is not UTF-8."""
    assert read_stack_file(STACK) == read_stack_file(STACK.encode())
    with pytest.raises(StackError, match="^line 2: .*UTF-8"):
        read_stack_file(b"config:\n  a:b: b\xfccher.example\n")


def test_text_that_only_looks_like_json_stays_text() -> None:
    """What Pulumi could not read as JSON is left to those who know what it should be."""
    stack = read_stack_file("config:\n  postal-plexus:domains: '[example.org'\n")
    assert "[example.org" == stack.settings["postal-plexus:domains"]


@given(st.text())
def test_any_text_is_a_stack_file_or_problems(text: str) -> None:
    """Whatever the file holds, nothing else than StackError comes of it."""
    with contextlib.suppress(StackError):
        read_stack_file(text)
    with pytest.raises(StackError):
        read_stack_file(f"config:\n  postal-plexus:domains: {text}\n").directory()
