"""Who has mail here: domains, mailboxes and aliases, their lookups and renderings. Pure.

What `deliver` needs on its small host is here. What only the operator's side needs stands apart,
so that its libraries are not loaded there: `stack` reads the stack configuration (`read_stack`),
`stack_file` the text of a Pulumi stack file, and `receipt_rules` makes rules for SES.
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
