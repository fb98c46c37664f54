"""The directory: who gets mail for an address, and its storage as one object.

A Directory is created from the stack file (`postal_plexus.config`), written by the Pulumi program
as one JSON object, and loaded by the three containers. It holds the entries as configured and an
index created once, so that a look-up is one dictionary access for a mailbox and one for each
destination of an alias. Nothing here does I/O or needs a library.

An address is resolved in this order:

1. A mailbox gets its mail. A subaddress stays on the address, for the user's filters.
2. An alias's mail goes to its destinations, each resolved in the same way. The subaddress with
   which an alias was addressed is dropped; a destination's own is kept.
3. `postmaster` exists at every domain (RFC 5321, 4.5.1). If it is neither configured nor matched by
   a catch-all, it is the domain's first mailbox, or else the first mailbox of all.
4. A domain's catch-all gets the rest.
5. Everything else is unknown: the resolution is empty.

**The object**, schema version 1 to 3, is JSON in UTF-8:

    {"version": 1,
     "domains": [{"name": "example.net", "catch_all": "ann@example.org"}, ...],
     "mailboxes": [{"address": "ann@example.org", "password_hash": "{ARGON2ID}...",
                    "app_passwords": [{"name": "phone", "password_hash": "{ARGON2ID}..."}],
                    "send_as": ["office@example.org"]}, ...],
     "aliases": [{"address": "info@example.org", "destinations": ["ann@example.org"]}, ...]}

Readers ignore unknown fields, so that a newer program can add some (such as a quota) while older
containers are still running. A field that must not be ignored needs a new version, which older
readers refuse: version 2 has a mailbox with `stored_as`, the address under which its mail is
stored. A reader that ignored it would deliver to an empty mailbox. Version 3 has several hosts:

    "hosts": [{"name": "mail.example.org", "address": "10.77.0.10"}, ...]

The first one has number 1. A mailbox (and a domain) with another home has `"home": 2`. A reader
that ignored it would open mailboxes of other hosts.

Raises only DirectoryError, whatever bytes are read.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeVar, cast

from postal_plexus.directory.address import envelope_parts
from postal_plexus.directory.entries import Alias, DirectoryError, Domain, Host, Mailbox, clipped

_N = TypeVar("_N", int, None)

SCHEMA_VERSIONS = (1, 2, 3)
"""Version 2 is used if a mailbox has `stored_as`, and 3 if there are several hosts."""

SIZE_LIMIT = 16 * 1024 * 1024
"""Maximum bytes of an object that is read; 10,000 mailboxes take about 2 MB."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """Who gets a message: local mailboxes, each once, and outside addresses. Empty: unknown."""

    mailboxes: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """Whether anyone gets the message."""
        return bool(self.mailboxes or self.outside)


class Directory:
    """Domains, mailboxes and aliases in their configured order, and the look-ups in them.

    `hosts_by_number` has an entry for each host of a stack with several; it is empty for one host,
    and before the hosts' addresses are known.

    Immutable, so threads can share it.
    """

    __slots__ = (
        "_aliases",
        "_catch_alls",
        "_configured",
        "_homes",
        "_mailboxes",
        "_stored_as",
        "aliases",
        "domains",
        "hosts_by_number",
        "mailboxes",
    )

    def __init__(
        self,
        domains: tuple[Domain, ...],
        mailboxes: tuple[Mailbox, ...],
        aliases: tuple[Alias, ...] = (),
        hosts: tuple[Host, ...] = (),
    ) -> None:
        self.domains = domains
        self.mailboxes = mailboxes
        self.aliases = aliases
        self.hosts_by_number = hosts
        self._homes = {m.address: m.home for m in mailboxes if m.home != 1}
        self._catch_alls = {domain.name: domain.catch_all for domain in domains}
        self._mailboxes = frozenset(mailbox.address for mailbox in mailboxes)
        self._stored_as = {m.address: m.stored_as for m in mailboxes if m.stored_as is not None}
        self._aliases = {alias.address: alias.destinations for alias in aliases}
        self._configured = frozenset(self._aliases)
        self._check()
        for name, catch_all in self._catch_alls.items():
            postmaster = f"postmaster@{name}"
            if catch_all is None and postmaster not in self._mailboxes:
                self._aliases.setdefault(postmaster, (self._first_mailbox(name),))

    def _check(self) -> None:
        ours, taken = self._catch_alls, self._mailboxes | self._aliases.keys()
        # An empty directory would refuse all mail. Nobody wants that, so it must be a mistake.
        if not ours or not self._mailboxes:
            raise DirectoryError("has no domain or no mailbox")
        if len(ours) < len(self.domains):
            raise DirectoryError("has a domain twice")
        if len(taken) < len(self.mailboxes) + len(self.aliases):
            raise DirectoryError("has an address twice")
        if len({mailbox.storage for mailbox in self.mailboxes}) < len(self.mailboxes):
            raise DirectoryError("stores two mailboxes under one address")
        for address in taken:
            if address.rpartition("@")[2] not in ours:
                raise DirectoryError(f"has {clipped(address)}, but not its domain")
        for mailbox in self.mailboxes:
            for address in mailbox.send_as:
                if address.rpartition("@")[2] not in ours:
                    raise DirectoryError(f"lets {mailbox.address} send as {clipped(address)}")
        for name, catch_all in ours.items():
            if catch_all is not None and catch_all.rpartition("@")[2] not in ours:
                raise DirectoryError(f"has a catch-all of {name} that is not ours")
        self._check_hosts()

    def _check_hosts(self) -> None:
        hosts = self.hosts_by_number
        if not hosts:
            # Written by `to_json` only if all is on host 1.
            return
        if len(hosts) == 1:
            raise DirectoryError("names its only host")
        if len({host.name for host in hosts}) < len(hosts):
            raise DirectoryError("has a host name twice")
        if len({host.address for host in hosts}) < len(hosts):
            raise DirectoryError("has a host address twice")
        self._require_hosts(len(hosts))

    def _require_hosts(self, number: int) -> None:
        for name, home in ((each.name, each.home) for each in self.domains):
            if home > number:
                raise DirectoryError(f"has {name} on host {home} of {number}")
        for address, home in self._homes.items():
            if home > number:
                raise DirectoryError(f"has {address} on host {home} of {number}")

    def on_hosts(self, hosts: tuple[Host, ...]) -> "Directory":
        """Return this directory with its hosts. Raise DirectoryError if they do not fit."""
        return Directory(self.domains, self.mailboxes, self.aliases, hosts)

    def on_one_host(self) -> "Directory":
        """Return this directory as it would be with one host."""
        return Directory(
            tuple(replace(each, home=1) for each in self.domains),
            tuple(replace(each, home=1) for each in self.mailboxes),
            self.aliases,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Directory) and self._entries() == other._entries()

    def __hash__(self) -> int:
        return hash(self._entries())

    def _entries(self) -> tuple[tuple[object, ...], ...]:
        return self.domains, self.mailboxes, self.aliases, self.hosts_by_number

    def resolve(self, recipient: str) -> Resolution:
        """Return who gets a message to `recipient`, an envelope recipient in any form.

        Each mailbox appears once, however many paths lead to it; the first path determines the
        subaddress. Loops of aliases end. Never raises.
        """
        if recipient in self._mailboxes:
            return Resolution((recipient,))
        name, subaddress, domain = envelope_parts(recipient)
        if domain == "postmaster" and not name:
            # RFC 5321, 4.5.1: the one address that needs no domain.
            name, domain = "postmaster", self.domains[0].name
        if domain not in self._catch_alls:
            return Resolution()
        address = f"{name}@{domain}"
        if address in self._mailboxes:
            return Resolution((_delivered(name, subaddress, domain),))
        return self._follow(self._handed_on(address, domain))

    def may_be_new(self, recipient: str) -> bool:
        """Return whether a newer directory may resolve an address differently.

        This is so if the address is unknown, or matches only a catch-all or the implied postmaster.
        """
        if recipient in self._mailboxes:
            return False
        name, _, domain = envelope_parts(recipient)
        address = f"{name}@{domain}"
        return address not in self._mailboxes and address not in self._configured

    def first_address(self, mailbox: str) -> str:
        """Return the first address of a renamed mailbox, or "" if it was never renamed."""
        return self._stored_as.get(mailbox, "")

    def home(self, mailbox: str) -> int:
        """Return the number of the host that serves a mailbox."""
        return self._homes.get(mailbox, 1)

    def hosts(self, domain: str) -> bool:
        """Return whether a domain (A-labels, lower case) is hosted here or below one that is."""
        while domain:
            if domain in self._catch_alls:
                return True
            domain = domain.partition(".")[2]
        return False

    def _follow(self, destinations: tuple[str, ...]) -> Resolution:
        mailboxes: dict[str, str] = {}
        outside: dict[str, None] = {}
        seen: set[str] = set()
        waiting = list(reversed(destinations))
        while waiting:
            destination = waiting.pop()
            name, subaddress, domain = envelope_parts(destination)
            address = f"{name}@{domain}"
            if domain not in self._catch_alls:
                outside.setdefault(destination)
            elif address in self._mailboxes:
                mailboxes.setdefault(address, _delivered(name, subaddress, domain))
            elif address not in seen:
                seen.add(address)
                waiting.extend(reversed(self._handed_on(address, domain)))
        return Resolution(tuple(mailboxes.values()), tuple(outside))

    def _handed_on(self, address: str, domain: str) -> tuple[str, ...]:
        """Return the destinations of a hosted address that is not a mailbox."""
        if destinations := self._aliases.get(address):
            return destinations
        catch_all = self._catch_alls[domain]
        return () if catch_all is None else (catch_all,)

    def _first_mailbox(self, domain: str) -> str:
        at_domain = (m.address for m in self.mailboxes if m.address.endswith("@" + domain))
        return next(at_domain, self.mailboxes[0].address)

    def hosted_addresses(self) -> Iterator[str]:
        """Yield every address that exists: mailboxes, aliases, and each domain's postmaster.

        Addresses that only a catch-all matches are not included.
        """
        for mailbox in self.mailboxes:
            yield mailbox.address
        yield from self._aliases

    def to_json(self) -> bytes:
        """Return the directory object; equal directories produce equal bytes.

        Raises:
            DirectoryError: a mailbox lives on a host that is not among the hosts.
        """
        self._require_hosts(max(1, len(self.hosts_by_number)))
        version = 2 if any(each.stored_as for each in self.mailboxes) else 1
        document: dict[str, object] = {
            "version": 3 if self.hosts_by_number else version,
            "domains": [_domain_fields(domain) for domain in self.domains],
            "mailboxes": [_mailbox_fields(mailbox) for mailbox in self.mailboxes],
            "aliases": [
                {"address": alias.address, "destinations": alias.destinations}
                for alias in self.aliases
            ],
        }
        if self.hosts_by_number:
            document["hosts"] = [
                {"name": host.name, "address": host.address} for host in self.hosts_by_number
            ]
        return json.dumps(document, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_json(cls, document: bytes) -> "Directory":
        """Parse a directory object. Raise DirectoryError unless all of it is valid."""
        if len(document) > SIZE_LIMIT:
            raise DirectoryError(f"is larger than {SIZE_LIMIT} bytes")
        try:
            found = json.loads(document)
        except (ValueError, RecursionError) as error:
            raise DirectoryError(f"is not JSON: {error}") from error
        root = _Entry.of(found, "the directory")
        version = root.fields.get("version")
        if type(version) is not int or version not in SCHEMA_VERSIONS:
            raise DirectoryError(
                f"has schema version {clipped(str(version))}; this reader knows "
                f"{SCHEMA_VERSIONS[0]} to {SCHEMA_VERSIONS[-1]}"
            )
        if (version == SCHEMA_VERSIONS[-1]) != ("hosts" in root.fields):
            raise DirectoryError(f"has schema version {version}; hosts and version 3 go together")
        read = cls(
            tuple(
                Domain(
                    entry.text("name"),
                    entry.optional_text("catch_all"),
                    entry.optional_number("home", 1),
                )
                for entry in root.entries("domains")
            ),
            tuple(
                Mailbox(
                    entry.text("address"),
                    entry.text("password_hash"),
                    tuple(
                        (app.text("name"), app.text("password_hash"))
                        for app in entry.optional_entries("app_passwords")
                    ),
                    entry.optional_texts("send_as"),
                    entry.optional_number("quota_mb", None),
                    entry.optional_text("stored_as"),
                    entry.optional_number("home", 1),
                )
                for entry in root.entries("mailboxes")
            ),
            tuple(
                Alias(entry.text("address"), entry.texts("destinations"))
                for entry in root.entries("aliases")
            ),
            tuple(
                Host(entry.text("name"), entry.text("address"))
                for entry in root.optional_entries("hosts")
            ),
        )
        read._require_hosts(max(1, len(read.hosts_by_number)))
        return read

    def __repr__(self) -> str:
        return (
            f"<Directory of {len(self.domains)} domains, {len(self.mailboxes)} mailboxes "
            f"and {len(self.aliases)} aliases>"
        )


@dataclass(frozen=True, slots=True)
class _Entry:
    """One JSON object of the document; its fields are read by type, or raise DirectoryError."""

    fields: dict[str, object]
    place: str

    @classmethod
    def of(cls, value: object, place: str) -> "_Entry":
        if not isinstance(value, dict):
            raise DirectoryError(f"has something else than an object at {place}")
        return cls(cast("dict[str, object]", value), place)

    def text(self, name: str) -> str:
        value = self.fields.get(name)
        if not isinstance(value, str):
            raise DirectoryError(f"has no text {name} in {self.place}")
        return value

    def optional_text(self, name: str) -> str | None:
        return None if self.fields.get(name) is None else self.text(name)

    def optional_number(self, name: str, default: _N) -> int | _N:
        value = self.fields.get(name)
        if value is None:
            return default
        if type(value) is not int:
            raise DirectoryError(
                f"has something else than a whole number in {name} of {self.place}"
            )
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        values = self._list(name)
        if not all(isinstance(value, str) for value in values):
            raise DirectoryError(f"has something else than texts in {name} of {self.place}")
        return tuple(cast("list[str]", values))

    def optional_texts(self, name: str) -> tuple[str, ...]:
        return self.texts(name) if name in self.fields else ()

    def entries(self, name: str) -> Iterator["_Entry"]:
        for position, value in enumerate(self._list(name)):
            yield _Entry.of(value, f"{name}[{position}]")

    def optional_entries(self, name: str) -> Iterator["_Entry"]:
        return iter(()) if name not in self.fields else self.entries(name)

    def _list(self, name: str) -> list[object]:
        value = self.fields.get(name)
        if not isinstance(value, list):
            raise DirectoryError(f"has no list {name} in {self.place}")
        return cast("list[object]", value)


def _domain_fields(domain: Domain) -> dict[str, object]:
    fields: dict[str, object] = {"name": domain.name}
    if domain.catch_all is not None:
        fields["catch_all"] = domain.catch_all
    if domain.home != 1:
        fields["home"] = domain.home
    return fields


def _mailbox_fields(mailbox: Mailbox) -> dict[str, object]:
    fields: dict[str, object] = {
        "address": mailbox.address,
        "password_hash": mailbox.password_hash,
    }
    if mailbox.app_passwords:
        fields["app_passwords"] = [
            {"name": name, "password_hash": password_hash}
            for name, password_hash in mailbox.app_passwords
        ]
    if mailbox.send_as:
        fields["send_as"] = mailbox.send_as
    if mailbox.quota_mb is not None:
        fields["quota_mb"] = mailbox.quota_mb
    if mailbox.stored_as is not None:
        fields["stored_as"] = mailbox.stored_as
    if mailbox.home != 1:
        fields["home"] = mailbox.home
    return fields


def _delivered(name: str, subaddress: str | None, domain: str) -> str:
    return f"{name}@{domain}" if subaddress is None else f"{name}+{subaddress}@{domain}"
