"""The fault harness: everything that can break breaks, and every mail is counted afterwards.

    python -m tests.chaos --help

A run is a plan made from a seed: N messages with known recipients, and the faults that meet them.
The real Dovecot container, the stub of AWS with its state on disk, and `deliver` as a process are
killed and restarted; a proxy between `deliver` and Dovecot cuts, delays and swallows; disks fill.
At the end each (mail, mailbox) is looked for over IMAP: there exactly once, or accounted for.
"""
