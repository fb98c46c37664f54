"""Import messages that an operator's command has read from files and uploaded to the bucket.

`import-known` writes the names of the messages that earlier runs have imported, 16 octets each, in
parts. `import-files` unpacks the uploaded messages into a Maildir and runs a pass of an import
(`importing`) from it:

    .import/DOMAIN/LOCAL PART/.tree          that Maildir, until a pass has completed
    .import/DOMAIN/LOCAL PART/maildir-files  the staging directory, until a pass has completed
    .import/DOMAIN/LOCAL PART/files.known    names of imported messages, kept permanently
    .import/DOMAIN/LOCAL PART/files.begun    exists while a pass may have stored something

A message's name is a hash of its content, and becomes its GUID. So files only add to a mailbox and
never delete from it, whatever they lack. A run that was killed at any moment continues with what it
has, and what users moved or deleted meanwhile does not come back. The uploader is not trusted:
names become only folders below the tree (`mail_records`), existing files are not overwritten, and
links not followed.

Kinds of lines: `known` (mails, pending, parts, quota); those of an import.
Exit code: as for an import; 65 the upload is not a stream of messages; 75 it is incomplete.
"""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from postal_plexus.deliver.aws.errors import AwsError
from postal_plexus.maintenance import calls
from postal_plexus.maintenance.at_home import at_home
from postal_plexus.maintenance.calls import Call, Verb
from postal_plexus.maintenance.codes import AGAIN, DATA, NO_ROOM, NO_USER, USAGE
from postal_plexus.maintenance.dsync import SEARCH_PLUGINS, Dsync, without
from postal_plexus.maintenance.importing import imported
from postal_plexus.maintenance.mail_records import INBOX, Record, RecordError, read_head
from postal_plexus.maintenance.mailboxes import STORE, mail_address, quota
from postal_plexus.maintenance.modified_utf7 import encode
from postal_plexus.maintenance.output import PROGRESS, Output
from postal_plexus.maintenance.parcels import PartReader, sending, store
from postal_plexus.maintenance.staging import VMAIL, Staging, Unsynced, make_own

_JOB = {"kind": "maildir", "name": "files", "again": True}
_RUN = Path("/run/import")
_NAME_OCTETS = 16
_CHUNK = 1 << 18
_TICK_MAILS = 1000
_REFUSALS = (USAGE, DATA, NO_USER, NO_ROOM)
_MOST_KEYWORDS = 26  # one letter each in a file's name


class FileImports:
    """The files that imports from files keep for a mailbox.

    Args:
        address: the address under which its mail is stored.
        below: the mail store.
    """

    def __init__(self, address: str, below: Path = STORE) -> None:
        self._store = below
        self._staging = Staging(below, address, "maildir-files")
        self.tree = self._staging.home / ".tree"
        self._unsynced = Unsynced(self.tree)
        self._known = self._staging.home / "files.known"
        self._begun = self._staging.home / "files.begun"

    @property
    def is_lost(self) -> bool:
        """Whether a pass may have stored messages of which there is no record."""
        return self._begun.exists() and not self._staging.path.exists()

    def known(self) -> Iterator[bytes]:
        """Yield the names of imported messages, in pieces of whole names."""
        if self._known.exists():
            with self._known.open("rb") as file:
                # An interrupted write leaves a part of a name.
                while len(piece := file.read(_NAME_OCTETS * 4096)) >= _NAME_OCTETS:
                    yield piece[: len(piece) // _NAME_OCTETS * _NAME_OCTETS]

    def pending(self) -> Iterator[str]:
        """Yield the names of the messages in the tree."""
        for directory, _below, names in os.walk(self.tree):
            if directory.endswith("/cur"):
                yield from (name[: 2 * _NAME_OCTETS] for name in names)

    def begin(self) -> None:
        """Note that a pass begins."""
        self._begun.touch()

    def end(self, *, is_done: bool) -> None:
        """Remove the tree, and record what was imported unless the pass was refused."""
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

    def recover(self) -> None:
        """Remove what was being unpacked when the host went down: it may be incomplete."""
        self._unsynced.drop_torn()

    def unpack(self, stream: BinaryIO, output: Output) -> None:
        """Unpack all messages of a stream into the tree. Raises RecordError, AwsError, OSError."""
        make_own(self._staging.home, self._store)
        self._unsynced.begin()
        self.make()
        unpack(stream, Tree(self.tree), output)
        self._unsynced.end()

    def make(self) -> None:
        """Create the tree, accessible only to the mail user."""
        make_own(self.tree, self._store)


class Tree:
    """A Maildir into which messages are unpacked, folder by folder; levels are directories."""

    def __init__(self, top: Path) -> None:
        self._top = top
        self._folders: dict[str, Path] = {}
        self._keywords: dict[Path, list[str]] = {}

    def add(self, record: Record, stream: BinaryIO) -> None:
        """Store a message with its flags and date. Raises RecordError if it is truncated."""
        folder = self._folder(record.folder)
        letters = self._letters(folder, record.keywords)
        part = folder / "tmp" / record.name
        part.unlink(missing_ok=True)
        with part.open("xb") as file:
            left = record.octets
            while left:
                chunk = stream.read(min(left, _CHUNK))
                if not chunk:
                    raise RecordError("a message is cut off")
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
        """Return the letters for keywords in a folder, without those beyond 26."""
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
    """Unpack a stream's messages; return their number. Raises RecordError, AwsError, OSError."""
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
    """Import a stream's messages and those that an earlier run left; return the exit code."""
    files = FileImports(mail_address(address))
    files.recover()
    try:
        if stream is not None:
            files.unpack(stream, output)
    except RecordError as error:
        files.end(is_done=False)
        return output.fail(DATA, f"the upload cannot be used: {error}")
    files.make()
    files.begin()
    job = json.dumps(_JOB | {"over_quota": over_quota})
    code = imported(address, job, output, files.tree)
    if code in {0, *_REFUSALS}:
        files.end(is_done=code == 0)
    return code


def known_names(address: str, files: FileImports, *, again: bool) -> Iterator[bytes]:
    """Yield the names of messages that need not be sent, in pieces. Raises SyncError.

    Args:
        address: the address under which the mailbox's mail is stored.
        files: the files of that mailbox.
        again: whether to send again what was imported and is gone.
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
    files.recover()
    with sending(call.options["to"]) as to:
        octets = sum(map(to.write, known_names(address, files, again="again" in call.options)))
    pending = sum(1 for _ in files.pending())
    output.say(
        "known",
        mails=octets // _NAME_OCTETS,
        pending=pending,
        parts=to.parts,
        quota=asdict(quota(call.words[0])),
    )
    return 0


def _import(call: Call, output: Output) -> int:
    bucket, _, key = call.options.get("from", "").partition("/")
    connection = store(os.environ)
    try:
        stream = PartReader(connection, bucket, key).buffered() if bucket else None
        return import_files(call.words[0], stream, output, over_quota="over-quota" in call.options)
    except AwsError as error:
        return output.fail(AGAIN, f"the upload cannot be read from the bucket: {error}")
    finally:
        connection.close()


VERBS = {
    "import-known": Verb(at_home(_known), calls.ADDRESS, 1, 1, {"to": calls.NAME, "again": None}),
    "import-files": Verb(
        at_home(_import), calls.ADDRESS, 1, 1, {"from": calls.NAME, "over-quota": None}
    ),
}
