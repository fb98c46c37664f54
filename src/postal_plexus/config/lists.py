"""Read the three lists of a stack file into a Directory: who has mail.

`model.People` defines the entries; this module checks how they relate to each other. Domains may be
written in any script and case, local parts of hosted domains in any case. Raises StackError with
all problems of the lists, including unknown keys.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from postal_plexus.config.model import (
    ALL_KEYS,
    LISTS,
    AliasEntry,
    DomainEntry,
    Keys,
    MailboxEntry,
)
from postal_plexus.config.problems import NAMESPACE, did_you_mean, quoted
from postal_plexus.config.reading import Entry, Findings, entries_of
from postal_plexus.directory.address import (
    Address,
    AddressError,
    is_hosted,
    without_subaddress,
)
from postal_plexus.directory.entries import (
    MAIN,
    MOST_HOSTS,
    Alias,
    Domain,
    Mailbox,
    is_app_name,
)
from postal_plexus.directory.idn import kept_address, kept_domain, shown
from postal_plexus.directory.model import Directory
from postal_plexus.directory.password_hash import fault_of

APP_PASSWORDS = 16
"""The most for one mailbox, because a wrong password is compared with each."""

RECIPIENTS_AN_ALIAS = 1000
"""Postfix's default virtual_alias_expansion_limit. Beyond it, mail to the alias is deferred."""


_Named = TypeVar("_Named", bound=Entry[Any])
_Hosted = Entry[MailboxEntry] | Entry[AliasEntry]


def read_stack(config: Mapping[str, object]) -> Directory:
    """Read the keys of the namespace, given without its name, into a directory.

    Raises StackError.
    """
    return _Reading(config).directory()


class _Reading:
    """One reading: first it collects all names, then it checks what refers to them."""

    def __init__(self, config: Mapping[str, object]) -> None:
        self._findings = findings = Findings(LISTS)
        self._check_keys(config)
        self._hosts = _number_of_hosts(config)
        self._domains: dict[str, Entry[DomainEntry]] = {}
        self._addresses: dict[str, Entry[MailboxEntry] | Entry[AliasEntry]] = {}
        self._read_domains = [
            (_enter(self._domains, self._domain_name(entry), entry), entry)
            for entry in entries_of(config, "domains", DomainEntry, findings)
        ]
        self._read_mailboxes = [
            (_enter(self._addresses, self._hosted_address(entry), entry), entry)
            for entry in entries_of(config, "mailboxes", MailboxEntry, findings)
        ]
        self._read_aliases = [
            (_enter(self._addresses, self._hosted_address(entry), entry), entry)
            for entry in entries_of(config, "aliases", AliasEntry, findings)
        ]

    def directory(self) -> Directory:
        """Return what was read, if there was no problem."""
        catch_alls = [(name, self._catch_all(entry)) for name, entry in self._read_domains]
        mailboxes = [
            (
                name,
                self._password_hash(entry),
                self._app_passwords(entry),
                self._send_as(entry),
                _quota_mb(entry.value),
                self._stored_as(entry),
            )
            for name, entry in self._read_mailboxes
        ]
        self._check_storage(mailboxes)
        domain_homes = {name: self._home(entry, 1) for name, entry in self._read_domains}
        homes = [
            self._home(entry, domain_homes.get(name.rpartition("@")[2], 1))
            for name, entry in self._read_mailboxes
        ]
        aliases = [(name, self._destinations(entry)) for name, entry in self._read_aliases]
        for circle in _circles({name: to for name, to in aliases if name}):
            self._addresses[circle[0]].problem(
                f"is part of a loop: {' -> '.join((*circle, circle[0]))}",
                "Remove one of these steps from its alias.",
            )
        self._findings.raise_if_any()
        directory = Directory(
            tuple(Domain(*domain, domain_homes[domain[0]]) for domain in catch_alls),
            tuple(Mailbox(*each, home) for each, home in zip(mailboxes, homes, strict=True)),
            tuple(Alias(*alias) for alias in aliases),
        )
        self._check_as_a_whole(directory)
        self._findings.raise_if_any()
        return directory

    def _check_keys(self, config: Mapping[str, object]) -> None:
        for key in sorted(config.keys() - set(ALL_KEYS)):
            otherwise = f"Remove it; the keys are {', '.join(ALL_KEYS)}."
            remedy = did_you_mean(key, ALL_KEYS, otherwise)
            self._findings.add(key, "is not a key of Postal Plexus", remedy)

    def _domain_name(self, entry: Entry[DomainEntry]) -> str:
        try:
            return kept_domain(entry.name) if entry.name else ""
        except AddressError as error:
            entry.problem(f"it {error}", "Write a domain of yours, such as example.org.")
            return ""

    def _hosted_address(self, entry: _Hosted) -> str:
        address = self._address(entry, "address", entry.name) if entry.name else None
        if address is None:
            return ""
        bare = str(address.without_subaddress())
        if address.subaddress is not None:
            remedy = f"Write {bare}; it also gets mail for its subaddresses."
            entry.problem("its address has a subaddress", remedy)
            return ""
        if _means_everybody(address):
            remedy = (
                f"Write catch-all: ADDRESS for {address.domain} in {NAMESPACE}:domains; it "
                "gets all mail for unknown addresses."
            )
            entry.problem("its address must not be a pattern: * has no special meaning", remedy)
        elif not is_hosted(bare):
            remedy = "Use letters, digits and . _ - ' before the @, and no # or - at the start."
            entry.problem("its address cannot name a mailbox or an alias", remedy)
        elif self._domains and address.domain not in self._domains:
            otherwise = "Add it there, or correct the address."
            entry.problem(
                f"its domain {shown(address.domain)} is not among {NAMESPACE}:domains",
                did_you_mean(address.domain, self._domains, otherwise),
            )
        return bare

    def _address(self, entry: Entry[Any], field: str, text: str) -> Address | None:
        """Return an address in its stored form; at hosted domains its local part is lower case."""
        try:
            address = kept_address(text)
        except AddressError as error:
            entry.problem(
                f"its {field} {quoted(text)} {error}", "Write one address: ann@example.org."
            )
            return None
        ours = field == "address" or address.domain in self._domains
        return Address.parse(str(address).lower()) if ours else address

    def _exists(self, address: Address) -> bool:
        """Return whether an address at a hosted domain is somebody's, or the postmaster's."""
        bare = str(address.without_subaddress())
        return bare in self._addresses or bare.startswith("postmaster@")

    def _catch_all(self, entry: Entry[DomainEntry]) -> str | None:
        text = entry.value.catch_all or ""
        address = self._address(entry, "catch-all", text) if text else None
        if address is None:
            return None
        if address.domain not in self._domains:
            what = f"its catch-all {quoted(text)} is not in a domain of this stack"
            otherwise = "Create an alias with this destination, and name the alias."
            entry.problem(what, did_you_mean(str(address), self._addresses, otherwise))
        elif not self._exists(address):
            what = f"its catch-all {quoted(text)} is neither a mailbox nor an alias"
            otherwise = f"Add it to {NAMESPACE}:mailboxes."
            entry.problem(what, did_you_mean(str(address), self._addresses, otherwise))
        return str(address)

    def _password_hash(self, entry: Entry[MailboxEntry]) -> str:
        address = entry.name if is_hosted(entry.name) else "ADDRESS"
        text = entry.value.password_hash
        fault = fault_of(text, address) if text else None
        if fault is not None:
            entry.problem(f"its password-hash {fault.what}", fault.remedy)
        return _in_capitals(text)

    def _app_passwords(self, entry: Entry[MailboxEntry]) -> tuple[tuple[str, str], ...]:
        found = entry.value.app_passwords
        if len(found) > APP_PASSWORDS:
            what = f"has {len(found)} app passwords, and at most {APP_PASSWORDS} are allowed"
            entry.problem(what, "Remove unused ones.")
        for name, text in found.items():
            if not is_app_name(name):
                what = f"its app password {quoted(name)} has an invalid name"
                remedy = f"Use a to z, 0 to 9 and -, at most 32, and not {MAIN}."
                entry.problem(what, remedy)
            elif fault := fault_of(text, f"{entry.name} --app {name}"):
                entry.problem(f"its app password {name} {fault.what}", fault.remedy)
        return tuple((name, _in_capitals(text)) for name, text in found.items())

    def _send_as(self, entry: Entry[MailboxEntry]) -> tuple[str, ...]:
        addresses: dict[str, None] = {}
        for text in entry.value.send_as:
            address = self._address(entry, "send-as", text)
            if address is None:
                continue
            what = f"its send-as {quoted(text)}"
            if str(address) in addresses:
                entry.problem(f"{what} occurs twice", "Remove one.")
            elif address.domain not in self._domains:
                remedy = "SES sends only for your own domains: write an address in one of them."
                entry.problem(f"{what} is not in a domain of this stack", remedy)
            elif _means_everybody(address):
                remedy = "Name each address; a catch-all may send as all addresses that it gets."
                entry.problem(f"{what} must not be a pattern: * has no special meaning", remedy)
            elif address.subaddress is not None or not is_hosted(str(address)):
                remedy = "Write it without +; this includes its subaddresses."
                entry.problem(f"{what} cannot be a mailbox or an alias", remedy)
            addresses[str(address)] = None
        return tuple(addresses)

    def _stored_as(self, entry: Entry[MailboxEntry]) -> str | None:
        text = entry.value.stored_as
        address = self._address(entry, "stored-as", text) if text else None
        if address is None:
            return None
        stored_as = str(address).lower()
        if address.subaddress is not None or not is_hosted(stored_as):
            what = f"its stored-as {quoted(text or '')} cannot have been a mailbox"
            entry.problem(what, "Write its first address, without +.")
        return None if stored_as == entry.name.lower() else stored_as

    def _home(self, entry: Entry[DomainEntry] | Entry[MailboxEntry], default: int) -> int:
        home = entry.value.host
        if home is not None and home > self._hosts:
            only = "is only one" if self._hosts == 1 else f"are {self._hosts}"
            what = f"its host is {home}, and there {only}"
            remedy = f"Give 1 to {self._hosts}, or raise {NAMESPACE}:hosts."
            if self._hosts == 1:
                remedy = f"Remove it, or raise {NAMESPACE}:hosts."
            entry.problem(what, remedy)
        return default if home is None else home

    def _check_storage(self, mailboxes: Sequence[tuple[Any, ...]]) -> None:
        """Note mailboxes stored in the same place: one user could read the other's mail."""
        owners: dict[str, Entry[MailboxEntry]] = {}
        entries = [entry for _, entry in self._read_mailboxes]
        # Renamed mailboxes first: the newer mailbox has to use another place.
        for (name, *_, stored_as), entry in sorted(
            zip(mailboxes, entries, strict=True), key=lambda each: each[0][-1] is None
        ):
            place = stored_as or name
            owner = owners.setdefault(place, entry)
            if place and owner is not entry and self._addresses.get(name) is entry:
                entry.problem(
                    f"would store its mail in the same place as {owner.place}",
                    f"Choose another place: stored-as: {_another(place)}.",
                )

    def _destinations(self, entry: Entry[AliasEntry]) -> tuple[str, ...]:
        destinations: dict[str, None] = {}
        for text in entry.value.destinations:
            address = self._address(entry, "destination", text)
            if address is None:
                continue
            if str(address) in destinations:
                entry.problem(f"has the destination {quoted(text)} twice", "Remove one.")
            elif _means_everybody(address):
                what = f"its destination {quoted(text)} must not be a pattern"
                entry.problem(what, "Name each address that gets the mail.")
            elif address.domain in self._domains and not self._exists(address):
                what = f"its destination {quoted(text)} is neither a mailbox nor an alias"
                otherwise = f"Add it to {NAMESPACE}:mailboxes, or remove it."
                entry.problem(what, did_you_mean(str(address), self._addresses, otherwise))
            destinations[str(address)] = None
        return tuple(destinations)

    def _check_as_a_whole(self, directory: Directory) -> None:
        """Note problems that show only when everything is resolved."""
        for alias in directory.aliases:
            resolution = directory.resolve(alias.address)
            recipients = len(resolution.mailboxes) + len(resolution.outside)
            if not recipients:
                what, remedy = "leads to no mailbox", "Add a mailbox as a destination."
                self._addresses[alias.address].problem(what, remedy)
            elif recipients > RECIPIENTS_AN_ALIAS:
                self._addresses[alias.address].problem(
                    f"leads to {recipients} recipients, but Postfix allows {RECIPIENTS_AN_ALIAS}",
                    "Use mailing list software for this number of recipients.",
                )
        for mailbox in directory.mailboxes:
            for address in mailbox.send_as:
                if not directory.resolve(address).known:
                    what = f"its send-as {quoted(address)} belongs to no mailbox or alias"
                    remedy = "Create an alias for it, so that replies and bounces reach somebody."
                    self._addresses[mailbox.address].problem(what, remedy)
        for domain in directory.domains:
            if domain.catch_all is not None and not directory.resolve(domain.catch_all).known:
                what, remedy = "its catch-all leads to no mailbox", "Name a mailbox."
                self._domains[domain.name].problem(what, remedy)


def _enter(entered: dict[str, _Named], name: str, entry: _Named) -> str:
    """Note who has a name, unless it is taken. Return the name."""
    if name and entered.setdefault(name, entry) is not entry:
        entry.problem(f"already exists, as {entered[name].place}", "Keep one of the two.")
    return name


def _another(address: str) -> str:
    """Return an address similar to this one, to store a mailbox under."""
    name, _, domain = address.rpartition("@")
    return f"{name}.2@{domain}"


def _number_of_hosts(config: Mapping[str, object]) -> int:
    """Return the number of hosts; the most if it is no number of hosts, which `read_keys` notes."""
    given = config.get("hosts", Keys().hosts)
    return given if type(given) is int and 1 <= given <= MOST_HOSTS else MOST_HOSTS


def _quota_mb(mailbox: MailboxEntry) -> int | None:
    """Return the quota in MiB, or None if the entry has none."""
    return None if mailbox.quota_gb is None else round(mailbox.quota_gb * 1024)


def _means_everybody(address: Address) -> bool:
    """Return whether this is `*@domain`, which is not a catch-all here but a plain name."""
    return not address.local_part.strip("*")


def _in_capitals(password_hash: str) -> str:
    """Return the hash with the scheme's name as Dovecot writes it."""
    scheme, brace, value = password_hash.partition("}")
    return scheme.upper() + brace + value


def _circles(destinations: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, ...]]:
    """Search the aliases depth first. Each step back onto the path closes a circle."""
    done: set[str] = set()
    for start in destinations:
        path = [] if start in done else [start]
        place = dict.fromkeys(path, 0)
        steps = [iter(destinations[start])]
        while path:
            step = next(steps[-1], None)
            if step is None:
                del place[path[-1]]
                done.add(path.pop())
                steps.pop()
                continue
            alias = without_subaddress(step)
            if alias in place:
                yield tuple(path[place[alias] :])
            elif alias in destinations and alias not in done:
                place[alias] = len(path)
                path.append(alias)
                steps.append(iter(destinations[alias]))
