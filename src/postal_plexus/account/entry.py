"""A mailbox as the directory's table for Dovecot has it: what the operator says about it. Pure."""

import re
from dataclasses import dataclass

_APP = re.compile(r"(?:^| )app-([a-z0-9-]+)=\S+")


@dataclass(frozen=True, slots=True)
class Entry:
    """A mailbox of the table.

    Attributes:
        address: its login now.
        stack_hash: of the stack file's main password.
        home: the directory of its mail below the mail store, `example.org/ann`.
        apps: the names of the app passwords that the stack file has.
    """

    address: str
    stack_hash: str
    home: str
    apps: frozenset[str]

    @property
    def storage(self) -> str:
        """The address under which its mail lies: its own, or its first if it was renamed."""
        domain, _, name = self.home.partition("/")
        return f"{name}@{domain}"

    def __repr__(self) -> str:
        return f"Entry(address={self.address!r})"  # no hash in a log


def entry_of(table: str, address: str) -> Entry | None:
    """Give the mailbox with that login; None if there is none, or it has another login now."""
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
