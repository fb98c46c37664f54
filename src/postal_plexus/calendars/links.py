"""The shared collections in the store, and the symbolic links by which members find them.

A shared collection is a directory of its own, outside every home. A link in a member's home leads
to it, which is how Radicale shares a collection. The links follow the shares: one that no longer
belongs to a user is removed, and the collection itself always stays.
"""

import json
from pathlib import Path

from postal_plexus.calendars.shares import KINDS, PREFIX, Share, shares_of
from postal_plexus.maintenance.calendar_store import HOMES, PROPERTIES, SHARED, write

# What Apple's clients ask for: events and tasks.
COMPONENTS = "VEVENT,VTODO"


def create_shared(store: Path, shares: tuple[Share, ...]) -> None:
    """Create the directories of the shared collections that are not there.

    Raises:
        OSError: the store does not take them.
    """
    for share in shares:
        folder = store / SHARED / share.folder
        if (folder / PROPERTIES).exists():
            continue
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        properties = {"tag": KINDS[share.kind], "D:displayname": share.name}
        if share.kind == "calendars":
            properties["C:supported-calendar-component-set"] = COMPONENTS
        write(folder / PROPERTIES, json.dumps(properties))


def link_shared(store: Path, user: str, shares: tuple[Share, ...]) -> None:
    """Let the links in a user's home be those of the user's shares. Without a home, do nothing.

    Raises:
        OSError: the store does not take them.
    """
    home = store / HOMES / user
    if not home.is_dir():
        return
    wanted = {
        name: f"../../{SHARED}/{share.folder}" for name, share in shares_of(user, shares).items()
    }
    for entry in home.iterdir():
        if not entry.name.startswith(PREFIX) or not entry.is_symlink():
            continue
        if wanted.get(entry.name) != str(entry.readlink()):
            entry.unlink()
    for name, target in wanted.items():
        if not (home / name).is_symlink():
            (home / name).symlink_to(target)
