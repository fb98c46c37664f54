"""My account: what users change by themselves: passwords, second factor, vacation.

Two programs. `keeper` runs in Dovecot's container, where hashes and mailboxes are: it checks each
request anew, and alone writes. The page (`web`) is what browsers talk to: it holds no secret and
no session, and whoever takes it over gets what users then type into it, and no more.

Pure: `totp`, `strength`, `record`, `changes`, `vacation`, `messages`. The rest is at the edge.
"""
