"""What a mailbox's entry may have besides address and password: what is read, what is refused."""

from typing import Any

import pytest
from made_lists import config, mailbox, problems

from postal_plexus.config.lists import read_stack
from stack_mistakes import HASH


def with_app_passwords(app_passwords: object) -> dict[str, Any]:
    """Return the sound configuration with one more mailbox, which has app passwords."""
    return config(mailboxes=[*config()["mailboxes"], mailbox() | {"app-passwords": app_passwords}])


def test_app_passwords() -> None:
    """A name and a hash each; the scheme may be in small letters."""
    small = HASH.replace("ARGON2ID", "argon2id")
    read = read_stack(with_app_passwords({"phone": HASH, "laptop": small}))
    assert (("phone", HASH), ("laptop", HASH)) == read.mailboxes[2].app_passwords


@pytest.mark.parametrize(
    ("app_passwords", "about", "remedy"),
    [
        ([HASH], "a list", "one name and hash per line"),
        ({5: HASH}, "a number for a name", "one name and hash per line"),
        ({"phone": None}, "'phone'", "one name and hash per line"),
        ({"My Phone": HASH}, "'My Phone'", "Use a to z"),
        ({"main": HASH}, "'main'", "and not main"),
        ({"phone": "hunter2"}, "in plain text", "plexus password ben@example.org --app phone"),
        ({f"n{number}": HASH for number in range(17)}, "17", "Remove unused"),
    ],
)
def test_wrong_app_passwords(app_passwords: object, about: str, remedy: str) -> None:
    """Each mistake is named with its mailbox and a way out."""
    (problem,) = problems(with_app_passwords(app_passwords))
    assert ("entry 3 (ben@example.org)", True) == (problem.entry, about in problem.what)
    assert remedy in problem.remedy


def with_quota(quota: object) -> dict[str, Any]:
    """Return the sound configuration with one more mailbox, which has a quota of its own."""
    return config(mailboxes=[*config()["mailboxes"], mailbox() | {"quota-gb": quota}])


@pytest.mark.parametrize(
    ("gigabytes", "megabytes"), [(50, 51200), (0.5, 512), (10_000, 10_240_000)]
)
def test_quota(gigabytes: float, megabytes: int) -> None:
    """In GB, whole or not; kept in MB. The other mailboxes have none of their own."""
    read = read_stack(with_quota(gigabytes))
    assert (megabytes, None) == (read.mailboxes[2].quota_mb, read.mailboxes[0].quota_mb)


@pytest.mark.parametrize(
    "quota", [0, -5, 10_001, float("nan"), float("inf"), True, "50", "50G", None, [50]]
)
def test_wrong_quota(quota: object) -> None:
    """Named with its mailbox and the range."""
    (problem,) = problems(with_quota(quota))
    assert ("entry 3 (ben@example.org)", True) == (problem.entry, "quota-gb" in problem.what)
    assert "from 0.1 to 10000" in problem.remedy


def with_send_as(send_as: object) -> dict[str, Any]:
    """Return the sound configuration with one more mailbox, which may send as others."""
    return config(mailboxes=[*config()["mailboxes"], mailbox() | {"send-as": send_as}])


def test_send_as() -> None:
    """Mailboxes, aliases, and what a catch-all takes; in any case."""
    read = read_stack(with_send_as(["Info@Example.org", "ben@example.net", "any@example.net"]))
    expected = ("info@example.org", "ben@example.net", "any@example.net")
    assert expected == read.mailboxes[2].send_as


@pytest.mark.parametrize(
    ("send_as", "about", "remedy"),
    [
        ("info@example.org", "a text, not a list", "Write a list"),
        ([], "no send-as", "Write a list"),
        (["info"], "'info'", "Write one address"),
        (["x@elsewhere.example"], "'x@elsewhere.example'", "SES sends"),
        (["info+x@example.org"], "'info+x@example.org'", "without +"),
        (["no@example.org"], "'no@example.org'", "an alias"),
        (["info@example.org"] * 2, "'info@example.org'", "Remove one"),
    ],
)
def test_wrong_send_as(send_as: object, about: str, remedy: str) -> None:
    """Each mistake is named with its mailbox and a way out."""
    (problem,) = problems(with_send_as(send_as))
    assert ("entry 3 (ben@example.org)", True) == (problem.entry, about in problem.what)
    assert "send-as" in problem.what
    assert remedy in problem.remedy


def with_stored_as(stored_as: object) -> dict[str, Any]:
    """Return the sound configuration with one more mailbox, which had another address first."""
    return config(mailboxes=[*config()["mailboxes"], mailbox() | {"stored-as": stored_as}])


@pytest.mark.parametrize(
    ("stored_as", "kept"),
    [
        ("First@example.com", "first@example.com"),
        ("info@example.org", "info@example.org"),
        ("ben@example.org", None),
    ],
)
def test_stored_as(stored_as: str, kept: str | None) -> None:
    """An address of any domain; its own means nothing."""
    assert kept == read_stack(with_stored_as(stored_as)).mailboxes[2].stored_as


@pytest.mark.parametrize(
    ("stored_as", "what", "remedy"),
    [
        ("ben", "its stored-as 'ben' has no @", "Write one address"),
        ("b+x@example.org", "its stored-as 'b+x@example.org' cannot have been a mailbox", "first"),
        ("a/b@example.org", "its stored-as 'a/b@example.org' cannot have been", "first"),
        (None, "has no stored-as", "remove the key"),
    ],
)
def test_wrong_stored_as(stored_as: object, what: str, remedy: str) -> None:
    """Each mistake is named with its mailbox and a way out."""
    (problem,) = problems(with_stored_as(stored_as))
    assert "entry 3 (ben@example.org)" == problem.entry
    assert problem.what.startswith(what)
    assert remedy in problem.remedy


def test_a_place_that_is_taken() -> None:
    """The mailbox that would read another's mail is named, and another place for it."""
    (problem,) = problems(with_stored_as("ann@example.org"))
    assert "entry 1 (ann@example.org)" == problem.entry
    expected = "would store its mail in the same place as entry 3 (ben@example.org) of mailboxes"
    assert expected == problem.what
    assert "stored-as: ann.2@example.org" in problem.remedy
