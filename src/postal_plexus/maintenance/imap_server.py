"""Ask an IMAP server for what Dovecot's sync does not report: extensions, special folders, ids.

This uses a separate connection by Python's client, before Dovecot's. Folders have their names in
the staging directory: modified UTF-7 with "/" between levels, without the server's prefix. Raises
SyncError.
"""

import contextlib
import imaplib
import re
import ssl
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from postal_plexus.maintenance.codes import AGAIN, REFUSED
from postal_plexus.maintenance.dsync import failure
from postal_plexus.maintenance.import_job import Job

_SECONDS = 300.0
_LINE = re.compile(rb'\((?P<attributes>[^)]*)\) (?P<between>"\\?.?"|NIL) (?P<name>.*)', re.DOTALL)
_ID = re.compile(rb"X-GM-MSGID (\d+)")
_UID = re.compile(rb"UID (\d+)")


@dataclass(frozen=True)
class Folder:
    """A folder of a server.

    Attributes:
        name: its name in the staging directory.
        attributes: in lower case, such as `\\sent` (RFC 6154).
        own_name: the server's spelling.
    """

    name: str
    attributes: frozenset[str]
    own_name: bytes


class ImapServer:
    """A server with a logged-in session.

    Attributes:
        is_gmail: it has Google's extensions.
        folders: those that hold mail.
    """

    def __init__(self, client: imaplib.IMAP4, prefix: str) -> None:
        self._client = client
        said = _answer(client.capability()).upper().split()
        self.is_gmail = "X-GM-EXT-1" in said
        # Servers may report special uses only on request (RFC 6154, section 5.2).
        asking = {"SPECIAL-USE", "LIST-EXTENDED"} <= set(said)
        status, lines = client.list('""', '"*" RETURN (SPECIAL-USE)' if asking else '"*"')
        _demand(status, lines)
        self.folders = [
            each for each in listed(lines, prefix) if "\\noselect" not in each.attributes
        ]

    def ids(self, folder: Folder) -> dict[int, int]:
        """Return X-GM-MSGID by UID; a message has the same one in all its folders."""
        _demand(*self._client.select(b'"%s"' % folder.own_name, readonly=True))  # pyright: ignore[reportArgumentType]
        status, lines = self._client.uid("FETCH", "1:*", "(X-GM-MSGID)")
        _demand(status, lines)
        found: dict[int, int] = {}
        for line in cast("Sequence[bytes | tuple[bytes, bytes] | None]", lines):
            octets = line[0] if isinstance(line, tuple) else line or b""
            if (uid := _UID.search(octets)) and (number := _ID.search(octets)):
                found[int(uid[1])] = int(number[1])
        return found


@contextlib.contextmanager
def connected(job: Job) -> Generator[ImapServer]:
    """Log in to a job's server. Raises SyncError, also for failures within the block."""
    try:
        client = _client(job)
        with client:
            try:
                if (job.user + job.password).isascii():
                    # The client quotes only the password.
                    quoted = job.user.replace("\\", "\\\\").replace('"', '\\"')
                    client.login(f'"{quoted}"', job.password)
                else:
                    secret = f"\0{job.user}\0{job.password}".encode()
                    client.authenticate("PLAIN", lambda _: secret)
            except imaplib.IMAP4.abort:
                raise
            except imaplib.IMAP4.error as error:
                reason = str(error.args[0]).removeprefix("b'").rstrip("'")
                raise failure(REFUSED, f"Authentication failed: {reason}") from error
            yield ImapServer(client, job.prefix)
    except (OSError, imaplib.IMAP4.error) as error:
        raise failure(AGAIN, f"{job.host}: {error}") from error


def _client(job: Job) -> imaplib.IMAP4:
    context = ssl.create_default_context()
    if job.authority:
        context.load_verify_locations(cadata=job.authority)
    if job.tls == "imaps":
        return imaplib.IMAP4_SSL(job.host, job.port, ssl_context=context, timeout=_SECONDS)
    client = imaplib.IMAP4(job.host, job.port, timeout=_SECONDS)
    if job.tls == "starttls":
        client.starttls(context)
    return client


def _answer(answer: tuple[str, Sequence[bytes | tuple[bytes, bytes] | None]]) -> str:
    _demand(*answer)
    return b" ".join(each for each in answer[1] if isinstance(each, bytes)).decode(
        "ascii", "replace"
    )


def _demand(status: str, lines: object) -> None:
    if status != "OK":
        raise failure(AGAIN, f"the server refuses: {lines}"[:400])


def listed(lines: Sequence[bytes | tuple[bytes, bytes] | None], prefix: str) -> Iterator[Folder]:
    """Parse the lines of a LIST response; others are ignored. Pure.

    Args:
        lines: from Python's client, which returns a literal in two parts.
        prefix: the server's prefix, which is removed from names.
    """
    for line in lines:
        octets, literal = line if isinstance(line, tuple) else (line or b"", None)
        found = _LINE.match(octets)
        if not found:
            continue
        own = (
            literal
            if literal is not None
            else found["name"].strip().removeprefix(b'"').removesuffix(b'"')
        )
        between = found["between"].strip(b'"').removeprefix(b"\\").decode("latin-1") or "\\"
        name = (
            re.sub(r"\\(.)", r"\1", own.decode("utf-8", "replace"))
            if literal is None
            else own.decode("utf-8", "replace")
        )
        if between != "NIL":
            name = name.removeprefix(f"{prefix}{between}") if prefix else name
            name = name.replace(between, "/")
        attributes = frozenset(found["attributes"].decode("latin-1").lower().split())
        yield Folder(name, attributes, own)
