"""Import mail that an operator's tool has read from files, and put into the bucket.

`import-known` gives the names of what earlier runs have brought, 16 octets each, in parts.
`import-files` unpacks what came into a Maildir, and makes a pass of an import (`importing`) of it:

    .import/DOMAIN/LOCAL PART/.tree          that Maildir, until a pass has come to its end
    .import/DOMAIN/LOCAL PART/maildir-files  the staging directory, as long
    .import/DOMAIN/LOCAL PART/files.known    names of what was brought, for good
    .import/DOMAIN/LOCAL PART/files.begun    a pass may have stored something

A mail's name is of its content, and becomes its GUID. So files add to a mailbox and take nothing
away, whatever they lack; a run that was killed at any moment goes on with what it has; and what
users moved or deleted meanwhile does not come back. Who sends is not trusted: names become folders
below the tree only (`mail_records`), what is there is not overwritten, and links are not followed.

Kinds of lines: `known` (mails, pending, parts); those of an import.
Exit code: as of an import; 65 what was sent is no stream of mails; 75 it does not come whole.
"""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from postal_plexus.deliver.aws.errors import AwsError
from postal_plexus.maintenance import calls
from postal_plexus.maintenance.calls import Call, Verb
from postal_plexus.maintenance.codes import AGAIN, DATA, NO_ROOM, NO_USER, USAGE
from postal_plexus.maintenance.dsync import SEARCH_PLUGINS, Dsync, without
from postal_plexus.maintenance.importing import imported
from postal_plexus.maintenance.mail_records import INBOX, Record, RecordError, read_head
from postal_plexus.maintenance.mailboxes import STORE, mail_address
from postal_plexus.maintenance.modified_utf7 import encode
from postal_plexus.maintenance.output import PROGRESS, Output
from postal_plexus.maintenance.parcels import PartReader, sending, store
from postal_plexus.maintenance.staging import VMAIL, Staging, make_own

_JOB = {"kind": "maildir", "name": "files", "again": True}
_RUN = Path("/run/import")
_NAME_OCTETS = 16
_CHUNK = 1 << 18
_TICK_MAILS = 1000
_REFUSALS = (USAGE, DATA, NO_USER, NO_ROOM)
_MOST_KEYWORDS = 26  # a letter each in a file's name


class FileImports:
    """What a mailbox keeps of imports from files.

    Args:
        address: under which its mail lies.
        below: the mail store.
    """

    def __init__(self, address: str, below: Path = STORE) -> None:
        self._store = below
        self._staging = Staging(below, address, "maildir-files")
        self.tree = self._staging.home / ".tree"
        self._known = self._staging.home / "files.known"
        self._begun = self._staging.home / "files.begun"

    @property
    def is_lost(self) -> bool:
        """Whether a pass may have stored something of which nothing else is known here."""
        return self._begun.exists() and not self._staging.path.exists()

    def known(self) -> Iterator[bytes]:
        """Give the names of what was brought, in pieces of whole names."""
        if self._known.exists():
            with self._known.open("rb") as file:
                # A write that was cut off leaves a part of a name.
                while len(piece := file.read(_NAME_OCTETS * 4096)) >= _NAME_OCTETS:
                    yield piece[: len(piece) // _NAME_OCTETS * _NAME_OCTETS]

    def pending(self) -> Iterator[str]:
        """Give the names of what lies in the tree."""
        for directory, _below, names in os.walk(self.tree):
            if directory.endswith("/cur"):
                yield from (name[: 2 * _NAME_OCTETS] for name in names)

    def begin(self) -> None:
        """Note that a pass begins."""
        self._begun.touch()

    def end(self, *, is_done: bool) -> None:
        """Remove the tree: with a note of what was brought, or since the pass was refused."""
        if is_done:
            with self._known.open("ab") as file:
                if odd := file.tell() % _NAME_OCTETS:
                    file.truncate(file.tell() - odd)
                for name in self.pending():
                    file.write(bytes.fromhex(name))
                file.flush()
                os.fsync(file.fileno())
        elif self._staging.path.exists():
            return
        self._begun.unlink(missing_ok=True)
        for path in (self.tree, self._staging.path):
            shutil.rmtree(path, ignore_errors=True)

    def make(self) -> None:
        """Make the tree, for the mail user alone."""
        make_own(self.tree, self._store)


class Tree:
    """A Maildir that mails are unpacked into, folder by folder; levels are directories."""

    def __init__(self, top: Path) -> None:
        self._top = top
        self._folders: dict[str, Path] = {}
        self._keywords: dict[Path, list[str]] = {}

    def add(self, record: Record, stream: BinaryIO) -> None:
        """Store a mail with its flags and its date. Raises RecordError where it is cut off."""
        folder = self._folder(record.folder)
        letters = self._letters(folder, record.keywords)
        part = folder / "tmp" / record.name
        part.unlink(missing_ok=True)
        with part.open("xb") as file:
            left = record.octets
            while left:
                chunk = stream.read(min(left, _CHUNK))
                if not chunk:
                    raise RecordError("a mail is cut off")
                file.write(chunk)
                left -= len(chunk)
            os.fchown(file.fileno(), VMAIL, VMAIL)
        os.utime(part, (record.date, record.date))
        part.rename(folder / "cur" / f"{record.name}:2,{record.flags}{letters}")

    def _folder(self, name: str) -> Path:
        if name not in self._folders:
            path = self._top
            for level in () if name == INBOX else name.split("/"):
                path /= encode(level)
                _make(path)
            for each in ("cur", "new", "tmp"):
                _make(path / each)
            self._folders[name] = path
        return self._folders[name]

    def _letters(self, folder: Path, keywords: tuple[str, ...]) -> str:
        """Return the letters of keywords in a folder; what is above 26 of them is left out."""
        file = folder / "dovecot-keywords"
        if folder not in self._keywords:
            lines = file.read_text("utf-8").splitlines() if file.exists() else []
            self._keywords[folder] = [line.partition(" ")[2] for line in lines]
        known = self._keywords[folder]
        new = [each for each in keywords if each not in known][: _MOST_KEYWORDS - len(known)]
        if new:
            known += new
            lines = [f"{number} {each}\n" for number, each in enumerate(known)]
            file.write_text("".join(lines), "utf-8")
            os.chown(file, VMAIL, VMAIL)
        return "".join(
            sorted(chr(ord("a") + known.index(each)) for each in keywords if each in known)
        )


def _make(path: Path) -> None:
    if not path.is_dir():
        path.mkdir(mode=0o700)
        os.chown(path, VMAIL, VMAIL)


def unpack(stream: BinaryIO, tree: Tree, output: Output) -> int:
    """Unpack all mails of a stream; return how many. Raises RecordError, AwsError, OSError."""
    count = 0
    while (record := read_head(stream)) is not None:
        tree.add(record, stream)
        count += 1
        if count % _TICK_MAILS == 0:
            output.say(PROGRESS, step="unpack", mails=count)
    return count


def import_files(
    address: str, stream: BinaryIO | None, output: Output, *, over_quota: bool = False
) -> int:
    """Make a pass with what a stream has and what an earlier one left; return the exit code."""
    files = FileImports(mail_address(address))
    files.make()
    try:
        if stream is not None:
            unpack(stream, Tree(files.tree), output)
    except RecordError as error:
        files.end(is_done=False)
        return output.fail(DATA, f"what was sent cannot be used: {error}")
    files.begin()
    job = json.dumps(_JOB | {"over_quota": over_quota})
    code = imported(address, job, output, files.tree)
    if code in {0, *_REFUSALS}:
        files.end(is_done=code == 0)
    return code


def known_names(address: str, files: FileImports, *, again: bool) -> Iterator[bytes]:
    """Give the names of what need not come, in pieces. Raises SyncError.

    Args:
        address: under which the mailbox's mail lies.
        files: of that mailbox.
        again: what was brought and is gone is to come once more.
    """
    if not again:
        yield from files.known()
    if again or files.is_lost:
        dsync = Dsync(address, _RUN)
        dsync.configure(None)
        words = ["fetch", "--no-userdb-lookup", "guid", "all"]
        for (guid,) in dsync.rows(without(SEARCH_PLUGINS), words):
            if len(guid) == 2 * _NAME_OCTETS:
                yield bytes.fromhex(guid)
    for name in files.pending():
        yield bytes.fromhex(name)


def _known(call: Call, output: Output) -> int:
    address = mail_address(call.words[0])
    files = FileImports(address)
    with sending(call.options["to"]) as to:
        octets = sum(map(to.write, known_names(address, files, again="again" in call.options)))
    pending = sum(1 for _ in files.pending())
    output.say("known", mails=octets // _NAME_OCTETS, pending=pending, parts=to.parts)
    return 0


def _import(call: Call, output: Output) -> int:
    bucket, _, key = call.options.get("from", "").partition("/")
    connection = store(os.environ)
    try:
        stream = PartReader(connection, bucket, key).buffered() if bucket else None
        return import_files(call.words[0], stream, output, over_quota="over-quota" in call.options)
    except AwsError as error:
        return output.fail(AGAIN, f"what was sent does not come out of the bucket: {error}")
    finally:
        connection.close()


VERBS = {
    "import-known": Verb(_known, calls.ADDRESS, 1, 1, {"to": calls.NAME, "again": None}),
    "import-files": Verb(_import, calls.ADDRESS, 1, 1, {"from": calls.NAME, "over-quota": None}),
}
