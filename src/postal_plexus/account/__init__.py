"""The account page: users change their passwords, second factor and out-of-office reply themselves.

There are two programs. `keeper` runs in Dovecot's container, where hashes and mailboxes are; it
checks each request again, and only it writes. The page (`web`) serves browsers. It stores no secret
and no session, so an attacker who takes it over gets only what users enter from then on.

Pure: `totp`, `strength`, `record`, `vacation`, `messages`. The other modules do I/O.
"""
