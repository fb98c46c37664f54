"""The service that moves mail from SES's queue into the mailboxes."""
