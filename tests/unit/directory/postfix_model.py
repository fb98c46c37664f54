"""What Postfix and Dovecot do with their tables, written from their documents, not from ours.

Postfix: postmap(1), virtual(5), postconf(5) smtpd_sender_login_maps, with `recipient_delimiter = +`
and `propagate_unmatched_extensions =`. Dovecot: passwd-file, LMTP with the same delimiter. As small
as can be, so that it can be believed.
"""

import re
from collections.abc import Mapping

Table = Mapping[str, str]


def read_table(text: str) -> Table:
    """Read postmap's source format; keys are folded to lower case, the first of equals wins."""
    table: dict[str, str] = {}
    for line in text.splitlines():
        assert not line[:1].isspace(), "would continue the line before"
        assert not line.startswith(("#", '"')), "would be a comment or a quoted key"
        key, value = line.split(None, 1)
        assert key.lower() not in table, "postmap warns of a key that is there twice"
        table[key.lower()] = value
    return table


def split(address: str) -> tuple[str, str, str]:
    """Local part without its extension, the extension with its delimiter, and the domain."""
    local, _, domain = address.rpartition("@")
    at = local.find("+")
    return (local[:at], local[at:], domain) if at > 0 else (local, "", domain)


def find(table: Table, address: str) -> str | None:
    """user+extension@domain, user@domain, @domain."""
    local, extension, domain = split(address.lower())
    for key in (f"{local}{extension}@{domain}", f"{local}@{domain}", f"@{domain}"):
        if key in table:
            return table[key]
    return None


def expand(aliases: Table, recipient: str) -> list[str]:
    """cleanup(8): replace until nothing changes; an address may stand for itself once."""
    waiting, final, seen = [recipient], [], set[str]()
    while waiting:
        address = waiting.pop(0)
        value = None if address.lower() in seen else find(aliases, address)
        if value is None:
            final.append(address)
            continue
        seen.add(address.lower())
        found = value.split(", ")
        if address.lower() in (other.lower() for other in found):
            final.append(address)
            found = [other for other in found if other.lower() != address.lower()]
        waiting.extend(found)
    return list(dict.fromkeys(final))


class MailServer:
    """Postfix in front of Dovecot, with the five tables of a directory."""

    def __init__(self, tables: Mapping[str, str]) -> None:
        self.domains = read_table(tables["postfix-virtual-domains"])
        self.mailboxes = read_table(tables["postfix-virtual-mailboxes"])
        self.aliases = read_table(tables["postfix-virtual-aliases"])
        self.sender_logins = read_table(tables["postfix-sender-logins"])
        self.users: dict[str, str] = {}
        self.homes: dict[str, str] = {}
        self.former: dict[str, str] = {}
        for line in tables["dovecot-passwd"].splitlines():
            user, password_hash, *rest, home, shell, fields = line.split(":")
            assert [""] * 4 == [*rest, shell], "uid, gid, gecos and shell are empty"
            assert re.fullmatch(r"(/srv/mail/[^/]+/[^/]+)?", home)
            if home:
                self.homes[user] = home
            fields = re.sub(r"^shard=\d+ ?", "", fields)
            if renamed := re.fullmatch("renamed=([^ ]+)", fields):
                assert "{CRYPT}*" == password_hash
                self.former[user] = renamed[1]
                continue
            assert all(each.startswith("app-") for each in fields.split()), "app passwords only"
            assert not user.startswith("#"), "would be a comment"
            assert user not in self.users
            self.users[user] = password_hash

    def accepts(self, recipient: str) -> bool:
        """smtpd(8), reject_unlisted_recipient, for a recipient at one of its domains."""
        return any(find(table, recipient) for table in (self.aliases, self.mailboxes))

    def receive(self, recipient: str) -> tuple[list[str], list[str]]:
        """Return where a mail to `recipient` ends: at LMTP addresses of users, and outside."""
        inside, outside = [], []
        for address in expand(self.aliases, recipient):
            local, extension, domain = split(address)
            if domain.lower() not in self.domains:
                outside.append(address)
            elif f"{local}@{domain}".lower() in self.users:
                inside.append(f"{local}{extension}@{domain}")
        return inside, outside

    def may_send_as(self, login: str, sender: str) -> bool:
        """smtpd(8), reject_sender_login_mismatch."""
        owners = find(self.sender_logins, sender)
        return owners is not None and login in owners.split(", ")
