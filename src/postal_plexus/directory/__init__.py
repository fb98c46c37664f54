"""Who has mail here: domains, mailboxes and aliases, their lookups and renderings. Pure.

What every reader of the directory needs is here. Two modules stand apart, because they need a
library that the small host does not carry: `stack` reads the stack configuration (`read_stack`),
and `stack_file` the text of a Pulumi stack file.
"""

from postal_plexus.directory.address import Address, AddressError, without_subaddress
from postal_plexus.directory.entries import Alias, DirectoryError, Domain, Mailbox
from postal_plexus.directory.model import Directory, Resolution
from postal_plexus.directory.receipt_rules import RuleRecipients, receipt_rules
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
    "RuleRecipients",
    "dovecot_passwd",
    "postfix_sender_logins",
    "postfix_virtual_aliases",
    "postfix_virtual_domains",
    "postfix_virtual_mailboxes",
    "receipt_rules",
    "without_subaddress",
]
