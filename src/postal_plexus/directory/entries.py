"""The entries of a directory: a domain, a mailbox, an alias, a host.

Addresses are texts in the form of `address.is_hosted`, or of `str(Address)` for outside
destinations. So a directory of 10,000 mailboxes stays small, and its look-ups need no parsing. Each
entry checks at construction that it can be written into a line of Postfix's and Dovecot's tables
without another meaning there; otherwise it raises DirectoryError.
"""

import re
from dataclasses import dataclass

from postal_plexus.directory.address import Address, AddressError, is_domain, is_hosted

# A scheme and printable ASCII without a colon, which ends the field in Dovecot's passwd-file.
_PASSWORD_HASH = re.compile(r"\{[A-Z0-9][A-Z0-9.-]*\}[!-9;-~]+")
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}", re.ASCII)
_APP_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
MAIN = "main"
"""The own password's name in the list of last logins; no app password has this name."""


MOST_HOSTS = 16
"""The most mail hosts of one stack."""


class DirectoryError(ValueError):
    """A directory is not valid. Its reader keeps the previous one."""


@dataclass(frozen=True, slots=True)
class Domain:
    """A hosted mail domain, and who gets mail for its unknown addresses.

    `home` is the number of the host to which the domain's client host name leads.

    Raises:
        DirectoryError: one of them is not valid.
    """

    name: str
    catch_all: str | None = None
    home: int = 1

    def __post_init__(self) -> None:
        if not is_domain(self.name):
            raise DirectoryError(f"{clipped(self.name)} is not a domain name in A-labels")
        if self.catch_all is not None:
            require_address(self.catch_all)
        _require_host_number(self.name, self.home)


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A mailbox: its address, which is its user's login, and the hashes of the user's passwords.

    `app_passwords` are names (`is_app_name`) and hashes of passwords of single devices. `send_as`
    are hosted addresses from which the user may send, besides those whose mail the mailbox gets.
    `quota_mb` is its size limit in MiB, or None for Dovecot's default. `stored_as` is its first
    address, if it has been renamed: its mail is stored there. `home` is the number of the host that
    serves it; no other host may open it.

    Raises:
        DirectoryError: one of them is not valid.
    """

    address: str
    password_hash: str
    app_passwords: tuple[tuple[str, str], ...] = ()
    send_as: tuple[str, ...] = ()
    quota_mb: int | None = None
    stored_as: str | None = None
    home: int = 1

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
        _require_host_number(address, self.home)

    @property
    def storage(self) -> str:
        """The address under which its mail is stored. Renaming does not change it."""
        return self.stored_as or self.address

    def __repr__(self) -> str:
        return f"Mailbox(address={self.address!r}, send_as={self.send_as!r})"  # no hash in a log


@dataclass(frozen=True, slots=True)
class Alias:
    """A hosted address whose mail goes to one or more others, local or outside.

    Raises:
        DirectoryError: one of them is not valid, or there is no destination.
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


@dataclass(frozen=True, slots=True)
class Host:
    """A mail host of a stack with several: the name in its certificate, and its private address.

    Raises:
        DirectoryError: one of them is not valid.
    """

    name: str
    address: str

    def __post_init__(self) -> None:
        if not is_domain(self.name):
            raise DirectoryError(f"{clipped(self.name)} is not a host name in A-labels")
        if not _IPV4.fullmatch(self.address):
            raise DirectoryError(f"{self.name} has {clipped(self.address)} for an IPv4 address")


def _require_host_number(owner: str, number: int) -> None:
    if not 1 <= number <= MOST_HOSTS:
        raise DirectoryError(
            f"{owner} lives on host {number}, which is not one of 1 to {MOST_HOSTS}"
        )


def is_app_name(text: str) -> bool:
    """Return whether this can name an app password: up to 32 of a to z, 0 to 9 and -."""
    return text != MAIN and _APP_NAME.fullmatch(text) is not None


def require_address(text: str) -> None:
    """Raise DirectoryError unless `text` is an address exactly in its stored form."""
    try:
        as_kept = str(Address.parse(text))
    except AddressError as error:
        raise DirectoryError(f"{clipped(text)} {error}") from error
    if as_kept != text:
        raise DirectoryError(f"{clipped(text)} would be kept as {clipped(as_kept)}")


def clipped(text: str) -> str:
    """Return foreign text for an error: printable, and short enough for one log line."""
    return ascii(text if len(text) <= 80 else text[:77] + "...")
