"""The staging directory of an import, in which each message of a source gets its GUID once.

IMAP has no permanent identifier for a message. A mirror of the source in sdbox has one, and stays
between passes, beside the mailboxes in the store, at `.import/DOMAIN/LOCAL PART/SOURCE`. For the
second step, a tree of hard links, `.view`, contains its folders under their names here.

The view has its own indexes. A sync changes the GUID and UIDVALIDITY of an INBOX to those of the
mailbox. If it changed the mirror's, the next pass would see a different mailbox than the source's,
fetch all messages again, and duplicate them.
"""

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from postal_plexus.maintenance.mailboxes import home

VMAIL = 5000
UNSEEN = ".unseen"
"""A folder in the view that is to be left out."""
ARCHIVED = ".archived"
"""A staged folder that the source has not: Gmail's messages without a label."""

_FOLDER = "dbox-Mails"
# Of an index's log (`.newlock` while a new one is created), of a Maildir's list of UIDs.
_LOCK_FILE = re.compile(r"(dovecot[a-z.-]*|subscriptions)\.(new)?lock")


class Unsynced:
    """A directory whose files are written without fsync until all of them are there.

    Meanwhile a note beside it contains the host's boot id. If the host goes down before the note is
    removed, any of the files may be incomplete, so that the directory has to be written again.

    Args:
        path: the directory.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._note = path.with_name(f"{path.name}.unsynced")

    @property
    def is_so(self) -> bool:
        """Whether fsync can be omitted: the directory does not exist yet, or is incomplete."""
        return self._note.exists() or not self._path.exists()

    def begin(self) -> None:
        """Write the note. To be called before the directory is created."""
        with self._note.open("w", encoding="ascii") as file:
            file.write(_boot())
            file.flush()
            os.fsync(file.fileno())

    def end(self) -> None:
        """Wait until everything is on the disk, and remove the note."""
        os.sync()
        self._note.unlink()

    def drop_torn(self) -> None:
        """Remove the directory if it was being written when the host went down."""
        if self._note.exists() and self._note.read_text("ascii") != _boot():
            shutil.rmtree(self._path, ignore_errors=True)
            self._note.unlink()


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


class Staging:
    """The staging directories of one mailbox.

    Args:
        store: the mail store.
        address: the mailbox.
        source: the source's name, unique for the mailbox.
    """

    def __init__(self, store: Path, address: str, source: str) -> None:
        self._store = store
        self.home = home(store / ".import", address)
        self.path = self.home / source
        self.view = self.home / ".view"
        self.unsynced = Unsynced(self.path)
        self._finished = self.home / f"{source}.finished"
        self.brought = self.home / f"{source}.brought"
        """What was brought from it: see that module."""
        self.unshared = self.home / f"{source}.unshared"
        """There while messages that are in several folders may be stored several times."""

    def make(self) -> None:
        """Create the directory, accessible only to the mail user."""
        make_own(self.path, self._store)

    def recover(self) -> None:
        """Remove what a killed task or a crashed host left that would stop the next task.

        Lock files: only one task works here at a time. Dovecot cannot tell that their owner, a
        process of another container, has ended, and would wait for three minutes.
        """
        self.unsynced.drop_torn()
        for path in self.home.rglob("*") if self.home.exists() else ():
            if _LOCK_FILE.fullmatch(path.name) and not path.is_dir():
                path.unlink(missing_ok=True)

    @property
    def finished(self) -> str:
        """The day on which this source was finished; "" if it was not."""
        return self._finished.read_text("ascii") if self._finished.exists() else ""

    def begin_again(self) -> None:
        """Forget that it was finished."""
        self._finished.unlink(missing_ok=True)

    def folders(self) -> list[str]:
        """Return the names of the staged folders as on disk (modified UTF-7)."""
        return sorted(_folders(self.path / "mailboxes", ""))

    def uids(self, folder: str) -> frozenset[int]:
        """Return the UIDs of a staged folder's messages."""
        return frozenset(stored(self.path, folder))

    def file(self, folder: str, uid: int) -> Path:
        """Return the file of a staged message."""
        return self.path / "mailboxes" / folder / _FOLDER / f"u.{uid}"

    def mails(self) -> int:
        """Return the number of staged messages. Fast, and exact between two runs."""
        return sum(len(stored(self.path, folder)) for folder in self.folders())

    def guids(self) -> set[str]:
        """Return the GUIDs of all staged messages."""
        return {
            guid_of(path)
            for folder in self.folders()
            for path in stored(self.path, folder).values()
        }

    def show(self, names: Mapping[str, str]) -> Path:
        """Create the view: the staged folders under other names. Return its path."""
        shutil.rmtree(self.view, ignore_errors=True)
        for theirs, ours in names.items():
            folder = self.view / "mailboxes" / ours
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _mirror(self.path / "mailboxes" / theirs / _FOLDER, folder / _FOLDER)
        for ours in {ours.rpartition("/")[0] for ours in names.values()} - {""}:
            # Dovecot counts the links of a directory: a folder with one directory has no folders
            # below it. Everything else linked here is not a directory.
            unseen = self.view / "mailboxes" / ours / UNSEEN
            unseen.mkdir(mode=0o700)
            # The sync would remove an empty one.
            (unseen / "kept").touch()
        subscribed = self.path / "subscriptions"
        if subscribed.exists():
            text = subscribed.read_text("utf-8", "surrogateescape")
            (self.view / "subscriptions").write_text(
                renamed_subscriptions(text, names), "utf-8", "surrogateescape"
            )
        for path in (self.view, *self.view.rglob("*")):
            os.chown(path, VMAIL, VMAIL, follow_symlinks=False)
        return self.view

    def hide(self) -> None:
        """Remove the view."""
        shutil.rmtree(self.view, ignore_errors=True)


def make_own(path: Path, below: Path) -> None:
    """Create a directory and its parents below the mail store, only for the mail user."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each in (path, *path.parents):
        if each == below:
            return
        os.chown(each, VMAIL, VMAIL)


def _mirror(source: Path, target: Path) -> None:
    """Mirror a folder: its messages by hard links, its index as a copy."""
    target.mkdir(mode=0o700)
    for entry in os.scandir(source):
        if re.fullmatch(r"u\.\d+", entry.name):
            os.link(entry.path, target / entry.name)
        elif entry.is_file(follow_symlinks=False):
            shutil.copy(entry.path, target / entry.name)


def stored(root: Path, folder: str) -> dict[int, Path]:
    """Return the files of a folder's messages by UID; `folder` in modified UTF-7."""
    place = root / "mailboxes" / folder / _FOLDER
    names = [each.name for each in os.scandir(place)] if place.is_dir() else []
    return {int(name[2:]): place / name for name in names if re.fullmatch(r"u\.\d+", name)}


def guid_of(path: Path) -> str:
    """Return the GUID in the metadata at the end of an sdbox file; "" if there is none."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        found = re.search(rb"\nG([0-9a-f]+)\n", file.read())
    return found[1].decode() if found else ""


def share(paths: Iterable[Path]) -> None:
    """Replace equal sdbox files by hard links, as Dovecot's own copies are.

    Files whose message or metadata differ stay; the first line contains the time at which the file
    was created.
    """
    first: Path | None = None
    for path in paths:
        try:
            if first is None or not first.exists():
                first = path if path.exists() else None
                continue
            if first.samefile(path) or not _is_same(first, path):
                continue
            # With a name that Dovecot removes if it finds it.
            fresh = path.with_name(f".temp.plexus.{path.name}")
            fresh.unlink(missing_ok=True)
            os.link(first, fresh)
            fresh.rename(path)
        except FileNotFoundError:
            # A client has removed one of them.
            continue


def _is_same(one: Path, other: Path) -> bool:
    with one.open("rb") as first, other.open("rb") as second:
        first.readline(200)
        second.readline(200)
        while True:
            octets = first.read(1 << 20)
            if octets != second.read(1 << 20):
                return False
            if not octets:
                return True


def finish(store: Path, address: str, day: str) -> int:
    """Remove all staging directories of a mailbox, with a note for each. Return how many."""
    top = Staging(store, address, "").home
    names = [each.name for each in top.iterdir() if each.is_dir()] if top.exists() else []
    for name in names:
        shutil.rmtree(top / name)
        for kept in ("brought", "unshared", "unsynced"):
            (top / f"{name}.{kept}").unlink(missing_ok=True)
        if not name.startswith("."):
            (top / f"{name}.finished").write_text(day, "ascii")
    return len([name for name in names if not name.startswith(".")])


def renamed_subscriptions(text: str, names: Mapping[str, str]) -> str:
    """Return a list of subscriptions with folders' new names; tabs separate levels. Pure."""
    head, found, lines = text.partition("\n\n")
    if not found:
        return text
    renamed = [
        names.get(each.replace("\t", "/"), each.replace("\t", "/")) for each in lines.split("\n")
    ]
    return head + found + "\n".join(each.replace("/", "\t") for each in renamed)


def _folders(root: Path, below: str) -> Iterator[str]:
    here = root / below
    if not here.is_dir():
        return
    for entry in os.scandir(here):
        if entry.name == _FOLDER or not entry.is_dir(follow_symlinks=False):
            continue
        name = f"{below}/{entry.name}" if below else entry.name
        if (root / name / _FOLDER).is_dir():
            yield name
        yield from _folders(root, name)
