"""Who has mail here: domains, mailboxes and aliases, their lookups and renderings. Pure."""
