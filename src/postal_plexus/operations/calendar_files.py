"""Calendars and contacts in files of this machine: .ics, .vcf, zip files and directories of them.

The input is hostile: nothing is unpacked to disk, no name becomes a path, links and pipes are not
opened, and a file larger than 256 MB is left out. What cannot be read is reported, and the rest is
read.
"""

from __future__ import annotations

import codecs
import re
import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from postal_plexus.entries import CALENDAR, CARDS, Entries, read_entries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO

ENDINGS = {".ics": CALENDAR, ".ical": CALENDAR, ".ifb": CALENDAR, ".vcf": CARDS, ".vcard": CARDS}
MOST_OCTETS = 256 << 20

# Of mail; a zip file that has both is imported by two commands.
_MAIL_ENDINGS = {".eml", ".mbox", ".mbx", ".emlx"}
# What programs call the calendar that everybody has: it goes to ours.
_MAIN_NAMES = {
    *("calendar", "kalender", "calendrier", "calendario", "agenda", "calendário", "personal"),
    *("persönlich", "personnel", "personale", "persoonlijk", "pessoal", "default", "home"),
}
_ADDRESS = re.compile(r"\S+@\S+")


class FileError(ValueError):
    """A path cannot be read at all; the text says why."""


@dataclass(frozen=True)
class Source:
    """One file: its name for people, and its content; or why it could not be read."""

    name: str
    content: Entries | None
    problem: str = ""

    @property
    def collection(self) -> str:
        """The calendar that the file names; "" for the user's main one."""
        name = self.content.name.strip() if self.content is not None else ""
        name = "".join(each if each.isprintable() else " " for each in name)[:100].strip()
        is_main = name.casefold() in _MAIN_NAMES or _ADDRESS.fullmatch(name) is not None
        return "" if is_main else name


def is_for_calendars(path: Path) -> bool:
    """Return whether a path has calendars or contacts and no mail, by the names in it."""
    if path.suffix.lower() in ENDINGS:
        return True
    endings = {Path(name).suffix.lower() for name in _names(path)}
    return bool(endings & ENDINGS.keys()) and not endings & _MAIL_ENDINGS


def _names(path: Path) -> Iterator[str]:
    try:
        if path.is_dir():
            yield from (str(each) for each in path.rglob("*"))
        elif path.is_file() and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                yield from archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return


def read_paths(paths: Iterable[Path]) -> Iterator[Source]:
    """Yield the files of all paths, in order.

    Raises:
        FileError: a path that was named cannot be read, or has no calendars or contacts.
    """
    for path in paths:
        found = False
        try:
            for source in _read(path):
                found = True
                yield source
        except OSError as error:
            raise FileError(f"{path}: cannot be read: {error.strerror or error}") from error
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise FileError(f"{path}: is a damaged zip file: {error}") from error
        if not found:
            raise FileError(f"{path}: has no .ics and no .vcf file")


def _read(path: Path) -> Iterator[Source]:
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        for each in sorted(path.rglob("*")):
            if each.suffix.lower() in ENDINGS and each.is_file() and not each.is_symlink():
                with each.open("rb") as file:
                    yield _source(str(each), file, each.stat().st_size)
    elif not stat.S_ISREG(mode):
        raise FileError(f"{path}: is no file and no directory")
    elif zipfile.is_zipfile(path):
        yield from _members(path)
    else:
        with path.open("rb") as file:
            yield _source(str(path), file, path.stat().st_size)


def _members(path: Path) -> Iterator[Source]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.is_dir() or Path(member.filename).suffix.lower() not in ENDINGS:
                continue
            name = f"{path}: {member.filename}"
            try:
                with archive.open(member) as file:
                    yield _source(name, file, member.file_size)
            except RuntimeError:
                yield Source(name, None, "is encrypted")
            except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
                yield Source(name, None, f"is damaged: {error}")


def _source(name: str, file: IO[bytes], size: int) -> Source:
    name = name.encode("utf-8", "replace").decode()
    if size > MOST_OCTETS:
        return Source(name, None, f"is larger than {MOST_OCTETS >> 20} MB")
    octets = file.read(MOST_OCTETS + 1)
    if len(octets) > MOST_OCTETS:
        return Source(name, None, f"is larger than {MOST_OCTETS >> 20} MB")
    return Source(name, read_entries(text_of(octets)))


def text_of(octets: bytes) -> str:
    """Return a file's text: UTF-8 or UTF-16, or Windows's code page if it is neither."""
    for mark, name in ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if octets.startswith(mark):
            return octets.decode(name, "replace")
    try:
        return octets.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    # Mostly UTF-8, with a bad octet somewhere: only the lines that have one are another code page.
    lines = octets.removeprefix(codecs.BOM_UTF8).split(b"\n")
    return "\n".join(_line(each) for each in lines)


def _line(octets: bytes) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("cp1252", "replace")
