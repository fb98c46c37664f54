"""Who has mail here: domains, mailboxes and aliases, their lookups and renderings. Pure.

`postal_plexus.config` makes a directory of the stack file, on the operator's side. Three modules
here are for that side only, and `deliver` does not load them: `idn` needs the library `idna`,
`password_hash` says which hashes a mailbox may have, and `receipt_rules` makes rules for SES.
"""

from postal_plexus.directory.address import Address, AddressError, without_subaddress
from postal_plexus.directory.entries import Alias, DirectoryError, Domain, Mailbox
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
    "Mailbox",
    "Resolution",
    "dovecot_passwd",
    "postfix_sender_logins",
    "postfix_virtual_aliases",
    "postfix_virtual_domains",
    "postfix_virtual_mailboxes",
    "without_subaddress",
]
