"""Put a backup's calendars and address books back: beside the existing ones, or in place.

    restore-calendars   gives a user's calendars and address books new names, `Restored DATE NAME`,
                        beside the existing ones, which stay unchanged; with --shared, those that
                        the user shares with others. They belong to this user alone.

`put_back`, a part of `restore-all`, moves what is lost into its place: a collection that is not
there, or has no entry.

A collection is a directory with a file for each entry (`postal_plexus.calendars`). It appears by a
rename, while Radicale's lock is held, so devices see all of it or nothing. AWS Backup's directory
is prepared before that. A task that was killed leaves a note in it, by which the next one removes
it.

Whoever takes over Radicale can write anything there, and this task is root: so no link is followed,
and none is moved.
"""

import fcntl
import json
import os
import re
import secrets
import shutil
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from postal_plexus.maintenance.calendar_store import (
    HOMES,
    LOCK,
    PROPERTIES,
    SHARED,
    STORED_BYTES,
    properties,
    shown_name,
    write,
)
from postal_plexus.maintenance.codes import DATA, StatusError
from postal_plexus.maintenance.output import PROGRESS, Output

CALENDARS, WEB = 5007, 5005
"""Owner and group of the store."""

NOTE = "plexus-restoring-calendars"

_LINK = re.compile(r"\.\./\.\./shared/((?:calendars|address-books)/[^/]+)")


def restore(
    live: Path, tops: Sequence[Path], address: str, date: str, output: Output, *, shared: bool
) -> int:
    """Put a user's collections of the newest restored directory beside the existing ones.

    Args:
        live: the directory of the calendars.
        tops: AWS Backup's directories, the newest first.
        address: the mailbox's first address.
        date: for the names.
        output: gets a line for each collection.
        shared: whether to take those that the user shares with others.

    Returns:
        The exit code. Raises StatusError, OSError.
    """
    for left in (each for each in tops if (each / NOTE).exists()):
        output.say(PROGRESS, text=f"removing {left.name}, which was not finished")
        shutil.rmtree(left)
    what = f"calendars/{SHARED}" if shared else f"calendars/{HOMES}/{address}"
    top = next((each for each in tops if _is_directory(each / what)), None)
    if top is None:
        return output.fail(DATA, f"nothing of the calendars of {address} was restored")
    (top / NOTE).write_text(address)
    home = live / HOMES / address
    wanted = list(_shared_by(home, top / what) if shared else _collections(top / what))
    found = [each for each in wanted if any(_entries(each))]
    if not found:
        shutil.rmtree(top)
        return output.fail(DATA, f"the backup has no entry of {address} there")
    if _octets([*found, home]) > STORED_BYTES:
        shutil.rmtree(top)
        text = f"{address} would have more than {STORED_BYTES >> 20} MB of calendars: delete some"
        return output.fail(DATA, text)
    _make(live / HOMES)
    _make(home)
    taken = {shown_name(each) for each in _collections(home)}
    for each in found:
        before = properties(each)
        name = free_name(f"Restored {date} {shown_name(each)}", taken)
        taken.add(name)
        _prepare(each)
        write(each / PROPERTIES, json.dumps({**before, "D:displayname": name}), (CALENDARS, WEB))
        output.say("calendar", name=name, entries=sum(1 for _ in _entries(each)))
    with _locked(live):
        for each in found:
            each.rename(home / secrets.token_hex(8))
    shutil.rmtree(top)
    return 0


def put_back(live: Path, copy: Path, output: Output) -> None:
    """Move lost collections of a restored directory into their places.

    Tells each collection that is not lost and therefore stays as it is.
    """
    if not _is_directory(copy):
        return
    _make(live)
    with _locked(live):
        for folder in (HOMES, SHARED):
            for group in _directories(copy / folder):
                _make(live / folder)
                _make(live / folder / group.name)
                owner = SHARED if folder == SHARED else group.name
                _put_back(live / folder / group.name, group, owner, output)


def _put_back(here: Path, group: Path, owner: str, output: Output) -> None:
    """Move the collections of a home, or the shared ones of a kind."""
    for each in _collections(group):
        there = here / each.name
        if os.path.lexists(there):
            if not _is_directory(there) or any(_entries(there)):
                output.say("kept-calendar", address=owner, name=shown_name(each))
                continue
            shutil.rmtree(there)
        _prepare(each)
        count = sum(1 for _ in _entries(each))
        each.rename(there)
        output.say("calendar-in-place", address=owner, name=shown_name(there), entries=count)
    for link in group.iterdir():
        if link.is_symlink() and _LINK.fullmatch(target := str(link.readlink())):
            there = here / link.name
            if not os.path.lexists(there):
                there.symlink_to(target)


def free_name(wanted: str, taken: set[str]) -> str:
    """Return a name that no other collection has."""
    names = (wanted if number == 1 else f"{wanted} ({number})" for number in range(1, 10_000))
    return next(each for each in names if each not in taken)


def _shared_by(home: Path, copy: Path) -> Iterator[Path]:
    """Yield the copies of the shared collections to which a home has links."""
    for link in sorted(home.iterdir()) if _is_directory(home) else ():
        found = _LINK.fullmatch(str(link.readlink())) if link.is_symlink() else None
        if found and _is_collection(copy / found[1]):
            yield copy / found[1]


def _directories(folder: Path) -> Iterator[Path]:
    if _is_directory(folder):
        yield from (each for each in sorted(folder.iterdir()) if _is_directory(each))


def _collections(folder: Path) -> Iterator[Path]:
    yield from (each for each in _directories(folder) if _is_collection(each))


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_collection(path: Path) -> bool:
    file = path / PROPERTIES
    return _is_directory(path) and file.is_file() and not file.is_symlink()


def _entries(collection: Path) -> Iterator[Path]:
    for each in sorted(collection.iterdir()):
        if not each.name.startswith(".") and each.is_file() and not each.is_symlink():
            yield each


def _octets(folders: Sequence[Path]) -> int:
    return sum(
        os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118
        for folder in folders
        for parent, _below, files in os.walk(folder)
        for name in files
    )


def _prepare(collection: Path) -> None:
    """Leave nothing in a collection but its files, which belong to Radicale's user."""
    for each in collection.iterdir():
        if _is_directory(each):
            shutil.rmtree(each)
        elif each.is_symlink() or not each.is_file() or each.stat().st_nlink != 1:
            each.unlink()
        else:
            os.chown(each, CALENDARS, WEB, follow_symlinks=False)
            each.chmod(0o600)
    os.chown(collection, CALENDARS, WEB, follow_symlinks=False)
    collection.chmod(0o700)


def _make(folder: Path) -> None:
    if not os.path.lexists(folder):
        folder.mkdir(mode=0o700)
        os.chown(folder, CALENDARS, WEB)
    elif not _is_directory(folder):
        raise StatusError(DATA, f"{folder} is no directory")


@contextmanager
def _locked(live: Path) -> Generator[None]:
    """Hold Radicale's lock alone, while its server runs (radicale.pathutils.RwLock)."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(live / LOCK, flags, 0o600)
    try:
        os.fchown(descriptor, CALENDARS, WEB)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
