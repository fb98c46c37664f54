"""Read all messages of a path twice: to count them, then to send the new ones.

Both times the same messages come in the same order with the same names, as long as the files do not
change. So what an interrupted run has uploaded is recognized by its content.
"""

import hashlib
import zipfile
import zlib
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from postal_plexus.maintenance.mail_records import Record, write_head
from postal_plexus.operations.mail_files import labels, sources
from postal_plexus.operations.mail_files.folder_names import common_root, folder
from postal_plexus.operations.mail_files.message import Found, Mail, read

_CHUNK = 1 << 18
_MOST_TOLD = 200
_DAMAGE = (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError)

Place = tuple[bool, tuple[str, ...]]
"""Where a mail lies: whether labels say so, and the levels."""


@dataclass
class Folder:
    """A source's messages for one folder; octets as IMAP counts them."""

    mails: int = 0
    octets: int = 0
    new: int = 0
    new_octets: int = 0
    too_large: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])

    def add(self, other: "Folder") -> None:
        """Add a folder that has the same name here."""
        self.mails += other.mails
        self.octets += other.octets
        self.new += other.new
        self.new_octets += other.new_octets
        self.too_large += other.too_large


@dataclass(frozen=True)
class LeftOut:
    """A file, or a message of one, that is not imported."""

    name: str
    reason: str
    is_damage: bool


@dataclass
class Survey:
    """The content of a source.

    Attributes:
        folders: by their names here.
        left_out: the first 200 of each kind.
        left_out_count: files that are not mail.
        lost_count: files and messages that may be mail but cannot be read.
        expunged: messages that their owner had deleted, and that are still in the file.
    """

    folders: dict[str, Folder] = field(default_factory=dict[str, Folder])
    left_out: list[LeftOut] = field(default_factory=list[LeftOut])
    left_out_count: int = 0
    lost_count: int = 0
    expunged: int = 0

    def leave_out(self, where: str, why: str) -> None:
        """Note something that is not mail."""
        self.left_out_count += 1
        if self.left_out_count <= _MOST_TOLD:
            self.left_out.append(LeftOut(where, why, is_damage=False))

    def lose(self, where: str, why: str) -> None:
        """Note something that may be mail but cannot be read."""
        self.lost_count += 1
        if self.lost_count <= _MOST_TOLD:
            self.left_out.append(LeftOut(where, why, is_damage=True))

    @property
    def new(self) -> int:
        """How many messages are to be imported."""
        return sum(each.new for each in self.folders.values())

    @property
    def new_octets(self) -> int:
        """The octets of the messages to import."""
        return sum(each.new_octets for each in self.folders.values())


class MailFiles:
    """The messages of a path.

    Args:
        path: a file or a directory.
        known: the names (16 octets) of the messages that earlier runs have imported.
        chosen: folders as `survey` names them -> the operator's names.
    """

    def __init__(self, path: Path, known: Container[bytes], chosen: Mapping[str, str]) -> None:
        self._path = path
        self._known = known
        self._chosen = chosen
        self._root = 0

    def survey(self) -> Survey:
        """Read and count all messages. Raises SourceError."""
        found = Survey()
        places: dict[Place, Folder] = {}
        for place, mail, name, where in self._mails(found):
            here = places.setdefault(place, Folder())
            here.mails += 1
            here.octets += mail.imap_octets
            if mail.is_too_large:
                here.too_large.append((where, mail.imap_octets))
            elif name not in self._known:
                here.new += 1
                here.new_octets += mail.imap_octets
        self._root = common_root(levels for is_label, levels in places if not is_label)
        for place, counted in places.items():
            found.folders.setdefault(self._folder(place), Folder()).add(counted)
        return found

    def records(self) -> Iterator[bytes]:
        """Yield all new messages as a stream of records, after `survey`. Raises SourceError."""
        for place, mail, name, _where in self._mails(Survey()):
            if mail.is_too_large or name in self._known:
                continue
            record = Record(
                self._folder(place), name.hex(), mail.flags, mail.keywords, mail.date, mail.octets
            )
            yield write_head(record)
            while chunk := mail.content.read(_CHUNK):
                yield chunk

    def _folder(self, place: Place) -> str:
        is_label, levels = place
        name = folder(levels if is_label else levels[self._root :])
        return self._chosen.get(name, name)

    def _mails(self, told: Survey) -> Iterator[tuple[Place, Mail, bytes, str]]:
        seen: dict[bytes, int] = {}
        for found in sources.mails(self._path, told):
            try:
                mail = read(found)
            except _DAMAGE as error:
                told.lose(found.where, f"is damaged: {error}")
                continue
            with mail.content:
                if mail.is_expunged:
                    told.expunged += 1
                elif not mail.octets:
                    told.leave_out(found.where, "is empty")
                else:
                    # Two identical messages are both imported; the second one gets another name.
                    count = seen.get(mail.digest, 0)
                    seen[mail.digest] = count + 1
                    yield _place(found, mail), mail, _numbered(mail.digest, count), found.where


def _numbered(digest: bytes, count: int) -> bytes:
    if not count:
        return digest
    return hashlib.sha256(digest + count.to_bytes(8, "big")).digest()[:16]


def _place(found: Found, mail: Mail) -> Place:
    if mail.labels is None:
        return False, found.levels
    return True, tuple(labels.folders(mail.labels)[0].split("/"))
