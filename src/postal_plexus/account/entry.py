"""A mailbox's entry in the directory's table for Dovecot: the operator's settings. Pure."""

import re
from dataclasses import dataclass

_APP = re.compile(r"(?:^| )app-([a-z0-9-]+)=\S+")


@dataclass(frozen=True, slots=True)
class Entry:
    """A mailbox in the table.

    Attributes:
        address: its current login.
        stack_hash: the hash of the main password in the stack file.
        home: the directory of its mail below the mail store, `example.org/ann`.
        apps: the names of the app passwords in the stack file.
    """

    address: str
    stack_hash: str
    home: str
    apps: frozenset[str]

    @property
    def storage(self) -> str:
        """The address under which its mail is stored: its own, or its first if it was renamed."""
        domain, _, name = self.home.partition("/")
        return f"{name}@{domain}"

    def __repr__(self) -> str:
        return f"Entry(address={self.address!r})"  # no hash in a log


def entry_of(table: str, address: str) -> Entry | None:
    """Return the mailbox with that login; None if there is none, or its login is different now."""
    for line in table.splitlines():
        if not line.startswith(f"{address}:"):
            continue
        match line.split(":"):
            case [login, its_hash, _, _, _, home, _, more] if (
                login == address and "renamed=" not in more.split("app-")[0]
            ):
                name, _, domain = address.rpartition("@")
                place = home.removeprefix("/srv/mail/") or f"{domain}/{name}"
                return Entry(address, its_hash, place, frozenset(_APP.findall(more)))
            case _:
                return None
    return None
