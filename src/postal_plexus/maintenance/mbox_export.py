"""Write a Dovecot Maildir as a zip file with an mbox for each folder, as a stream.

    mail/INBOX.mbox, mail/Work.mbox, mail/Work/2020.mbox    readable names
    sieve/NAME.sieve                                        the filters

The format is mboxrd: a line of a message that begins with "From ", or with such a line quoted, gets
one more ">". The format stores flags in header fields, so a message's own fields with these names
are left out: Status (R seen), X-Status (A answered, F flagged, T draft, D deleted), X-Keywords, and
Content-Length, by which some programs would split a message elsewhere.
"""

import re
import time
import zipfile
from collections.abc import Iterator
from io import RawIOBase
from pathlib import Path
from typing import IO, BinaryIO

from postal_plexus.maintenance.modified_utf7 import decode

_LONGEST_LINE = 65_536
_QUOTED = re.compile(rb">*From ")
_NOTE = re.compile(rb"(status|x-status|x-keywords|content-length)[ \t]*:", re.IGNORECASE)
_FLAGS = re.compile(r".*:2,([A-Za-z]*)")
_UNUSUAL = re.compile(r'[\x00-\x1f\x7f\ud800-\udfff/\\:*?"<>|]|^\.|[. ]$')
_LETTERS = (("R", "A"), ("F", "F"), ("D", "T"), ("T", "D"))


def lines_of(
    mail: BinaryIO, flags: str, keywords: dict[str, str], received: float
) -> Iterator[bytes]:
    """Yield a message in mbox format, in pieces. Pure.

    Args:
        mail: its octets, with LF line ends.
        flags: a Maildir's letters.
        keywords: the keywords for its lower-case letters.
        received: in seconds since 1970.
    """
    yield f"From MAILER-DAEMON {time.asctime(time.gmtime(received))}\n".encode()
    yield f"Status: {'R' if 'S' in flags else ''}O\n".encode()
    if others := "".join(there for here, there in _LETTERS if here in flags):
        yield f"X-Status: {others}\n".encode()
    if named := " ".join(keywords[each] for each in flags if each in keywords):
        yield f"X-Keywords: {named}\n".encode()
    in_header = at_start = True
    is_note = False
    last = b"\n"
    while piece := mail.readline(_LONGEST_LINE):
        if at_start and in_header:
            in_header = piece != b"\n"
            if not piece.startswith((b" ", b"\t")):
                is_note = in_header and bool(_NOTE.match(piece))
        if at_start and _QUOTED.match(piece):
            yield b">"
        at_start = piece.endswith(b"\n")
        if not is_note:
            yield piece
            last = piece[-1:]
    # An empty line separates messages, and one ends a header without a body.
    yield b"\n" if last == b"\n" else b"\n\n"


class MailZip:
    """The zip file, written folder by folder within a `with` block.

    Args:
        to: the output; it need not support seeking.
    """

    def __init__(self, to: RawIOBase) -> None:
        self._names: set[str] = set()
        # The lowest level shrinks text to a third and uses little processor time.
        self._zip = zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
        self.mails = self.octets = self.folders = 0

    def add_folder(self, name: str, folder: Path) -> None:
        """Write one folder's messages.

        Args:
            name: in modified UTF-7, with "/" between levels.
            folder: a Maildir.
        """
        keywords = _keywords(folder / "dovecot-keywords")
        files = sorted(each for part in ("cur", "new") for each in (folder / part).iterdir())
        with self._open(self._free(f"mail/{shown(name)}")) as entry:
            for path in files:
                found = _FLAGS.fullmatch(path.name)
                about = path.stat()
                with path.open("rb") as file:
                    entry.writelines(
                        lines_of(file, found[1] if found else "", keywords, about.st_mtime)
                    )
                self.mails += 1
                self.octets += about.st_size
        self.folders += bool(files)

    def add_file(self, name: str, path: Path) -> None:
        """Write a file unchanged."""
        with self._open(name) as entry:
            entry.write(path.read_bytes())

    def __enter__(self) -> "MailZip":
        """Return it."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write the zip file's end, unless something failed."""
        if kind is None:
            self._zip.close()

    def _free(self, name: str) -> str:
        """Return a unique name for an mbox, also for file systems that ignore case."""
        while name.lower() in self._names:
            name += "_"
        self._names.add(name.lower())
        return f"{name}.mbox"

    def _open(self, name: str) -> "IO[bytes]":
        entry = zipfile.ZipInfo(name, time.gmtime()[:6])
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.external_attr = 0o600 << 16
        # Its length is not known in advance.
        return self._zip.open(entry, "w", force_zip64=True)


def shown(name: str) -> str:
    """Return a folder's readable name, valid as a file name on any system. Pure."""
    return "/".join(_UNUSUAL.sub("_", decode(each)) or "_" for each in name.split("/"))


def _keywords(path: Path) -> dict[str, str]:
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    numbered = (line.partition(" ") for line in lines)
    return {chr(ord("a") + int(number)): word for number, _, word in numbered}
