"""The file by which a task holds a mailbox: its name, its text, and the lock beside it. Pure.

The name is the SHA-256 of the address in hex, the text four lines:

    plexus-hold 1
    ADDRESS
    BOOT ID           /proc/sys/kernel/random/boot_id
    UNTIL OWNER       seconds as /proc/uptime counts them, and who may end the hold

Time is the kernel's since its boot, so that no change of a clock ends a hold early or makes one
last. Anything that is not such a text is no hold; neither is one that ends later than any task asks
for. `maintenance.mailbox_hold` writes it; `deliver.mailbox_holds` and, for Postfix,
containers/dovecot/holds.lua read it.

A delivery that has begun has a read lock on one octet of the file `.lock` in the same directory,
which the address determines. A task writes its hold first, and then waits for the write lock.
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
    """Return for how long a hold's text holds the mailbox; 0 where it does not.

    Args:
        text: the file's.
        mailbox: whom it must name.
        boot_id: of the running kernel; no hold of another boot counts.
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
    """Return which octet of the lock file stands for the mailbox."""
    return int.from_bytes(hashlib.sha256(mailbox.encode()).digest()[:4])


def lock(kind: int, octet: int) -> bytes:
    """Return what fcntl(2) takes for a lock of that kind (F_RDLCK ...) on one octet."""
    return _FLOCK.pack(kind, os.SEEK_SET, octet, 1, 0)
