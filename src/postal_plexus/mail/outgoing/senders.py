"""Who may send as an address, and which addresses are ours, from the text of Postfix's tables.

`sender-logins` applies to both the envelope (checked by Postfix) and the header (checked here).
Subaddresses belong to their address, an address without an entry to its domain's catch-all. Local
parts are compared without quotes, and without the blanks that only quotes allow, because readers do
not see them.
"""

from collections.abc import Iterable

from postal_plexus.mail.outgoing.mailboxes import a_labels


class Senders:
    """The tables of one directory. `logins`: address or @domain -> who may send as it."""

    __slots__ = ("_domains", "_logins", "_mailboxes")

    def __init__(
        self,
        sender_logins: Iterable[str],
        virtual_mailboxes: Iterable[str] = (),
        virtual_domains: Iterable[str] = (),
    ) -> None:
        self._logins = {
            address.lower(): tuple(owners.lower().replace(",", " ").split())
            for address, owners in _entries(sender_logins)
        }
        # In the directory's order, so that the first is the operator's own.
        self._mailboxes = dict.fromkeys(
            address.lower() for address, _ in _entries(virtual_mailboxes)
        )
        self._domains = frozenset(domain.lower() for domain, _ in _entries(virtual_domains))

    def owners(self, local: str, domain: str) -> tuple[str, ...]:
        """Return the logins that may send as an address, given its local part without quotes."""
        local, domain = "".join(local.lower().split()), domain.lower()
        user = local.partition("+")[0] or local
        for key in (f"{local}@{domain}", f"{user}@{domain}", f"@{domain}"):
            if key in self._logins:
                return self._logins[key]
        return ()

    def may_send_as(self, login: str, local: str, domain: str) -> bool:
        """Return whether a login owns an address."""
        return login.lower() in self.owners(local, domain)

    def is_mailbox(self, address: str) -> bool:
        """Return whether mail to an address is delivered here: a mailbox or its subaddress."""
        local, _, domain = address.lower().rpartition("@")
        user = local.partition("+")[0] or local
        return f"{local}@{domain}" in self._mailboxes or f"{user}@{domain}" in self._mailboxes

    def is_ours(self, domain: str) -> bool:
        """Return whether a domain is hosted here."""
        return domain.lower() in self._domains

    def operator(self) -> str:
        """The directory's first mailbox, for what belongs to nobody else; "" if there is none."""
        return next(iter(self._mailboxes), "")

    def mailboxes_of(self, address: str) -> tuple[str, ...]:
        """Return the mailboxes of those who may send as an address, to tell them about its mail."""
        return tuple(each for each in self.owners(*parts(address)) if self.is_mailbox(each))


def parts(address: str) -> tuple[str, str]:
    """Return local part without quotes, and domain in A-labels, of an envelope address."""
    local, _, domain = unquoted(address).rpartition("@")
    return local, domain


def unquoted(address: str) -> str:
    """Return an envelope address with its local part unquoted, and its domain in A-labels."""
    local, _, domain = address.rpartition("@")
    if len(local) > 1 and local[0] == local[-1] == '"':
        inner, local = local[1:-1], ""
        escaped = False
        for char in inner:
            if char == "\\" and not escaped:
                escaped = True
                continue
            local, escaped = local + char, False
    return f"{local}@{a_labels(domain) or domain}"


def _entries(lines: Iterable[str]) -> Iterable[tuple[str, str]]:
    for line in lines:
        key, _, value = line.strip().partition(" ")
        if key and not key.startswith("#"):
            yield key, value
