"""What a directory is made of: a domain, a mailbox, an alias.

Addresses are texts in the form of `address.is_hosted`, or for destinations outside that of
`str(Address)`; so a directory of 10,000 mailboxes stays small, and its lookups need no parsing.
Each entry checks on construction that it can stand in a line of Postfix's and Dovecot's tables
without meaning something else there; what is wrong raises DirectoryError.
"""

import re
from dataclasses import dataclass

from postal_plexus.directory.address import Address, AddressError, is_domain, is_hosted

# A scheme and printable ASCII without a colon, which ends the field in Dovecot's passwd-file.
_PASSWORD_HASH = re.compile(r"\{[A-Z0-9][A-Z0-9.-]*\}[!-9;-~]+")
_APP_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
MAIN = "main"
"""What the list of last logins calls the mailbox's own password; no app password has this name."""


class DirectoryError(ValueError):
    """A directory cannot be what it says; the reader keeps the one that it has."""


@dataclass(frozen=True, slots=True)
class Domain:
    """A hosted mail domain, and who gets the mail to its addresses that nobody has.

    Raises:
        DirectoryError: one of them is not what it should be.
    """

    name: str
    catch_all: str | None = None

    def __post_init__(self) -> None:
        if not is_domain(self.name):
            raise DirectoryError(f"{clipped(self.name)} is not a domain name in A-labels")
        if self.catch_all is not None:
            require_address(self.catch_all)


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A mailbox: its address, which is its user's login, and the hashes of the user's passwords.

    `app_passwords` are those of single devices: a name (`is_app_name`) and its hash each. `send_as`
    are hosted addresses that the user may write as, besides those whose mail the mailbox gets.
    `quota_mb` is how much mail there may be, in MiB; None for what Dovecot allows everybody.
    `stored_as` is its first address, if it has another now: there its mail lies.

    Raises:
        DirectoryError: one of them is not what it should be.
    """

    address: str
    password_hash: str
    app_passwords: tuple[tuple[str, str], ...] = ()
    send_as: tuple[str, ...] = ()
    quota_mb: int | None = None
    stored_as: str | None = None

    def __post_init__(self) -> None:
        address = self.address
        if not is_hosted(address):
            raise DirectoryError(f"{clipped(address)} cannot be a mailbox's address")
        if not _PASSWORD_HASH.fullmatch(self.password_hash):
            raise DirectoryError(
                f"{address} has a password hash that is not of the form {{SCHEME}}hash"
            )
        if len(dict(self.app_passwords)) < len(self.app_passwords):
            raise DirectoryError(f"{address} has an app password twice")
        for name, its_hash in self.app_passwords:
            if not is_app_name(name):
                raise DirectoryError(f"{address} has an app password named {clipped(name)}")
            if not _PASSWORD_HASH.fullmatch(its_hash):
                raise DirectoryError(
                    f"{address} has a password hash for {name} that is no {{SCHEME}}hash"
                )
        if len(set(self.send_as)) < len(self.send_as):
            raise DirectoryError(f"{address} may send as an address twice")
        for other in self.send_as:
            if not is_hosted(other):
                raise DirectoryError(f"{address} cannot send as {clipped(other)}")
        if self.quota_mb is not None and self.quota_mb < 1:
            raise DirectoryError(f"{address} has a quota of {self.quota_mb} MB")
        if self.stored_as is not None and not is_hosted(self.stored_as):
            raise DirectoryError(f"{address} cannot be stored as {clipped(self.stored_as)}")

    @property
    def storage(self) -> str:
        """The address under which its mail lies. A new address does not change it."""
        return self.stored_as or self.address

    def __repr__(self) -> str:
        return f"Mailbox(address={self.address!r}, send_as={self.send_as!r})"  # no hash in a log


@dataclass(frozen=True, slots=True)
class Alias:
    """A hosted address whose mail goes to one or more others, local or outside.

    Raises:
        DirectoryError: one of them is not what it should be, or there is no destination.
    """

    address: str
    destinations: tuple[str, ...]

    def __post_init__(self) -> None:
        if not is_hosted(self.address):
            raise DirectoryError(f"{clipped(self.address)} cannot be an alias's address")
        if not self.destinations:
            raise DirectoryError(f"{self.address} has no destination")
        for destination in self.destinations:
            require_address(destination)


def is_app_name(text: str) -> bool:
    """Whether an app password may be called so: a to z, 0 to 9 and -, at most 32 of them."""
    return text != MAIN and _APP_NAME.fullmatch(text) is not None


def require_address(text: str) -> None:
    """Raise DirectoryError unless `text` is an address exactly as it is kept here."""
    try:
        as_kept = str(Address.parse(text))
    except AddressError as error:
        raise DirectoryError(f"{clipped(text)} {error}") from error
    if as_kept != text:
        raise DirectoryError(f"{clipped(text)} would be kept as {clipped(as_kept)}")


def clipped(text: str) -> str:
    """Show foreign text in an error: printable, and short enough for one log line."""
    return ascii(text if len(text) <= 80 else text[:77] + "...")
