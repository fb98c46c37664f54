"""Import Gmail's labels, which are folders in IMAP, and its archived mail.

A message is in a folder for each of its labels, and in All Mail unless it is junk or trash. Its
copies have the same X-GM-MSGID, which Dovecot uses as the GUID. Starred and Important repeat
messages of other folders and are skipped (a star is a flag, which is imported). All Mail is staged
like the others, so that nothing is missing, whatever labels the server hides. But the mailbox's
Archive gets only those of its messages that are in no other folder. They are a separate folder in
the staging directory, `ARCHIVED`, whose UIDs grow as in any folder. All Mail's UIDs do not grow
when an old message is archived, and a sync regards what is missing below the last UID as deleted
here.

Dovecot's `gmail-migration` is not used: it adds a keyword to messages, and recognizes archived ones
by X-GM-LABELS, which contains Important.
"""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from postal_plexus.maintenance.brought import on_mails
from postal_plexus.maintenance.codes import DATA
from postal_plexus.maintenance.dsync import Dsync, SyncError
from postal_plexus.maintenance.imap_server import ImapServer
from postal_plexus.maintenance.modified_utf7 import decode
from postal_plexus.maintenance.staging import ARCHIVED, Staging, guid_of, share, stored

LEFT_OUT = ("\\Flagged", "\\Important")


@dataclass(frozen=True)
class Labels:
    """The folders of an account, and the messages in them.

    Attributes:
        all_mail: All Mail's name in the staging directory.
        ids: folder -> UID -> X-GM-MSGID, without the skipped folders.
        left_out: the names of the skipped folders.
    """

    all_mail: str
    ids: Mapping[str, Mapping[int, int]]
    left_out: frozenset[str]

    def archived(self, uids: Mapping[str, Iterable[int]] | None = None) -> dict[int, int]:
        """Return UID -> id of All Mail's messages that no other folder contains. Pure.

        Args:
            uids: the UIDs to consider in each folder, if not all.
        """
        there = self.ids if uids is None else uids
        labelled = {
            self.ids[name].get(uid)
            for name in there.keys() & self.ids.keys() - {self.all_mail}
            for uid in there[name]
        }
        its = self.ids[self.all_mail]
        return {
            uid: its[uid]
            for uid in there.get(self.all_mail, ())
            if uid in its and its[uid] not in labelled
        }

    def instances(self, but: str = "") -> dict[int, list[tuple[str, int]]]:
        """Return folders and UIDs of each message in several folders, except in `but`. Pure."""
        found: dict[int, list[tuple[str, int]]] = {}
        for name, its in self.ids.items():
            for uid, number in its.items() if name != but else ():
                found.setdefault(number, []).append((name, uid))
        return {number: places for number, places in found.items() if len(places) > 1}


def read_labels(server: ImapServer) -> Labels:
    """Read an account's labels. Raises SyncError if All Mail is hidden from IMAP."""
    named = {use: each for each in server.folders for use in each.attributes}
    if "\\all" not in named:
        raise SyncError(
            DATA,
            "Gmail does not show All Mail, where archived mail is: in its settings, Labels, tick"
            " Show in IMAP beside All Mail",
        )
    left_out = {named[use.lower()].name for use in LEFT_OUT if use.lower() in named}
    ids = {each.name: server.ids(each) for each in server.folders if each.name not in left_out}
    return Labels(named["\\all"].name, ids, frozenset(left_out))


def share_labelled(
    root: Path, folders: Iterable[str], labels: Labels, before: Mapping[str, frozenset[int]]
) -> None:
    """Store each message with several labels once in a mailbox, if any are new.

    Args:
        root: the directory of the mailbox's messages.
        folders: the mailbox's folders, in modified UTF-7.
        labels: the account's labels.
        before: the UIDs that each folder had when that was last done.
    """
    files = {folder: stored(root, folder) for folder in folders}
    if all(its.keys() <= before.get(folder, frozenset()) for folder, its in files.items()):
        return
    several = {str(number) for number in labels.instances(but=labels.all_mail)}
    places: dict[str, list[Path]] = {}
    for path in (path for its in files.values() for path in its.values()):
        with contextlib.suppress(FileNotFoundError):  # a client has deleted it
            if (named := guid_of(path)) in several:
                places.setdefault(named, []).append(path)
    for paths in places.values():
        share(paths)


class Archive:
    """The folder of archived messages in a staging directory.

    Args:
        dsync: Dovecot's programs.
        settings: the settings for the staging directory.
        staging: that directory.
        labels: the account's labels.
    """

    def __init__(self, dsync: Dsync, settings: list[str], staging: Staging, labels: Labels) -> None:
        self._dsync = dsync
        self._settings = settings
        self._staging = staging
        self._labels = labels

    def update(self) -> None:
        """Make its content and flags those of the messages archived now. Raises SyncError."""
        all_mail = self._labels.all_mail
        staged = {
            name: self._staging.uids(name) for name in self._staging.folders() if name != ARCHIVED
        }
        wanted = {str(number): uid for uid, number in self._labels.archived(staged).items()}
        flags = {int(uid): its for uid, its in self._rows("uid flags", all_mail)}
        have: dict[str, tuple[int, str]] = {}
        if ARCHIVED in self._staging.folders():
            for uid, named, its in self._rows("uid guid flags", ARCHIVED):
                have[named] = (int(uid), its)
        self._each(["expunge"], ARCHIVED, [have[each][0] for each in have.keys() - wanted.keys()])
        changed: dict[str, list[int]] = {}
        for each in have.keys() & wanted.keys():
            uid, its = have[each]
            if flags.get(wanted[each], its) != its:
                changed.setdefault(flags[wanted[each]], []).append(uid)
        for its, uids in changed.items():
            self._each(["flags replace", its], ARCHIVED, uids)
        if ARCHIVED not in self._staging.folders():
            words = ["mailbox", "create", "--no-userdb-lookup", ARCHIVED]
            self._dsync.rows(self._settings, words)
        new = sorted(wanted[each] for each in wanted.keys() - have.keys())
        self._each(["copy", ARCHIVED], all_mail, new)

    def share(self, before: Mapping[str, frozenset[int]]) -> None:
        """Store each message in several staged folders once.

        Args:
            before: the UIDs that each folder had when that was last done.
        """
        for mails in self._labels.instances().values():
            if any(uid not in before.get(name, ()) for name, uid in mails):
                share(self._staging.file(name, uid) for name, uid in mails)

    def _rows(self, fields: str, folder: str) -> list[list[str]]:
        words = ["fetch", "--no-userdb-lookup", fields, "mailbox", decode(folder), "all"]
        return self._dsync.rows(self._settings, words)

    def _each(self, words: list[str], folder: str, uids: list[int]) -> None:
        on_mails(self._dsync, self._settings, words, folder, uids)
