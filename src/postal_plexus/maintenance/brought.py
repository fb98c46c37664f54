"""Record what an import's passes have imported: what is missing now was moved or deleted here.

A sync regards a message that the mailbox lacks as deleted there only below the last message that
both sides have. So the newest messages of a folder would come back with each pass after their
reader has filed them. Therefore the GUIDs that were imported into each folder are recorded beside
the staging directory. Those no longer in their folder get a keyword in the view, and the sync skips
them.
"""

import json
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import cast

from postal_plexus.maintenance.dsync import Dsync
from postal_plexus.maintenance.modified_utf7 import decode

GONE = "$PlexusGone"
_AT_ONCE = 1000


class Brought:
    """The record of one source.

    Args:
        path: its file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, frozenset[str]]:
        """Return the GUIDs that were imported from each staged folder."""
        if not self._path.exists():
            return {}
        kept = cast("dict[str, list[str]]", json.loads(self._path.read_text("utf-8")))
        return {folder: frozenset(guids) for folder, guids in kept.items()}

    def write(self, guids: Mapping[str, Iterable[str]]) -> None:
        """Record them, after a sync that completed."""
        fresh = self._path.with_name(f"{self._path.name}.new")
        fresh.write_text(json.dumps({folder: list(its) for folder, its in guids.items()}), "utf-8")
        fresh.rename(self._path)


def gone(brought: Set[str], staged: Mapping[str, int], here: Set[str]) -> list[int]:
    """Return the UIDs of staged messages that were imported and are no longer here. Pure.

    Args:
        brought: GUIDs.
        staged: GUID -> UID.
        here: GUIDs.
    """
    return sorted(uid for guid, uid in staged.items() if guid in brought and guid not in here)


def guids(dsync: Dsync, settings: list[str], folder: str) -> dict[str, int]:
    """Return GUID -> UID of a folder in modified UTF-7. Raises SyncError."""
    words = ["fetch", "--no-userdb-lookup", "uid guid", "mailbox", decode(folder), "all"]
    return {guid: int(uid) for uid, guid in dsync.rows(settings, words)}


def on_mails(
    dsync: Dsync, settings: list[str], words: list[str], folder: str, uids: list[int]
) -> None:
    """Run a command of doveadm on messages of a folder. Raises SyncError."""
    verb, rest = words[0].split(), words[1:]
    for at in range(0, len(uids), _AT_ONCE):
        some = ",".join(map(str, uids[at : at + _AT_ONCE]))
        dsync.rows(
            settings,
            [*verb, "--no-userdb-lookup", *rest, "mailbox", decode(folder), "uid", some],
        )
