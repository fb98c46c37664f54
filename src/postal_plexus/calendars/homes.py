"""A user's collections in the store, for tasks beside the running Radicale.

Entries are files, and Radicale's documentation allows to write them as long as its lock is held
(https://radicale.org/v3.html, "Locking"): so the running server, whose cache notices each change,
and a task never see each other's half. An entry is stored as it was given, after Radicale's own
checks: what Radicale cannot read would be invisible.

Failures: `EntryError` the entry is not stored; OSError the store does not take it.
"""

import hashlib
import os
import re
import secrets
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from radicale import item as radicale_item

from postal_plexus.calendars.application import FIRST_COLLECTIONS, radicale_application
from postal_plexus.calendars.bounds import LARGEST_BYTES, stored_bytes
from postal_plexus.calendars.links import create_shared, link_shared
from postal_plexus.calendars.recurrence import MOST, recurs_too_often
from postal_plexus.calendars.shares import KINDS, PREFIX, Share
from postal_plexus.calendars.syntax import takes_too_long, text_of
from postal_plexus.entries import CALENDAR, CARDS, uid_of, version_of
from postal_plexus.maintenance import calendar_store
from postal_plexus.maintenance.calendar_store import HOMES, STORED_BYTES

_TAGS = {CALENDAR: KINDS["calendars"], CARDS: KINDS["address-books"]}
_FIRST = {CALENDAR: "calendar", CARDS: "contacts"}
_ENDINGS = {CALENDAR: ".ics", CARDS: ".vcf"}
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._-]{0,199}")


class EntryError(ValueError):
    """An entry cannot be stored; the text says why, and has nothing of its content."""


@dataclass(frozen=True)
class Collection:
    """A calendar or an address book: the name that users see, and its directory."""

    kind: str
    name: str
    folder: Path
    is_shared: bool = False


@dataclass(frozen=True)
class Stored:
    """What became of an entry: `new`, `replaced`, `unchanged`, or `full`: it is not stored."""

    outcome: str
    href: str


def check(text: str, kind: str) -> None:
    """Check whether Radicale can serve an entry, as it does when it reads the file.

    Raises:
        EntryError: it cannot.
    """
    octets = text.encode("utf-8", "replace")
    if len(octets) > LARGEST_BYTES:
        raise EntryError(f"is larger than {LARGEST_BYTES >> 20} MB")
    if takes_too_long(text_of(octets)):
        raise EntryError("has a malformed line")
    if recurs_too_often(text_of(octets)):
        raise EntryError(f"recurs more than {MOST:,} times")
    try:
        text.encode("utf-8")
        found = radicale_item.read_components(text)
        radicale_item.check_and_sanitize_items(found, tag=_TAGS[kind])
        (only,) = found
        served = radicale_item.Item(collection_path="", vobject_item=only)
        served.prepare()
        radicale_item.read_components(served.serialize())
    except Exception as error:
        # Any of the libraries' own; the message quotes the entry.
        raise EntryError(f"cannot be read ({type(error).__name__})") from error


class Home:
    """The collections of one user.

    Args:
        store: where collections are.
        cache: where the running Radicale keeps what can be made anew.
        user: the mailbox's first address.
        shares: who shares what.
        most: octets that the user, or a shared collection, may store.
    """

    def __init__(
        self,
        store: Path,
        cache: Path,
        user: str,
        shares: tuple[Share, ...],
        most: int = STORED_BYTES,
    ) -> None:
        self._store, self._user, self._shares, self._most = store, user, shares, most
        self._storage = radicale_application(store, cache, shares).storage
        self._folder = store / HOMES / user
        self._room: dict[Path, int] = {}

    def make(self) -> None:
        """Let the home be there, as at the first login, with the links of what is shared."""
        create_shared(self._store, self._shares)
        with self.locked("w"):
            if not self._folder.is_dir():
                self._storage.create_collection(f"/{self._user}/")
                for name, properties in FIRST_COLLECTIONS.items():
                    self._storage.create_collection(f"/{self._user}/{name}", props=properties)
            link_shared(self._store, self._user, self._shares)

    @contextmanager
    def locked(self, mode: str) -> Generator[None]:
        """Hold Radicale's lock: `r` with other readers, `w` alone."""
        with self._storage.acquire_lock(mode, self._user):
            yield

    def collections(self) -> list[Collection]:
        """Return the user's calendars and address books, their own ones first, by their names."""
        found: list[Collection] = []
        kinds = {tag: kind for kind, tag in _TAGS.items()}
        for folder in self._folder.iterdir() if self._folder.is_dir() else ():
            tag = calendar_store.properties(folder).get("tag")
            if tag in kinds:
                name = calendar_store.shown_name(folder)
                shared = folder.name.startswith(PREFIX)
                kind = kinds[tag]
                found.append(Collection(kind, name, folder, is_shared=shared))
        return sorted(found, key=lambda each: (each.is_shared, each.name.casefold(), each.folder))

    def create(self, kind: str, name: str) -> Collection:
        """Create a calendar or an address book of this name."""
        free = (f"{secrets.token_hex(8)}" for _ in range(100))
        href = next(each for each in free if not (self._folder / each).exists())
        properties = {**FIRST_COLLECTIONS[_FIRST[kind]], "D:displayname": name}
        with self.locked("w"):
            self._storage.create_collection(f"/{self._user}/{href}", props=properties)
        return Collection(kind, name, self._folder / href)

    def take(self, size: int, collection: Collection) -> bool:
        """Return whether so many more octets may be stored there, and count them."""
        root = collection.folder.resolve() if collection.is_shared else self._folder
        if root not in self._room:
            self._room[root] = self._most - stored_bytes(root)
        if size > self._room[root]:
            return False
        self._room[root] -= size
        return True

    def warm(self, collection: Collection, hrefs: Sequence[str]) -> None:
        """Let the running server find these entries in its cache. Call with the lock held."""
        path = f"/{self._user}/{collection.folder.name}"
        there = next(iter(self._storage.discover(path)), None)
        if there is not None and hrefs:
            for _ in cast("Any", there).get_multi(hrefs):
                pass


class Target:
    """A collection into which entries are written, with the UIDs that it has."""

    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        self._names: dict[str, str] = {}
        self._seen: set[str] = set()

    def look(self) -> None:
        """Read the UIDs of entries that are new since the last look. Call with the lock held."""
        there = {each.name for each in _files(self.collection.folder)}
        for gone in self._seen - there:
            self._names = {uid: name for uid, name in self._names.items() if name != gone}
        for name in there - self._seen:
            try:
                text = (self.collection.folder / name).read_text("utf-8", "replace")
            except FileNotFoundError:
                continue
            if uid := uid_of(text):
                self._names[uid] = name
        self._seen = there

    def put(self, uid: str, text: str, home: Home, *, replace: bool, look: bool) -> Stored:
        """Store an entry, or leave the one that is there. Call with the write lock held.

        Args:
            uid: of the entry.
            text: all of it.
            home: where the collection is, with its room.
            replace: whether it replaces one that may be as new.
            look: only say what would happen.
        """
        folder = self.collection.folder
        name = self._names.get(uid)
        if name is None:
            name = self._free(uid)
            outcome = "new"
        else:
            there = (folder / name).read_text("utf-8", "replace")
            if not (replace or version_of(text).is_newer_than(version_of(there))):
                return Stored("unchanged", name)
            outcome = "unchanged" if _lines(there) == _lines(text) else "replaced"
        if look or outcome == "unchanged":
            return Stored(outcome, name)
        if not home.take(len(text.encode()), self.collection):
            return Stored("full", name)
        calendar_store.write(folder / name, text)
        self._names[uid] = name
        self._seen.add(name)
        return Stored(outcome, name)

    def _free(self, uid: str) -> str:
        """Return a file name for a UID; as clients make it, if it can be one."""
        ending = _ENDINGS[self.collection.kind]
        digest = hashlib.sha256(uid.encode("utf-8", "replace")).hexdigest()
        names: Iterable[str] = (f"{digest[:32]}{number or ''}{ending}" for number in range(100))
        if _PLAIN.fullmatch(uid):
            names = [f"{uid}{ending}", *names]
        return next(each for each in names if each not in self._seen)


def choose(
    there: Sequence[Collection], kind: str, name: str, *, asked: bool
) -> tuple[Collection | None, str]:
    """Return the collection for entries, or None and the name of the one to be created. Pure.

    Args:
        there: the user's collections.
        kind: of the entries.
        name: the collection's name; "" for the user's main one.
        asked: whether the operator has named it; then it may be a shared one.

    Raises:
        EntryError: several have that name.
    """
    mine = [each for each in there if each.kind == kind and (asked or not each.is_shared)]
    if not name:
        own = [each for each in mine if not each.is_shared]
        main = [each for each in own if each.folder.name == _FIRST[kind]]
        return next(iter([*main, *own]), None), FIRST_COLLECTIONS[_FIRST[kind]]["D:displayname"]
    same = [each for each in mine if name in {each.name, each.folder.name}]
    found = same or [each for each in mine if each.name.casefold() == name.casefold()]
    if len(found) > 1:
        raise EntryError(
            f"there are {len(found)} with the name {name!r}: rename one in a calendar program"
        )
    return next(iter(found), None), name


def texts(collection: Collection) -> Iterator[tuple[str, str]]:
    """Yield the entries of a collection: file name and text. Call with the lock held."""
    for path in sorted(_files(collection.folder)):
        yield path.name, path.read_bytes().decode("utf-8", "replace")


def _files(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as found:
        for each in found:
            if not each.name.startswith(".") and each.is_file(follow_symlinks=False):
                yield Path(each.path)


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("DTSTAMP")]
