"""Export one mailbox: all its mail and its filters, as a tar of Maildirs or a zip file of mboxes.

Dovecot's own sync creates a mirror of the mailbox in Maildir format beside the mailboxes, in
`.export/DOMAIN/LOCAL PART`. The tar is written from it, and it is removed with the last part. A
task that is killed leaves the mirror: the next export reuses it and writes the tar from the
beginning. Mail may arrive and be deleted meanwhile: each folder is exported as it was at one
moment.

    mail/cur, mail/new                  the inbox
    mail/FOLDER/cur, mail/FOLDER/new    each folder, levels as directories, names in modified UTF-7
    mail/FOLDER/dovecot-keywords        the keyword for each letter in a file's flags
    mail/subscriptions
    sieve/NAME.sieve                    the filters

The zip file is described in `mbox_export`.

Kinds of lines: `progress`, `part` (number, octets), `exported` (mails, octets, folders).
Exit code: 0; 67 the mailbox does not exist; 75 try again; 65 a message cannot be read.
"""

import io
import os
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from postal_plexus.maintenance import calls
from postal_plexus.maintenance.at_home import at_home
from postal_plexus.maintenance.calls import Call, Verb
from postal_plexus.maintenance.codes import AGAIN
from postal_plexus.maintenance.dsync import SEARCH_PLUGINS, Dsync, SyncError, without
from postal_plexus.maintenance.mailboxes import STORE, home, mail_address
from postal_plexus.maintenance.mbox_export import MailZip
from postal_plexus.maintenance.output import PROGRESS, Output
from postal_plexus.maintenance.parcels import sending
from postal_plexus.maintenance.staging import make_own

_RUN = Path("/run/export")
_TICK_SECONDS = 5.0
_TRIES = 5
_LEFT_OUT = (".Expunged", "shared/*")


@dataclass(frozen=True)
class Exported:
    """What was written; only folders with mail count."""

    mails: int
    octets: int
    folders: int


def export(address: str, output: Output, to: io.RawIOBase, *, as_mbox: bool = False) -> None:
    """Write a mailbox's tar, or its zip file.

    Raises:
        UnknownMailboxError: the mailbox does not exist.
        SyncError, OSError, AwsError: it did not complete.
    """
    address = mail_address(address)
    mirror = home(STORE / ".export", address)
    dsync = Dsync(address, _RUN)
    dsync.configure(None)
    make_own(mirror, STORE)
    layout = ("-p", "mailbox_list_layout=fs", "-p", "mail_index_path=")
    words = ["backup", "--no-userdb-lookup", *(word for each in _LEFT_OUT for word in ("-x", each))]
    words += [*layout, f"maildir:{mirror}"]
    settings = without((*SEARCH_PLUGINS, "quota", "lazy_expunge", "expunge_once"))
    for attempt in range(1, _TRIES + 1):
        try:
            dsync.sync(settings, words, lambda: output.say(PROGRESS, step="copy"), _TICK_SECONDS)
        except SyncError as error:
            # Mail arrived meanwhile.
            if error.status != AGAIN or attempt == _TRIES:
                raise
        else:
            break
    filters = list(_filters(home(STORE, address)))
    done = (_mboxes if as_mbox else _maildirs)(mirror, filters, to)
    to.flush()
    output.say("exported", **asdict(done))
    shutil.rmtree(mirror)


def _maildirs(mirror: Path, filters: Sequence[tuple[Path, str]], to: io.RawIOBase) -> Exported:
    mails = octets = 0
    folders: set[Path] = set()
    with tarfile.open(fileobj=to, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for path, name in _files(mirror):
            if path.is_dir():
                tar.addfile(_member(name, path))
                continue
            with path.open("rb") as file:
                tar.addfile(_member(name, path), file)
            if path.parent.name in {"cur", "new"}:
                mails += 1
                octets += path.stat().st_size
                folders.add(path.parent.parent)
        for path, name in filters:
            with path.open("rb") as file:
                tar.addfile(_member(name, path), file)
    return Exported(mails, octets, len(folders))


def _mboxes(mirror: Path, filters: Sequence[tuple[Path, str]], to: io.RawIOBase) -> Exported:
    with MailZip(to) as written:
        for directory, below, _names in os.walk(mirror):
            below.sort()
            if {"cur", "new"} <= set(below):
                below[:] = [each for each in below if each not in {"cur", "new", "tmp"}]
                name = str(Path(directory).relative_to(mirror))
                written.add_folder("INBOX" if name == "." else name, Path(directory))
        for path, name in filters:
            written.add_file(name, path)
    return Exported(written.mails, written.octets, written.folders)


def _files(mirror: Path) -> Iterator[tuple[Path, str]]:
    for directory, below, names in os.walk(mirror):
        below.sort()
        place = Path(directory)
        is_mail = place.name in {"cur", "new"}
        if is_mail or place.name == "tmp":
            # A Maildir has all three, even if they are empty.
            yield place, f"mail/{place.relative_to(mirror)}"
        for name in sorted(names):
            if is_mail or name in {"dovecot-keywords", "subscriptions"}:
                yield place / name, f"mail/{(place / name).relative_to(mirror)}"


def _filters(of: Path) -> Iterator[tuple[Path, str]]:
    scripts = of / "sieve"
    for path in sorted(scripts.glob("*.sieve")) if scripts.is_dir() else ():
        if not path.is_symlink():
            yield path, f"sieve/{path.name}"


def _member(name: str, path: Path) -> tarfile.TarInfo:
    about = path.stat()
    member = tarfile.TarInfo(name)
    # The accounts of this machine mean nothing elsewhere.
    member.mtime = int(about.st_mtime)
    if path.is_dir():
        member.type, member.mode = tarfile.DIRTYPE, 0o700
    else:
        member.size, member.mode = about.st_size, 0o600
    return member


def _export(call: Call, output: Output) -> int:
    def tell(part: int, size: int) -> None:
        output.say("part", number=part, octets=size)

    with sending(call.options["to"], tell) as to:
        export(call.words[0], output, to, as_mbox="mbox" in call.options)
    return 0


VERBS = {"export": Verb(at_home(_export), calls.ADDRESS, 1, 1, {"to": calls.NAME, "mbox": None})}
