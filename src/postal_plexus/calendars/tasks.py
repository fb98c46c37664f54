"""What an operator's task does with calendars and contacts, beside the running Radicale.

The task has the store, the server's cache and the archive bucket, and no password of anybody. The
operator's command names the user by the mailbox's first address.

    calendars-import   reads entries from the bucket, a JSON object on each line:
                       kind, uid, text; into (asked for by name), name (the file's own)
    calendars-export   writes all collections as a zip file, or one as .ics or .vcf

An import may be repeated at any moment: an entry is known by its UID, and replaces the one that is
there only if it is certainly newer. Entries are written some at a time, so that devices get their
turn.

Kinds of lines: `left-out` (number, from 0; reason), `collection` (type, name, created; new,
replaced, unchanged or entries), `part` (number, octets), `exported` (entries, octets), `damaged`.
Exit code: 0; 65 the upload is not what it should be; 73 no room; 75 try again.
"""

import json
import logging
import os
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from postal_plexus.calendars.homes import (
    Collection,
    EntryError,
    Home,
    Target,
    check,
    choose,
    texts,
)
from postal_plexus.calendars.shares import read_shares
from postal_plexus.deliver.aws.errors import AwsError
from postal_plexus.entries import CALENDAR, CARDS, joined_calendar, uid_of
from postal_plexus.maintenance import calls
from postal_plexus.maintenance.calls import Call, Verb
from postal_plexus.maintenance.codes import AGAIN, DATA, NO_ROOM, StatusError
from postal_plexus.maintenance.output import PROGRESS, Output
from postal_plexus.maintenance.parcels import PartReader, sending, store

STORE, CACHE = Path("/srv/calendars"), Path("/var/lib/webmail/calendars")

# Written while the lock is held once: entries, and octets, which are in memory until then.
_AT_ONCE, _OCTETS_AT_ONCE = 50, 2 << 20
_MOST_TOLD = 500
_FULL = "does not fit: this user, or the shared calendar, has stored all that fits (256 MB)"
_ENDINGS = {CALENDAR: "ics", CARDS: "vcf"}
_FOLDERS = {CALENDAR: "calendars", CARDS: "contacts"}


def _home(user: str) -> Home:
    os.umask(0o077)
    # The libraries' messages quote entries, and this task's output is kept as a log.
    logging.disable(logging.CRITICAL)
    shares = read_shares(os.environ.get("PLEXUS_SHARED", ""))
    if not CACHE.is_dir():
        raise StatusError(AGAIN, "the web container has never run on this host: try again later")
    return Home(STORE, CACHE, user, shares)


@dataclass
class _Import:
    """One import: its targets, and what became of the entries."""

    home: Home
    output: Output
    replace: bool
    look: bool
    targets: dict[tuple[str, str, str], Target | EntryError] = field(
        default_factory=dict[tuple[str, str, str], "Target | EntryError"]
    )
    created: set[Path] = field(default_factory=set[Path])
    counts: dict[Path, Counter[str]] = field(default_factory=dict[Path, Counter[str]])
    left_out: int = 0
    is_full: bool = False

    def run(self, records: Iterator[tuple[int, dict[str, str]]]) -> int:
        """Store all entries; return the exit code."""
        waiting: list[tuple[int, dict[str, str]]] = []
        target: Target | None = None
        octets = 0
        for number, record in records:
            its = self._target(record)
            if isinstance(its, EntryError):
                self._leave(number, str(its))
                continue
            if its is not target or len(waiting) >= _AT_ONCE or octets > _OCTETS_AT_ONCE:
                self._put(target, waiting)
                target, waiting, octets = its, [], 0
            try:
                check(record["text"], its.collection.kind)
            except EntryError as error:
                self._leave(number, str(error))
            else:
                waiting.append((number, record))
                octets += len(record["text"])
        self._put(target, waiting)
        self._report()
        return NO_ROOM if self.is_full else 0

    def _target(self, record: dict[str, str]) -> Target | EntryError:
        key = (record["kind"], record.get("into", ""), record.get("name", ""))
        if key not in self.targets:
            try:
                self.targets[key] = self._chosen(*key)
            except EntryError as error:
                self.targets[key] = error
        return self.targets[key]

    def _chosen(self, kind: str, into: str, name: str) -> Target:
        there = self.home.collections()
        found, named = choose(there, kind, into or name, asked=bool(into))
        if found is None:
            if self.look:
                found = Collection(kind, named, Path(f"/nonexistent/{named}"))
            else:
                found = self.home.create(kind, named)
            self.created.add(found.folder)
        for each in self.targets.values():
            if isinstance(each, Target) and each.collection.folder == found.folder:
                return each
        target = Target(found)
        self.counts[found.folder] = Counter()
        if found.folder.is_dir():
            with self.home.locked("r"):
                target.look()
        return target

    def _put(self, target: Target | None, waiting: list[tuple[int, dict[str, str]]]) -> None:
        if target is None or not waiting:
            return
        counts, hrefs = self.counts[target.collection.folder], list[str]()
        with self.home.locked("w"):
            if target.collection.folder.is_dir():
                target.look()
            for number, record in waiting:
                done = target.put(
                    record["uid"], record["text"], self.home, replace=self.replace, look=self.look
                )
                if done.outcome == "full":
                    self.is_full = True
                    self._leave(number, _FULL)
                    continue
                counts[done.outcome] += 1
                if done.outcome != "unchanged":
                    hrefs.append(done.href)
            if not self.look:
                self.home.warm(target.collection, hrefs)
        self.output.say(PROGRESS, step="store", entries=sum(counts.values()))

    def _leave(self, number: int, reason: str) -> None:
        self.left_out += 1
        if self.left_out <= _MOST_TOLD:
            self.output.say("left-out", number=number, reason=reason)

    def _report(self) -> None:
        for each in self.targets.values():
            if isinstance(each, Target) and each.collection.folder in self.counts:
                its = each.collection
                counts = self.counts.pop(its.folder)
                self.output.say(
                    "collection",
                    type=its.kind,
                    name=its.name,
                    created=its.folder in self.created,
                    **{name: counts[name] for name in ("new", "replaced", "unchanged")},
                )
        if self.left_out > _MOST_TOLD:
            self.output.say("left-out-more", entries=self.left_out - _MOST_TOLD)


def read_records(stream: BinaryIO) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the entries of an upload with their numbers. Raise StatusError if it is none."""
    for number, line in enumerate(stream):
        try:
            read: object = json.loads(line)
        except ValueError as error:
            raise StatusError(DATA, f"line {number} of the upload is no entry") from error
        fields = cast("dict[object, object]", read) if isinstance(read, dict) else {}
        is_text = all(isinstance(each, str) for each in (*fields, *fields.values()))
        if not is_text or not {"kind", "uid", "text"} <= fields.keys():
            raise StatusError(DATA, f"line {number} of the upload is no entry")
        if fields["kind"] not in _FOLDERS:
            raise StatusError(DATA, f"line {number} of the upload has an unknown kind")
        yield number, cast("dict[str, str]", fields)


def import_entries(
    home: Home, stream: BinaryIO, output: Output, *, replace: bool = False, look: bool = False
) -> int:
    """Store the entries of an upload; return the exit code. Raises StatusError.

    Args:
        home: the user's.
        stream: lines as above.
        output: gets the lines.
        replace: whether entries replace those that may be as new.
        look: only count.
    """
    home.make()
    return _Import(home, output, replace, look).run(read_records(stream))


def _import(call: Call, output: Output) -> int:
    bucket, _, key = call.options["from"].partition("/")
    connection = store(os.environ)
    try:
        with PartReader(connection, bucket, key).buffered() as stream:
            return import_entries(
                _home(call.words[0]),
                stream,
                output,
                replace="replace" in call.options,
                look="look" in call.options,
            )
    except AwsError as error:
        return output.fail(AGAIN, f"the upload cannot be read from the bucket: {error}")
    except OSError as error:
        return output.fail(AGAIN, f"the store does not take it: {error.strerror}; run it again")
    finally:
        connection.close()


def export_one(home: Home, name: str, output: Output, to: Any) -> int:
    """Write the calendar or address book of this name. Return the exit code."""
    there = home.collections()
    found = [each for each in there if name in {each.name, each.folder.name}]
    found = found or [each for each in there if each.name.casefold() == name.casefold()]
    if len(found) != 1:
        known = ", ".join(repr(each.name) for each in there) or "nothing"
        return output.fail(DATA, f"{len(found) or 'none'} of them is {name!r}: there is {known}")
    with home.locked("r"):
        entries, octets, damaged = _written(found[0], to)
    for each in damaged:
        output.say("damaged", collection=found[0].name, file=each)
    _say(output, found[0], entries)
    output.say("exported", entries=entries, octets=octets)
    return 0


def export_all(home: Home, output: Output, to: Any) -> int:
    """Write a zip file of all collections. Return the exit code."""
    total = octets = 0
    taken: set[str] = set()
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as written:
        for each in home.collections():
            path = _path(each, taken)
            with home.locked("r"):
                with written.open(path, "w") as member:
                    entries, size, damaged = _written(each, member)
                for name in damaged:
                    # As it is: somebody may be able to mend it.
                    content = (each.folder / name).read_bytes()
                    written.writestr(f"damaged/{path}/{name}", content)
                    output.say("damaged", collection=each.name, file=name)
            total, octets = total + entries, octets + size
            _say(output, each, entries)
    output.say("exported", entries=total, octets=octets)
    return 0


def _say(output: Output, collection: Collection, entries: int) -> None:
    output.say("collection", type=collection.kind, name=collection.name, entries=entries)


def _written(collection: Collection, to: Any) -> tuple[int, int, list[str]]:
    """Write a collection. Return entries, octets, and the files that are no entries."""
    damaged: list[str] = []
    count = octets = 0

    def sound() -> Iterator[str]:
        nonlocal count
        for name, text in texts(collection):
            if uid_of(text):
                count += 1
                yield text if text.endswith("\n") else f"{text}\r\n"
            else:
                damaged.append(name)

    pieces = sound()
    if collection.kind == CALENDAR:
        pieces = joined_calendar(collection.name, pieces)
    for piece in pieces:
        octets += to.write(piece.encode())
    return count, octets, damaged


def _path(collection: Collection, taken: set[str]) -> str:
    """Return a name in the zip file that every system can unpack, and no two collections share."""
    plain = "".join(
        each if each.isprintable() and each not in '<>:"/\\|?*' else "_" for each in collection.name
    )
    plain = plain.strip(". ")[:100] or "_"
    shared = "shared/" * collection.is_shared
    for number in range(1, 10_000):
        more = f" ({number})" if number > 1 else ""
        path = f"{_FOLDERS[collection.kind]}/{shared}{plain}{more}.{_ENDINGS[collection.kind]}"
        if path.casefold() not in taken:
            taken.add(path.casefold())
            return path
    raise AssertionError(collection.name)


def _export(call: Call, output: Output) -> int:
    def tell(part: int, size: int) -> None:
        output.say("part", number=part, octets=size)

    home = _home(call.words[0])
    with sending(call.options["to"], tell) as to:
        if "only" not in call.options:
            return export_all(home, output, to)
        name = bytes.fromhex(call.options["only"]).decode("utf-8", "replace")
        return export_one(home, name, output, to)


_HEX = re.compile(r"(?:[0-9a-f]{2}){1,400}")
VERBS = {
    "calendars-import": Verb(
        _import, calls.ADDRESS, 1, 1, {"from": calls.NAME, "replace": None, "look": None}
    ),
    "calendars-export": Verb(_export, calls.ADDRESS, 1, 1, {"to": calls.NAME, "only": _HEX}),
}
