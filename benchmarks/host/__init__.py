"""The three containers of a host: memory under load, the speed of mailboxes and relay."""
