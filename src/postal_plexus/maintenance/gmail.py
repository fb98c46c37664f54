"""Gmail's labels, which it shows as folders: which of them come, and where archived mail goes.

A mail is in a folder for each of its labels, and in All Mail unless it is junk or trash; the same
X-GM-MSGID says so, which Dovecot takes for its GUID. Starred and Important repeat what is elsewhere
and are left out (a star is a flag, which comes). All Mail is staged with all else, so that nothing
is missing, whatever labels the server hides; but what is shown of it in the mailbox, as Archive, is
what is in no other folder. That part is a folder of its own in the staging directory, `ARCHIVED`,
whose UIDs grow as in any. All Mail's do not when an old mail is archived, and a sync takes what is
missing below the last UID for deleted here.

Not Dovecot's `gmail-migration`: it adds a keyword to mails, and X-GM-LABELS, by which it knows
archived mail, has Important in it.
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
    """The folders of an account, and which mails are in them.

    Attributes:
        all_mail: All Mail's name, as it is staged.
        ids: folder -> UID -> X-GM-MSGID, without the folders that are left out.
        left_out: the names of those.
    """

    all_mail: str
    ids: Mapping[str, Mapping[int, int]]
    left_out: frozenset[str]

    def archived(self, uids: Mapping[str, Iterable[int]] | None = None) -> dict[int, int]:
        """Return UID -> id of the mails of All Mail that no other folder has. Pure.

        Args:
            uids: which UIDs each folder has, if not all.
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
        """Return folders and UIDs of each mail that is in several, `but` for one folder. Pure."""
        found: dict[int, list[tuple[str, int]]] = {}
        for name, its in self.ids.items():
            for uid, number in its.items() if name != but else ():
                found.setdefault(number, []).append((name, uid))
        return {number: places for number, places in found.items() if len(places) > 1}


def read_labels(server: ImapServer) -> Labels:
    """Return what an account has. Raises SyncError: All Mail is hidden from IMAP."""
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
    """Store what is under several labels once in a mailbox, if anything came.

    Args:
        root: of the mailbox's mails.
        folders: of it, in modified UTF-7.
        labels: what the account has.
        before: the UIDs that each folder had when that was last done.
    """
    files = {folder: stored(root, folder) for folder in folders}
    if all(its.keys() <= before.get(folder, frozenset()) for folder, its in files.items()):
        return
    several = {str(number) for number in labels.instances(but=labels.all_mail)}
    places: dict[str, list[Path]] = {}
    for path in (path for its in files.values() for path in its.values()):
        with contextlib.suppress(FileNotFoundError):  # a client removed it
            if (named := guid_of(path)) in several:
                places.setdefault(named, []).append(path)
    for paths in places.values():
        share(paths)


class Archive:
    """The folder of archived mail in a staging directory.

    Args:
        dsync: Dovecot's programs.
        settings: lead them to the staging directory.
        staging: that directory.
        labels: what the account has.
    """

    def __init__(self, dsync: Dsync, settings: list[str], staging: Staging, labels: Labels) -> None:
        self._dsync = dsync
        self._settings = settings
        self._staging = staging
        self._labels = labels

    def update(self) -> None:
        """Make it what is archived now, with the flags of now. Raises SyncError."""
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
        """Store what is in several staged folders once.

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
