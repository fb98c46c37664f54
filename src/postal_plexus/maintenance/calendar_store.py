"""Where calendars and address books are in the store, for Radicale's container and Dovecot's tasks.

A collection is a directory with a file for each entry, and its properties in a file as JSON. The
names are Radicale's (https://radicale.org/v3.html); `SHARED` is ours.
"""

import json
import os
import secrets
from pathlib import Path
from typing import cast

HOMES, SHARED = "collection-root", "shared"
PROPERTIES = ".Radicale.props"
LOCK = ".Radicale.lock"
STORED_BYTES = 256 << 20
"""What one user, or one shared collection, may store: 50,000 events, or 5,000 with pictures."""


def properties(collection: Path) -> dict[str, str]:
    """Return a collection's properties; none if they cannot be read. Follows links."""
    try:
        read: object = json.loads((collection / PROPERTIES).read_bytes())
    except (OSError, ValueError):
        return {}
    return cast("dict[str, str]", read) if isinstance(read, dict) else {}


def shown_name(collection: Path) -> str:
    """Return the name of a collection that users see. Follows links."""
    return properties(collection).get("D:displayname") or collection.name


def write(path: Path, text: str, owner: tuple[int, int] | None = None) -> None:
    """Write a file of a collection that appears whole, and is on the disk when this returns.

    Args:
        path: the file, which is replaced if it exists.
        text: its content.
        owner: its uid and gid, if not the process's own.

    Raises:
        OSError: it was not stored; the previous file is unchanged.
    """
    # Radicale does not serve names that begin with a full stop.
    fresh = path.with_name(f".Radicale.tmp-{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(fresh, flags, 0o600), "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            if owner:
                os.fchown(file.fileno(), *owner)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
