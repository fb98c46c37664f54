"""The directory in the formats of Dovecot and Postfix.

Each function returns a file's whole text. Dovecot's is a passwd-file; Postfix's are in the source
format of postmap(1), a key and a value per line, and give the same results as `Directory.resolve`
with `recipient_delimiter = +` and `propagate_unmatched_extensions =` (empty: an alias's subaddress
is dropped). Postfix's look-up order makes one difference unavoidable: in a domain with a catch-all,
if one of our own users addresses a mailbox with a subaddress, the message arrives without it.

Nothing here raises: `entries` excludes what could have another meaning in a table.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType

from postal_plexus.directory.address import without_subaddress
from postal_plexus.directory.entries import Mailbox
from postal_plexus.directory.model import Directory, Resolution
from postal_plexus.directory.spelling import dovecot_domains

MAIL_STORE = "/srv/mail"
"""The mail store's path in Dovecot's container; `mail_home` is the rule for paths below it."""

_NO_PASSWORD = "{CRYPT}*"  # noqa: S105
"""No password has this hash: crypt(3) creates no hash of one character."""


def dovecot_passwd(directory: Directory) -> str:
    """Render the users for Dovecot's passwd-file: `address:{SCHEME}hash::::::app-X={SCHEME}hash`.

    Uid, gid and home follow the same rule for all users, so they are in Dovecot's configuration;
    only a renamed mailbox has a home field. Its first address remains a user too: mail in transit
    to it arrives, and passwords.lua accepts it as a login of the mailbox (`renamed`).

    A mailbox's own quota is an extra field that overrides Dovecot's setting. App passwords are
    extra fields that passwords.lua reads; Dovecot itself ignores them. So is `shard`, the number of
    the host that serves the mailbox, if that is not host 1.

    The lines are sorted by address, for the search of table.lua.
    """
    taken = {mailbox.address for mailbox in directory.mailboxes}
    lines = (
        line
        for mailbox in directory.mailboxes
        for line in _user_lines(mailbox, has_first=mailbox.storage not in taken)
    )
    return "".join(sorted(lines, key=lambda line: line.partition(":")[0]))


def _user_lines(mailbox: Mailbox, *, has_first: bool) -> Iterator[str]:
    home = ""
    if mailbox.stored_as is not None:
        name, _, domain = mailbox.stored_as.rpartition("@")
        home = f"{MAIL_STORE}/{domain}/{name}"
    fields = " ".join(_extra_fields(mailbox))
    yield f"{mailbox.address}:{mailbox.password_hash}::::{home}::{fields}\n"
    if has_first:
        fields = " ".join(
            (*_quota_field(mailbox), *_home_field(mailbox), f"renamed={mailbox.address}")
        )
        yield f"{mailbox.stored_as}:{_NO_PASSWORD}::::{home}::{fields}\n"


def _extra_fields(mailbox: Mailbox) -> Iterator[str]:
    yield from _quota_field(mailbox)
    yield from _home_field(mailbox)
    for name, password_hash in mailbox.app_passwords:
        yield f"app-{name}={password_hash}"


def _quota_field(mailbox: Mailbox) -> Iterator[str]:
    if mailbox.quota_mb is not None:
        yield f"userdb_quota_storage_size={mailbox.quota_mb}M"


def _home_field(mailbox: Mailbox) -> Iterator[str]:
    if mailbox.home != 1:
        # Not `home` or `host`, which are Dovecot's words for other things.
        yield f"shard={mailbox.home}"


def dovecot_hosts(directory: Directory) -> str:
    """Render the hosts of a stack with several: `number name address`, a line each."""
    return "".join(
        f"{number} {host.name} {host.address}\n"
        for number, host in enumerate(directory.hosts_by_number, 1)
    )


def postfix_virtual_domains(directory: Directory) -> str:
    """Render virtual_mailbox_domains: the domains whose mail is delivered here."""
    return _lines((domain.name, "OK") for domain in directory.domains)


def postfix_virtual_mailboxes(directory: Directory) -> str:
    """Render virtual_mailbox_maps: which recipients exist.

    LMTP delivers, so no paths are needed.
    """
    return _lines((mailbox.address, "OK") for mailbox in directory.mailboxes)


def postfix_virtual_aliases(directory: Directory) -> str:
    """Render virtual_alias_maps: aliases, postmasters and catch-alls, each fully resolved.

    For Postfix, a catch-all (`@domain`) matches every address of the domain without an entry of its
    own. So in such a domain, whatever must not be caught gets an entry to itself: each mailbox,
    each subaddress that an alias names, and an alias that leads to nobody.
    """
    catch_alls = _catch_alls(directory)
    lines: dict[str, tuple[str, ...]] = {}
    for address in _handed_on(directory):
        recipients = _recipients(directory.resolve(address))
        if recipients or _domain(address) in catch_alls:
            lines[address] = recipients or (address,)
    named = {
        recipient
        for recipients in (*lines.values(), *catch_alls.values())
        for recipient in recipients
    }
    mailboxes = (mailbox.address for mailbox in directory.mailboxes)
    for address in (*mailboxes, *sorted(named)):
        if _domain(address) in catch_alls:
            lines.setdefault(address.lower(), (address,))
    for domain, recipients in catch_alls.items():
        lines[f"@{domain}"] = recipients
    return _lines((address, ", ".join(recipients)) for address, recipients in lines.items())


def postfix_sender_logins(directory: Directory) -> str:
    """Render smtpd_sender_login_maps: which logins may send as an address.

    A mailbox may send as itself, as each alias that leads to it, as what its catch-all receives,
    and as the addresses in its `send_as`, which does not affect others. Postfix strips subaddresses
    before it looks up an address. An alias that leads only outside belongs to no login; its entry
    names itself, which is not a login, so that a catch-all does not give it to somebody.
    """
    lines: dict[str, tuple[str, ...]] = {m.address: (m.address,) for m in directory.mailboxes}
    for address in _handed_on(directory):
        lines[address] = _logins(directory.resolve(address)) or (address,)
    for domain in directory.domains:
        if domain.catch_all is not None:
            lines[f"@{domain.name}"] = _logins(directory.resolve(domain.catch_all))
    for mailbox in directory.mailboxes:
        for address in mailbox.send_as:
            # An entry of its own hides the catch-all's, so the catch-all's owners are added.
            logins = lines.get(address) or lines.get(f"@{_domain(address)}") or ()
            lines[address] = tuple(dict.fromkeys((*logins, mailbox.address)))
    return _lines((address, ", ".join(logins)) for address, logins in lines.items() if logins)


TABLES: Mapping[str, Callable[[Directory], str]] = MappingProxyType(
    {
        "dovecot-passwd": dovecot_passwd,
        "dovecot-domains": lambda directory: dovecot_domains(d.name for d in directory.domains),
        "dovecot-hosts": dovecot_hosts,
        "postfix-virtual-domains": postfix_virtual_domains,
        "postfix-virtual-mailboxes": postfix_virtual_mailboxes,
        "postfix-virtual-aliases": postfix_virtual_aliases,
        "postfix-sender-logins": postfix_sender_logins,
    }
)
"""File name -> its renderer: the files beside `directory.json` that the containers load."""


def _handed_on(directory: Directory) -> Iterator[str]:
    """Yield the addresses that exist without being a mailbox: aliases and implied postmasters."""
    mailboxes = {mailbox.address for mailbox in directory.mailboxes}
    return (address for address in directory.hosted_addresses() if address not in mailboxes)


def _catch_alls(directory: Directory) -> dict[str, tuple[str, ...]]:
    """Yield each domain with a catch-all that leads to somebody, and its recipients."""
    resolved = {
        domain.name: _recipients(directory.resolve(domain.catch_all))
        for domain in directory.domains
        if domain.catch_all is not None
    }
    return {domain: recipients for domain, recipients in resolved.items() if recipients}


def _recipients(resolution: Resolution) -> tuple[str, ...]:
    return resolution.mailboxes + resolution.outside


def _logins(resolution: Resolution) -> tuple[str, ...]:
    return tuple(without_subaddress(mailbox) for mailbox in resolution.mailboxes)


def _domain(address: str) -> str:
    return address.rpartition("@")[2]


def _lines(entries: Iterable[tuple[str, str]]) -> str:
    return "".join(f"{key} {value}\n" for key, value in entries)
