"""The file with which a task holds a mailbox: its name, its text, and the lock beside it. Pure.

The name is the SHA-256 of the address in hex, and the text has four lines:

    plexus-hold 1
    ADDRESS
    BOOT ID           /proc/sys/kernel/random/boot_id
    UNTIL OWNER       seconds as in /proc/uptime, and who may end the hold

Times are the kernel's seconds since the boot, so that changing a clock neither ends nor extends a
hold. A text of any other form is not a hold, nor is one that ends later than any task requests.
`maintenance.mailbox_hold` writes the file; `deliver.mailbox_holds` and, for Postfix,
containers/dovecot/holds.lua read it.

A delivery in progress has a read lock on one octet of the file `.lock` in the same directory; the
address determines the octet. A task writes its hold first, and then waits for the write lock.
"""

import hashlib
import os
import struct

LONGEST_SECONDS = 600.0
_MAGIC = "plexus-hold 1"
_FLOCK = struct.Struct("@hhqqi4x")  # struct flock of 64-bit Linux


def file_name(mailbox: str) -> str:
    """Return the name of the file that holds the mailbox."""
    return hashlib.sha256(mailbox.encode()).hexdigest()


def written(mailbox: str, boot_id: str, until: int, owner: str) -> str:
    """Return the text of a hold; `until` in seconds since the boot."""
    return f"{_MAGIC}\n{mailbox}\n{boot_id}\n{until} {owner}\n"


def hold_seconds(text: str, mailbox: str, boot_id: str, now: float) -> float:
    """Return for how many seconds a hold's text holds the mailbox; 0 if it does not.

    Args:
        text: the file's.
        mailbox: the mailbox that it must name.
        boot_id: of the running kernel; a hold of another boot does not count.
        now: seconds since that boot.
    """
    lines = text.split("\n")
    if len(lines) != 5 or lines[:3] != [_MAGIC, mailbox, boot_id] or not boot_id or lines[4]:
        return 0.0
    until = lines[3].partition(" ")[0]
    if not (until.isascii() and until.isdigit()):
        return 0.0
    left = float(until) - now
    return left if 0.0 < left <= LONGEST_SECONDS else 0.0


def lock_octet(mailbox: str) -> int:
    """Return the octet of the lock file that stands for the mailbox."""
    return int.from_bytes(hashlib.sha256(mailbox.encode()).digest()[:4])


def lock(kind: int, octet: int) -> bytes:
    """Return the fcntl(2) argument for a lock of that kind (F_RDLCK ...) on one octet."""
    return _FLOCK.pack(kind, os.SEEK_SET, octet, 1, 0)
