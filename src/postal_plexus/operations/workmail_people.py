"""Convert a WorkMail organisation into entries of a stack file. Pure; nothing fails here.

A user becomes a mailbox, a group becomes an alias for its members (nested groups are flattened,
also in loops), an alias becomes an alias, and the right to send as somebody becomes `send-as`. What
has no equivalent here (disabled users, resources, addresses below awsapps.com) is listed with the
reason.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from postal_plexus.directory.address import AddressError, is_hosted, without_subaddress
from postal_plexus.directory.idn import kept_address, kept_domain
from postal_plexus.operations.workmail import Document, Organization

_TEST_DOMAIN = ".awsapps.com"
_DEFAULT_QUOTA_GB = 10


@dataclass
class People:
    """The three lists of a stack file, and a line for each thing that is left out."""

    domains: list[str] = field(default_factory=list[str])
    mailboxes: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    aliases: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    left_out: list[str] = field(default_factory=list[str])


def people(found: Organization, hash_of: Callable[[str], str]) -> People:
    """Return the entries; `hash_of` returns the password hash for a mailbox's address."""
    return _Reading(found).people(hash_of)


class _Reading:
    def __init__(self, found: Organization) -> None:
        self._found = found
        self._made = People()
        self._groups = {str(each["Id"]): each for each in found.groups}
        for each in found.domains:
            name = str(each.get("DomainName", ""))
            if name.endswith(_TEST_DOMAIN):
                self._leave(name, "WorkMail's own domain stays there")
            elif domain := _domain(name):
                self._made.domains.append(domain)
            else:
                self._leave(name, "cannot be hosted here")
        # The default domain first: its first mailbox is the postmaster of all.
        default = {
            _domain(str(d.get("DomainName"))) for d in found.domains if d.get("DefaultDomain")
        }
        self._made.domains.sort(key=lambda each: each not in default)
        self._mailboxes: dict[str, str] = {}
        self._taken: set[str] = set()

    def people(self, hash_of: Callable[[str], str]) -> People:
        for user in self._found.users:
            if self._is_in_use(user, "user"):
                self._add_mailbox(user, hash_of)
        for group in self._found.groups:
            if self._is_in_use(group, "group", told=bool(group.get("Email"))):
                self._add_group(group)
        self._add_send_as()
        for resource in self._found.resources:
            if resource.get("State") != "DELETED":
                kind = str(resource.get("Type", "resource")).lower()
                self._leave(_named(resource), f"a {kind}; there are no resources to book here")
        return self._made

    def _is_in_use(self, entity: Document, kind: str, *, told: bool = True) -> bool:
        state, role = entity.get("State"), entity.get("UserRole", "USER")
        if state == "ENABLED" and role == "USER":
            return True
        if told and state == "DISABLED" and role == "USER":
            self._leave(_named(entity), f"a disabled {kind}")
        elif told and state == "ENABLED" and role == "REMOTE_USER":
            self._leave(_named(entity), "a user whose mail is on another server")
        return False

    def _add_mailbox(self, user: Document, hash_of: Callable[[str], str]) -> None:
        address, others = self._addresses(user, "user")
        if not address:
            return
        entry: dict[str, Any] = {"address": address, "password-hash": hash_of(address)}
        # In MB. A mailbox that fills half of our default gets twice its size.
        size_gb = float(self._found.mailboxes.get(str(user["Id"]), {}).get("MailboxSize", 0)) / 1024
        if size_gb > _DEFAULT_QUOTA_GB / 2:
            entry["quota-gb"] = ceil(2 * size_gb)
        self._made.mailboxes.append(entry)
        self._mailboxes[str(user["Id"])] = address
        self._add_aliases(others, [address])

    def _add_group(self, group: Document) -> None:
        members = [
            self._mailboxes[i] for i in self._users_of(str(group["Id"])) if i in self._mailboxes
        ]
        if not members:
            self._leave(_named(group), "a group without members that move here")
            return
        address, others = self._addresses(group, "group")
        if address:
            self._made.aliases.append({"address": address, "destinations": members})
            self._add_aliases(others, [address])

    def _add_aliases(self, addresses: Iterable[str], destinations: list[str]) -> None:
        for address in addresses:
            self._made.aliases.append({"address": address, "destinations": destinations})

    def _users_of(self, group: str) -> list[str]:
        """Return the ids of a group's members, including those of nested groups, each once."""
        users: dict[str, None] = {}
        seen = {group}
        waiting = [group]
        while waiting:
            for member in self._found.members.get(waiting.pop(), []):
                i, state = str(member.get("Id")), member.get("State", "ENABLED")
                if member.get("Type") == "GROUP":
                    # A disabled group has no address, but still has members.
                    if i not in seen and state != "DELETED":
                        seen.add(i)
                        waiting.append(i)
                elif state == "ENABLED":
                    users.setdefault(i)
        return list(users)

    def _addresses(self, entity: Document, kind: str) -> tuple[str, list[str]]:
        """Return a user's or group's main address, and its others; "" if none is possible here."""
        usable: list[str] = []
        given = [str(entity.get("Email", "")), *self._found.aliases.get(str(entity["Id"]), [])]
        for text in dict.fromkeys(filter(None, given)):
            fault, address = self._fault(text)
            if fault:
                self._leave(text, f"an address of the {kind} {_named(entity)}: {fault}")
            elif address not in usable:
                usable.append(address)
                self._taken.add(address)
        if not usable:
            self._leave(_named(entity), f"a {kind} without an address that is possible here")
            return "", []
        return usable[0], usable[1:]

    def _fault(self, text: str) -> tuple[str, str]:
        """Return why an address is not possible here, or "", and its canonical form."""
        try:
            address = str(kept_address(text)).lower()
        except AddressError as error:
            return f"it {error}", ""
        domain = address.rpartition("@")[2]
        if domain not in self._made.domains:
            return "its domain does not move", ""
        if not is_hosted(address) or without_subaddress(address) != address:
            return "it cannot name a mailbox or an alias here", ""
        if address in self._taken:
            return "it belongs to somebody else", ""
        return "", address

    def _add_send_as(self) -> None:
        entries = {str(each["address"]): each for each in self._made.mailboxes}
        addresses = dict(self._mailboxes)
        aliases = {each["address"] for each in self._made.aliases}
        for i, group in self._groups.items():
            address = _kept(str(group.get("Email", "")))
            if address in aliases:
                addresses[i] = address
        for owner, permissions in self._found.permissions.items():
            for each in permissions:
                granted = set(each.get("PermissionValues", []))
                for user in self._grantees(each):
                    entry = entries.get(self._mailboxes.get(user, ""))
                    address = addresses.get(owner)
                    if entry is None or address is None or entry["address"] == address:
                        continue
                    if granted & {"SEND_AS", "SEND_ON_BEHALF"}:
                        listed = entry.setdefault("send-as", [])
                        if address not in listed:
                            listed.append(address)
                    if "FULL_ACCESS" in granted:
                        self._leave(
                            f"{entry['address']} reads {address}",
                            "share the folders again once they are here (docs/mailboxes.md)",
                        )

    def _grantees(self, permission: Document) -> Iterator[str]:
        i = str(permission.get("GranteeId"))
        if permission.get("GranteeType") == "GROUP":
            yield from self._users_of(i)
        else:
            yield i

    def _leave(self, what: str, why: str) -> None:
        line = f"{what}: {why}"
        if line not in self._made.left_out:
            self._made.left_out.append(line)


def _named(entity: Document) -> str:
    return str(entity.get("Email") or entity.get("Name") or entity.get("Id"))


def _kept(text: str) -> str:
    try:
        return str(kept_address(text)).lower()
    except AddressError:
        return ""


def _domain(text: str) -> str:
    try:
        return kept_domain(text)
    except AddressError:
        return ""
