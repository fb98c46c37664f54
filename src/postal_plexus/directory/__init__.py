"""Who has mail here: domains, mailboxes and aliases, their look-ups and renderings. Pure.

`postal_plexus.config` creates a directory from the stack file, on the operator's side. Three
modules here are only for that side, and `deliver` does not load them: `idn` needs the library
`idna`, `password_hash` decides which hashes a mailbox may have, and `receipt_rules` creates rules
for SES.
"""

from postal_plexus.directory.address import Address, AddressError, without_subaddress
from postal_plexus.directory.entries import Alias, DirectoryError, Domain, Host, Mailbox
from postal_plexus.directory.model import Directory, Resolution
from postal_plexus.directory.tables import (
    TABLES,
    dovecot_passwd,
    postfix_sender_logins,
    postfix_virtual_aliases,
    postfix_virtual_domains,
    postfix_virtual_mailboxes,
)

__all__ = [
    "TABLES",
    "Address",
    "AddressError",
    "Alias",
    "Directory",
    "DirectoryError",
    "Domain",
    "Host",
    "Mailbox",
    "Resolution",
    "dovecot_passwd",
    "postfix_sender_logins",
    "postfix_virtual_aliases",
    "postfix_virtual_domains",
    "postfix_virtual_mailboxes",
    "without_subaddress",
]
