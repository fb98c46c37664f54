"""Import mail into one mailbox, with Dovecot's own sync, in two steps.

    1. The source is mirrored into a staging directory, where each message gets its GUID once.
    2. The staging directory is synced one way into the mailbox, by GUID, while the mailbox is held.

A sync directly into the mailbox would duplicate each new message once mail has arrived on both
sides, because IMAP has no permanent identifier for a message. Each step may be killed and run
again. A later pass imports what is new, and applies moves and deletions at the source; users' own
changes here stay. A source that has lost many messages since the last pass (an emptied account) is
refused.

Kinds of lines: `source` its content, `progress`, and at the end one `folder` for each. Exit code:
0; 64 the job is invalid, or the source was finished; 65 Dovecot does not understand the source, or
the source has lost many messages; 67 the mailbox does not exist; 73 no space in the mailbox; 75
incomplete: run it again; 77 the source refuses name or password; 137 a message is too large for the
task's memory.
"""

import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from postal_plexus.maintenance import calls
from postal_plexus.maintenance.at_home import at_home
from postal_plexus.maintenance.brought import GONE, Brought, gone, guids, on_mails
from postal_plexus.maintenance.calls import Call, Verb
from postal_plexus.maintenance.codes import AGAIN, DATA, NO_ROOM, USAGE, StatusError
from postal_plexus.maintenance.dsync import (
    SEARCH_PLUGINS,
    STAGED,
    Counts,
    Dsync,
    Large,
    LimitedError,
    SyncError,
    at,
    prefetch,
    without,
)
from postal_plexus.maintenance.gmail import LEFT_OUT, Archive, Labels, read_labels, share_labelled
from postal_plexus.maintenance.hand_over import take
from postal_plexus.maintenance.imap_server import connected
from postal_plexus.maintenance.import_job import SPECIAL, Job, JobError, read_job, target_folders
from postal_plexus.maintenance.mail_records import LARGEST
from postal_plexus.maintenance.mailbox_hold import HOLDS_PATH, MailboxBusyError, hold
from postal_plexus.maintenance.mailboxes import STORE, home, mail_address, quota
from postal_plexus.maintenance.modified_utf7 import decode, encode
from postal_plexus.maintenance.output import PROGRESS, Output
from postal_plexus.maintenance.staging import (
    ARCHIVED,
    UNSEEN,
    Staging,
    finish,
    guid_of,
    make_own,
    stored,
)

_RUN = Path("/run/import")
_TICK_SECONDS = 5.0
_MOST_TRIES = 20
_MERGE_TRIES = 5
# How many messages a person may delete between two passes.
_FEW_MAILS = 50


class Import:
    """One pass of one import.

    Args:
        address: the mailbox.
        job: the import's job.
        output: the task's output.
        tree: the directory of an uploaded Maildir.
    """

    def __init__(self, address: str, job: Job, output: Output, tree: Path | None = None) -> None:
        self._address = address
        self._job = job
        self._output = output
        # Dovecot's programs and the directories use the address under which the mail is stored.
        self._first = mail_address(address)
        self._staging = Staging(STORE, self._first, job.staging_name)
        self._dsync = Dsync(self._first, _RUN)
        self._labels: Labels | None = None
        self._is_unshared = self._staging.unshared.exists()
        self._uses: dict[str, str] = {}
        self._ahead = 0
        if tree is None:
            self._source = at("imapc", self._dsync.notes)
            # The count has stored the sizes in the notes, so the sync need not request each.
            self._location = [f"imapc:{self._dsync.notes}"]
        else:
            layout = {"mailbox_list_layout": "fs", "mail_index_path": str(self._dsync.notes)}
            self._source = at("maildir", tree, layout)
            own = [word for name, value in layout.items() for word in ("-p", f"{name}={value}")]
            self._location = [*own, f"maildir:{tree}"]
        self._mailbox = without(SEARCH_PLUGINS)

    def run(self) -> int:
        """Run the pass; return the exit code. Raises SyncError, MailboxBusyError."""
        if (day := self._staging.finished) and not self._job.again:
            return self._output.fail(
                USAGE, f"this import was finished on {day}: once more would store everything twice"
            )
        self._staging.recover()
        if self._job.kind != "imap":
            self._dsync.configure(self._job)
            return self._pass()
        with connected(self._job) as server:
            self._uses = {
                ours: each.name
                for each in server.folders
                for ours in SPECIAL
                if f"\\{ours.lower()}" in each.attributes
            }
            if server.is_gmail:
                self._labels = read_labels(server)
        self._dsync.configure(self._job, has_labels=self._labels is not None)
        with self._dsync.services():
            return self._pass()

    def _pass(self) -> int:
        there, large = self._there()
        had = self._staged()
        room = quota(self._address)
        left = sum(each.octets for its in large.values() for each in its)
        new = max(0, _octets(there) - left - _octets(had))
        self._output.say(
            "source",
            mails=sum(each.mails for each in there.values()),
            octets=_octets(there),
            staged=sum(each.mails for each in had.values()),
            new_octets=new,
            mailbox_octets=room.octets,
        )
        if not room.has_room(new) and not self._job.over_quota:
            return self._output.fail(NO_ROOM, room.full(self._address, new))
        mails, kept = (sum(each.mails for each in counts.values()) for counts in (there, had))
        if kept - mails > max(_FEW_MAILS, kept // 10) and not self._job.deletions:
            return self._output.fail(
                DATA,
                f"the source has {kept - mails} messages fewer than at the last pass; an import"
                " would remove them here as well",
            )
        if not self._job.look:
            self._staging.begin_again()
            self._stage(sum(each.mails for each in there.values()))
            self._merge()
        self._report(there, large)
        return 0

    def _there(self) -> tuple[dict[str, Counts], dict[str, list[Large]]]:
        """Count what is to import (of All Mail: the archived messages), and what is too large."""
        there = self._dsync.counts(self._source)
        large = self._dsync.large(self._source)
        if self._labels:
            for name in map(decode, self._labels.left_out):
                there.pop(name, None)
                large.pop(name, None)
            all_mail, archived = decode(self._labels.all_mail), self._labels.archived()
            words = ["fetch", "--no-userdb-lookup", "uid size.virtual", "mailbox", all_mail, "all"]
            rows = self._dsync.rows(self._source, words)
            sizes = [int(octets) for uid, octets in rows if int(uid) in archived]
            there[all_mail] = Counts(len(sizes), sum(sizes))
            large[all_mail] = [each for each in large.get(all_mail, ()) if each.uid in archived]
        self._ahead = prefetch(large.values())
        return there, {
            name: [each for each in its if each.octets > LARGEST] for name, its in large.items()
        }

    def _staged(self) -> dict[str, Counts]:
        if not self._staging.path.exists():
            return {}
        staged = self._dsync.counts(at("sdbox", self._staging.path))
        if self._labels:
            staged[decode(self._labels.all_mail)] = staged.pop(ARCHIVED, Counts(0, 0))
        return staged

    def _targets(self, staged: Iterable[str]) -> dict[str, str]:
        """Return the folder here for each staged folder in the view."""
        folders, chosen, uses = set(staged), dict(self._job.folders), dict(self._uses)
        if self._labels:
            all_mail = self._labels.all_mail
            folders = folders - {all_mail} | {ARCHIVED}
            uses["Archive"] = ARCHIVED
            if decode(all_mail) in chosen:
                chosen[ARCHIVED] = chosen.pop(decode(all_mail))
        return target_folders(folders, chosen, uses)

    def _stage(self, expected: int) -> None:
        """Mirror the source. After a lost connection, continue where it was."""
        # The first pass has all messages, and nothing goes on to the mailbox before its end.
        if is_unsynced := self._staging.unsynced.is_so:
            make_own(self._staging.home, STORE)
            self._staging.unsynced.begin()
        self._staging.make()
        words = ["backup", "-R", "--no-userdb-lookup", "-I", str(LARGEST)]
        if self._labels:
            words += ["-a", f"{STAGED}/all", "-x", ARCHIVED]
            words += [word for each in LEFT_OUT for word in ("-x", each)]
        before = self._staging.mails()
        had = self._shared(self._staging.path, self._staging.folders())
        if self._labels:
            self._staging.unshared.touch()

        def tick() -> None:
            self._output.say(PROGRESS, step="fetch", mails=self._staging.mails(), of=expected)

        settings = [*at("sdbox", self._staging.path), f"mail_prefetch_count={self._ahead}"]
        if is_unsynced:
            settings.append("mail_fsync=never")
        for attempt in range(1, _MOST_TRIES + 1):
            self._clear(self._staging.path, settings, None)
            try:
                self._dsync.sync(settings, [*words, *self._location], tick, _TICK_SECONDS)
            except SyncError as error:
                now = self._staging.mails()
                is_stuck = now <= before and attempt > 2
                is_over = is_stuck or attempt == _MOST_TRIES or isinstance(error, LimitedError)
                if error.status != AGAIN or is_over:
                    raise
                before = now
                time.sleep(1)
            else:
                break
        if self._labels:
            archive = Archive(self._dsync, settings, self._staging, self._labels)
            archive.update()
            archive.share(had)
        if is_unsynced:
            self._staging.unsynced.end()

    def _merge(self) -> None:
        """Sync the staging directory into the mailbox, which is held meanwhile."""
        names = self._targets(self._staging.folders())
        words = ["sync", "-1", "-R", "--no-userdb-lookup", "-x", f"*/{UNSEEN}", "-x", ".Expunged"]
        words += ["-O", f"-{GONE}", "-p", "mail_index_path=", f"sdbox:{self._staging.view}"]
        mails = home(STORE, self._first) / "sdbox"
        had = self._shared(mails, names.values())

        def tick() -> None:
            self._output.say(PROGRESS, step="file")

        try:
            # Creating a link for each message takes a while, so do it before the hold.
            self._staging.show(names)
            staged = self._mark_gone(names)
            with hold(self._address, HOLDS_PATH):
                for attempt in range(1, _MERGE_TRIES + 1):
                    self._clear(mails, self._mailbox, set(names.values()))
                    if attempt > 1:
                        self._staging.show(names)
                        self._mark_gone(names)
                    try:
                        self._dsync.sync(self._mailbox, words, tick, _TICK_SECONDS)
                    except SyncError as error:
                        # A client has changed something meanwhile.
                        if error.status != AGAIN or attempt == _MERGE_TRIES:
                            raise
                    else:
                        break
        finally:
            self._staging.hide()
        Brought(self._staging.brought).write(staged)
        if self._labels:
            share_labelled(mails, names.values(), self._labels, had)
            self._staging.unshared.unlink()

    def _mark_gone(self, names: Mapping[str, str]) -> dict[str, list[str]]:
        """Mark in the view imported messages that are gone; return the staged GUIDs."""
        brought = Brought(self._staging.brought).read()
        view, staging = (at("sdbox", each) for each in (self._staging.view, self._staging.path))
        exist = {encode(each) for each in self._dsync.counts(self._mailbox)}
        staged: dict[str, list[str]] = {}
        for theirs, ours in names.items():
            its = guids(self._dsync, staging, theirs)
            staged[theirs] = list(its)
            if theirs in brought and ours in exist:
                here = guids(self._dsync, self._mailbox, ours).keys()
                uids = gone(brought[theirs], its, here)
                on_mails(self._dsync, view, ["flags add", GONE], ours, uids)
        return staged

    def _shared(self, root: Path, folders: Iterable[str]) -> dict[str, frozenset[int]]:
        """Return the UIDs of the messages at the time of the last sharing."""
        if self._labels is None or self._is_unshared:
            return {}
        return {each: frozenset(stored(root, each)) for each in folders}

    def _clear(self, root: Path, settings: Sequence[str], folders: set[str] | None) -> None:
        """Remove what a killed step left: messages that are stored, but in no index.

        Dovecot would find them when it needs their file names, and add them without flags. In the
        mailbox only staged messages are removed: the sync adds them again, with their flags.

        Args:
            root: the directory of the messages.
            settings: the settings for that directory.
            folders: the mailbox's folders to check; None for the staging directory.
        """
        staged: set[str] = set()
        for name, counted in self._dsync.counts(settings).items() if root.is_dir() else ():
            folder = encode(name)
            files = stored(root, folder)
            if len(files) <= counted.mails or (folders is not None and folder not in folders):
                continue
            words = ["fetch", "--no-userdb-lookup", "uid", "mailbox", name, "all"]
            indexed = {int(uid) for (uid,) in self._dsync.rows(settings, words)}
            for uid in files.keys() - indexed:
                if folders is not None:
                    staged = staged or self._staging.guids()
                    if guid_of(files[uid]) not in staged:
                        continue
                files[uid].unlink()

    def _report(self, there: Mapping[str, Counts], large: Mapping[str, Sequence[Large]]) -> None:
        staged, now = self._staged(), self._dsync.counts(self._mailbox)
        ours = self._targets(map(encode, staged or there))
        if self._labels:
            ours[self._labels.all_mail] = ours[ARCHIVED]
        named = {_plain(each): each for each in staged}
        nothing = Counts(0, 0)
        for name in sorted({*there, *(named.keys() - {_plain(each) for each in there})}):
            kept_as = named.get(_plain(name), name)
            source, kept = there.get(name, nothing), staged.get(kept_as, nothing)
            target = decode(ours.get(encode(kept_as), encode(kept_as)))
            if source.mails or kept.mails:
                self._output.say(
                    "folder",
                    source=_plain(name),
                    folder=target,
                    mails=source.mails,
                    octets=source.octets,
                    brought=kept.mails,
                    brought_octets=kept.octets,
                    now=now.get(target, nothing).mails,
                    too_large=[
                        {"uid": each.uid, "octets": each.octets} for each in large.get(name, ())
                    ][:50],
                )


def _plain(name: str) -> str:
    """Return a folder's name without Dovecot's replacements for reserved names.

    Dovecot shows `~home` as `~7ehome`, and stores it as `_~home`.
    """
    shown = re.sub(r"~([0-9a-f]{2})", lambda each: chr(int(each[1], 16)), name)
    return re.sub(r"(^|/)_(?=~)", r"\1", shown)


def _octets(counts: Mapping[str, Counts]) -> int:
    return sum(each.octets for each in counts.values())


def imported(address: str, text: str, output: Output, tree: Path | None = None) -> int:
    """Run a pass of the job in a JSON text; return the exit code."""
    try:
        return Import(address, read_job(text), output, tree).run()
    except JobError as error:
        return output.fail(USAGE, str(error))
    except MailboxBusyError as error:
        return output.fail(AGAIN, str(error))
    except StatusError as error:
        return output.fail(error.status, str(error))


def _import(call: Call, output: Output) -> int:
    return imported(call.words[0], take(call.options["job"], os.environ), output)


def _finish(call: Call, output: Output) -> int:
    day = time.strftime("%Y-%m-%d", time.gmtime())
    output.say("finished", sources=finish(STORE, mail_address(call.words[0]), day))
    return 0


VERBS = {
    "import": Verb(at_home(_import), calls.ADDRESS, 1, 1, {"job": calls.NAME}),
    "import-finish": Verb(at_home(_finish), calls.ADDRESS, 1, 1),
}
