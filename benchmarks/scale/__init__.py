"""What grows with mailboxes, clients and hosts, and a day of 10,000 mailboxes simulated."""
