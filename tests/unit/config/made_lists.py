"""A sound configuration's three lists, and what mistakes make of them."""

from typing import Any

import pytest

from postal_plexus.config.lists import read_stack
from postal_plexus.config.problems import Problem, StackError
from stack_mistakes import HASH

ARGON2 = HASH.removeprefix("{ARGON2ID}")


def config(**changes: object) -> dict[str, Any]:
    """Return a sound configuration, with changes; None takes a key away."""
    sound = {
        "domains": ["example.org", {"name": "example.net", "catch-all": "ann@example.org"}],
        "mailboxes": [
            {"address": "ann@example.org", "password-hash": HASH},
            {"address": "ben@example.net", "password-hash": HASH},
        ],
        "aliases": [{"address": "info@example.org", "destinations": ["ben@example.net"]}],
    }
    return {key: value for key, value in (sound | changes).items() if value is not None}


def mailbox(address: object = "ben@example.org", password_hash: object = HASH) -> dict[str, object]:
    """Return a mailbox's entry."""
    return {"address": address, "password-hash": password_hash}


def with_mailbox(**fields: object) -> dict[str, Any]:
    """Return the sound configuration with one more mailbox, which is entry 3."""
    return config(mailboxes=[*config()["mailboxes"], mailbox(**fields)])


def with_alias(address: object, *destinations: object) -> dict[str, Any]:
    """Return the sound configuration with one more alias, which is entry 2."""
    alias = {"address": address, "destinations": list(destinations)}
    return config(aliases=[*config()["aliases"], alias])


def problems(stack: dict[str, Any]) -> tuple[Problem, ...]:
    """Return the configuration's problems."""
    with pytest.raises(StackError) as caught:
        read_stack(stack)
    return caught.value.problems
