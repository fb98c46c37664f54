"""The desk's accounts: a generated password for every mailbox, in the desk directory (0600).

Hashes are stored too: a new hash at each `up` would change the directory each time.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from string import ascii_letters, digits
from typing import TYPE_CHECKING, Any, cast

from argon2 import PasswordHasher, Type

from awsdesk import files
from postal_plexus.directory.password_hash import MEMORY_KIB, TIME_COST

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True)
class Account:
    """A mailbox of the desk, its password, and the hash that Dovecot gets."""

    address: str
    password: str
    password_hash: str


def load(path: Path) -> dict[str, Account]:
    """Return the accounts by address; none if the file is missing or broken."""
    try:
        given = cast("list[dict[str, Any]]", json.loads(path.read_text(encoding="utf-8")))
        return {one["address"]: Account(**one) for one in given}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}


def for_mailboxes(path: Path, addresses: Iterable[str]) -> list[Account]:
    """Return an account for each mailbox, create missing ones, and store them."""
    had = load(path)
    accounts = [had.get(address) or _new(address) for address in addresses]
    document = json.dumps([asdict(one) for one in accounts], indent=2)
    files.replace(path, document.encode() + b"\n")
    return accounts


def _new(address: str) -> Account:
    # Letters and digits: many programs take a password with a leading hyphen for an option.
    password = "".join(secrets.choice(ascii_letters + digits) for _ in range(16))
    hasher = PasswordHasher(
        time_cost=TIME_COST, memory_cost=MEMORY_KIB, parallelism=1, type=Type.ID
    )
    return Account(address, password, f"{{ARGON2ID}}{hasher.hash(password)}")
