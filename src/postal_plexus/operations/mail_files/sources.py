"""Find the messages at a path: an mbox, a Maildir, a directory, or a zip file of them or of .eml.

    FILE                          an mbox is a folder with its name
    FOLDER/cur, FOLDER/new        a Maildir; .Sub.Folder (Maildir++) or Sub/Folder are its folders
    NAME, NAME.sbd/               Thunderbird: an mbox, and the folders below it
    NAME.mbox/mbox                Apple Mail's export
    FOLDER/NAME.eml               messages of a folder
    *.zip                         the same in a zip file: WorkMail's export, Google Takeout

Links, pipes and devices are not opened, and a name in a zip file is never used as a path. `told`
gets the name of each skipped file and the reason. Raises SourceError if nothing can be read at all.
"""

import calendar
import errno
import io
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from postal_plexus.maintenance.modified_utf7 import decode
from postal_plexus.operations.mail_files import mbox
from postal_plexus.operations.mail_files.folder_names import text_of
from postal_plexus.operations.mail_files.message import Found, pieces_of


class Told(Protocol):
    """The receiver of reports about skipped files."""

    def leave_out(self, where: str, why: str) -> None:
        """Report something that is not mail."""
        ...

    def lose(self, where: str, why: str) -> None:
        """Report something that may be mail but cannot be read."""
        ...


_MBOX_NAMES = re.compile(r"(.+)\.(mbox|mbx|mboxrd|mboxo)", re.IGNORECASE)
_EML = ".eml"
# Files that programs keep beside mail: skipping them loses nothing and is not reported.
_NOTES = re.compile(
    r"(.*\.(msf|dat|sieve|log|lock|plist|index|cache)|dovecot.*|courier.*|maildir.*|subscriptions"
    r"|\.ds_store|thumbs\.db|desktop\.ini|\.subscriptions|tmp|archive_browser\.html)",
    re.IGNORECASE,
)
_MAILDIR_FLAGS = re.compile(r".*[:;!]2,([A-Za-z]*)")
_MOST_DEPTH = 40


class SourceError(ValueError):
    """The path is not a source of mail; the text says why."""


def mails(path: Path, told: Told) -> Iterator[Found]:
    """Yield all messages at a path, always in the same order. Raises SourceError."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise SourceError(f"{path} cannot be read: {why}") from error
    if stat.S_ISDIR(mode):
        yield from _Folder(path, told).mails()
        return
    if not stat.S_ISREG(mode):
        raise SourceError(f"{path} is neither a file nor a directory")
    try:
        with path.open("rb") as file:
            begun = file.read(512)
            if begun.startswith((b"PK\x03\x04", b"PK\x05\x06")):
                yield from _zipped(file, path, told)
                return
            file.seek(0)
            name = text_of(os.fsencode(path.name))
            if path.suffix.lower() == _EML:
                yield Found((), name, pieces_of(file), else_date=int(path.stat().st_mtime))
            elif mbox.is_mbox(begun) or not begun.strip():
                yield from _mbox(file, (_stem(name),), name, int(path.stat().st_mtime))
            else:
                raise SourceError(f"{path} is not an mbox, an .eml or a zip file")
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error


def _stem(name: str) -> str:
    found = _MBOX_NAMES.fullmatch(name)
    return found[1] if found else name


def _mbox(stream: BinaryIO, levels: Sequence[str], where: str, else_date: int) -> Iterator[Found]:
    for part in mbox.split(stream):
        date = mbox.received(part.separator)
        yield Found(
            tuple(levels),
            f"{where}, mail {part.number}",
            part.pieces,
            date=date,
            else_date=_else_date(part.separator) or else_date,
            is_mbox=True,
        )


def _else_date(separator: bytes) -> int | None:
    return mbox.received(separator.replace(b"From - ", b"From x ", 1))


class _Folder:
    """A directory of this machine."""

    def __init__(self, top: Path, told: Told) -> None:
        self._top = top
        self._told = told

    def mails(self) -> Iterator[Found]:
        """Yield its messages."""
        yield from self._folder(self._top, (), is_maildir_root=True)

    def _folder(
        self, path: Path, levels: tuple[str, ...], *, is_maildir_root: bool = False
    ) -> Iterator[Found]:
        if len(path.parts) - len(self._top.parts) > _MOST_DEPTH:
            self._told.lose(self._name(path), "is too deep")
            return
        try:
            entries = sorted(os.scandir(path), key=lambda each: os.fsencode(each.name))
        except OSError as error:
            self._told.lose(self._name(path), f"cannot be read: {error.strerror}")
            return
        kinds = {each.name: each for each in entries if each.is_dir(follow_symlinks=False)}
        is_maildir = {"cur", "new"} <= kinds.keys()
        if is_maildir:
            has_dotted = any(_is_maildir(path / each) for each in kinds if each.startswith("."))
            is_root = is_maildir_root or has_dotted
            yield from self._maildir(path, (*levels, "INBOX") if is_root else levels)
        for entry in entries:
            here = path / entry.name
            name = text_of(os.fsencode(entry.name))
            if entry.is_symlink():
                self._told.leave_out(self._name(here), "is a link")
            elif entry.name in kinds:
                if is_maildir and entry.name in {"cur", "new", "tmp"}:
                    continue
                yield from self._folder(here, (*levels, *_levels_of(here, name)))
            elif entry.is_file(follow_symlinks=False):
                yield from self._file(here, levels, name)
            else:
                self._told.leave_out(self._name(here), "is no file")

    def _maildir(self, path: Path, levels: tuple[str, ...]) -> Iterator[Found]:
        keywords = _keywords(path / "dovecot-keywords")
        for part in ("cur", "new"):
            for entry in sorted(os.scandir(path / part), key=lambda each: os.fsencode(each.name)):
                here = path / part / entry.name
                if not entry.is_file(follow_symlinks=False):
                    self._told.leave_out(self._name(here), "is no file")
                    continue
                letters = _MAILDIR_FLAGS.fullmatch(entry.name)
                flags = letters[1] if letters and part == "cur" else ""
                named = [keywords[each] for each in flags if each in keywords]
                if "P" in flags:
                    named.append("$Forwarded")
                yield from self._opened(
                    here,
                    levels,
                    flags="".join(sorted(set(flags) & set("DFRST"))),
                    keywords=tuple(named),
                )

    def _opened(
        self, path: Path, levels: tuple[str, ...], *, flags: str, keywords: tuple[str, ...]
    ) -> Iterator[Found]:
        try:
            with _open(path) as file:
                date = int(os.fstat(file.fileno()).st_mtime)
                name = self._name(path)
                yield Found(levels, name, pieces_of(file), flags, keywords, date, date)
        except OSError as error:
            self._told.lose(self._name(path), f"cannot be read: {error.strerror}")

    def _file(self, path: Path, levels: tuple[str, ...], name: str) -> Iterator[Found]:
        where = self._name(path)
        try:
            with _open(path) as file:
                date = int(os.fstat(file.fileno()).st_mtime)
                if name.lower().endswith(_EML):
                    yield Found(levels, where, pieces_of(file), else_date=date)
                    return
                begun = file.read(512)
                file.seek(0)
                if mbox.is_mbox(begun):
                    # Apple Mail: the package stands for the folder.
                    own = levels if name == "mbox" and levels else (*levels, _stem(name))
                    yield from _mbox(file, own, where, date)
                elif begun and not _NOTES.fullmatch(name):
                    self._told.leave_out(where, "is not a message")
        except OSError as error:
            self._told.lose(where, f"cannot be read: {error.strerror}")

    def _name(self, path: Path) -> str:
        return text_of(os.fsencode(path.relative_to(self._top)))


def _open(path: Path) -> BinaryIO:
    """Open a file, but nothing that has replaced it in the meantime."""
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no file")
    return file


def _is_maildir(path: Path) -> bool:
    return (path / "cur").is_dir() and (path / "new").is_dir()


def _levels_of(path: Path, name: str) -> tuple[str, ...]:
    """Return the folder levels for a directory's name."""
    if _is_maildir(path):
        parts = name[1:].split(".") if name.startswith(".") else [name]
        return tuple(decode(each) for each in parts)
    for end in (".sbd", ".mbox"):
        if name.lower().endswith(end):
            return (name[: -len(end)],)
    return (name,)


def _keywords(path: Path) -> dict[str, str]:
    """Return the keywords of a Dovecot Maildir by their letters."""
    try:
        text = path.read_text("utf-8", "replace")[:100_000] if path.is_file() else ""
    except OSError:
        return {}
    found = (line.split(" ", 1) for line in text.splitlines())
    return {
        chr(ord("a") + int(each[0])): each[1]
        for each in found
        if len(each) == 2 and each[0].isdecimal() and int(each[0]) < 26
    }


def _zipped(file: BinaryIO, path: Path, told: Told) -> Iterator[Found]:
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise SourceError(f"{path} is not a valid zip file: {error}") from error
    with archive:
        entries = sorted(archive.infolist(), key=lambda each: each.filename)
        if sum(each.compress_size for each in entries) > path.stat().st_size:
            raise SourceError(f"{path} is not a valid zip file: its parts overlap")
        for entry in entries:
            if not entry.is_dir():
                yield from _entry(archive, entry, told)


def _entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, told: Told) -> Iterator[Found]:
    where = entry.filename
    *above, name = [each for each in re.split(r"[/\\]", where) if each not in {"", ".", ".."}] or [
        ""
    ]
    kind = entry.external_attr >> 16
    if kind and not stat.S_ISREG(kind) and stat.S_IFMT(kind):
        told.leave_out(where, "is no file")
        return
    if entry.flag_bits & 1:
        told.lose(where, "is encrypted")
        return
    if not entry.file_size or _NOTES.fullmatch(name):
        return
    date = calendar.timegm((*entry.date_time, 0, 0, 0))
    try:
        with (
            archive.open(entry) as opened,
            io.BufferedReader(cast("Any", opened), 1 << 18) as stream,
        ):
            if name.lower().endswith(_EML):
                yield Found(tuple(above), where, pieces_of(stream), else_date=date)
                return
            if mbox.is_mbox(stream.peek(512)[:512]):
                folder = [each.removesuffix(".sbd") for each in above]
                if name == "mbox" and folder:
                    folder[-1] = _stem(folder[-1])
                else:
                    folder.append(_stem(name))
                yield from _mbox(stream, folder, where, date)
            else:
                told.leave_out(where, "is not a message")
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError) as error:
        told.lose(where, f"is damaged: {error}")
