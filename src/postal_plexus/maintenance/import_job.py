"""The job of an import: its source, how to connect to it, and the options. Pure.

The job is a JSON object that contains a password:

    {"kind": "imap", "host": ..., "port": 993, "tls": "imaps"|"starttls", "user": ...,
     "password": ..., "prefix": "", "authority": a CA's certificate as PEM}
    {"kind": "maildir", "name": ...}      a tree that was uploaded for the task
    both: "over_quota": bool, even beyond the mailbox's quota; "look": bool; "again": bool;
          "deletions": bool, apply any number of them;
          "folders": {"theirs": "ours"}   the folder's name here

Raises JobError, whose text says what is wrong and never contains the password.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

from postal_plexus.maintenance.modified_utf7 import encode

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}|[A-Fa-f0-9:]{1,45})")
TLS_KINDS = ("imaps", "starttls", "none")

SPECIAL: Mapping[str, tuple[str, ...]] = {
    "Drafts": ("Drafts", "Draft", "Entwürfe", "Brouillons", "Borradores", "Bozze"),
    "Sent": (
        *("Sent", "Sent Items", "Sent Messages", "Sent Mail", "Sent-Mail"),
        *("Gesendet", "Gesendete Elemente", "Gesendete Objekte"),
        *("Envoyés", "Éléments envoyés", "Messages envoyés"),
        *("Enviados", "Elementos enviados", "Posta inviata", "Inviata", "Verzonden items"),
    ),
    "Archive": ("Archive", "Archives", "Archiv"),
    "Junk": (
        *("Junk", "Junk Email", "Junk E-mail", "Junk E-Mail", "Spam", "Bulk Mail"),
        *("Junk-E-Mail", "Spamverdacht", "Courrier indésirable", "Correo no deseado"),
    ),
    "Trash": (
        *("Trash", "Deleted Items", "Deleted Messages", "Deleted", "Bin"),
        *("Papierkorb", "Gelöschte Elemente", "Gelöschte Objekte", "Corbeille"),
        *("Éléments supprimés", "Papelera", "Elementos eliminados", "Cestino", "Prullenbak"),
    ),
}
"""Folders of special use here (RFC 6154) -> other programs' names, the preferred one first."""

# Folders here that clients do not list, or that contain other users' folders.
_HIDDEN = re.compile(r"(shared)(?=/|$)|\.(Expunged)(?=/|$)", re.IGNORECASE)


class JobError(ValueError):
    """The job is invalid; the text says why."""


@dataclass(frozen=True)
class Job:
    """One import.

    Attributes:
        kind: `imap` or `maildir`.
        name: identifies the source among those of the mailbox, in each pass.
        prefix: the folder below which the server keeps all others (Courier: `INBOX`).
        deletions: apply deletions at the source, however many.
        look: only count.
        again: import from a finished source again.
        folders: the operator's choice: source folder -> folder here.
    """

    kind: str
    name: str
    host: str = ""
    port: int = 993
    tls: str = "imaps"
    user: str = ""
    password: str = field(default="", repr=False)
    prefix: str = ""
    authority: str = field(default="", repr=False)
    over_quota: bool = False
    deletions: bool = False
    look: bool = False
    again: bool = False
    folders: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def staging_name(self) -> str:
        """The name of the staging directory of this source."""
        text = f"{self.kind}-{self.name}"
        return re.sub(r"[^A-Za-z0-9.@-]", lambda each: f"_{ord(each[0]):02x}", text)[:200]


def read_job(text: str) -> Job:
    """Return the job in a JSON text. Raises JobError."""
    try:
        given = json.loads(text)
    except ValueError as error:
        raise JobError("the job is no JSON") from error
    if not isinstance(given, dict):
        raise JobError("the job is not a JSON object")
    values = cast("dict[str, object]", given)
    kinds: dict[str, type] = {
        "kind": str, "name": str, "host": str, "port": int, "tls": str, "user": str,
        "password": str, "prefix": str, "authority": str, "over_quota": bool,
        "deletions": bool, "look": bool, "again": bool, "folders": dict,
    }  # fmt: skip
    for key, value in values.items():
        if key not in kinds or type(value) is not kinds[key]:
            raise JobError(f"the job's {key} is unknown, or has the wrong type")
    if values.get("kind") == "imap":
        values["name"] = f"{values.get('host', '')}-{values.get('user', '')}"
    job = Job(**{"name": "", **values})  # pyright: ignore[reportArgumentType]  checked above
    _check(job)
    return job


def _check(job: Job) -> None:
    if job.kind not in ("imap", "maildir"):
        raise JobError("the job's kind is neither imap nor maildir")
    if not job.name:
        raise JobError("the job's source has no name")
    texts = (job.name, job.host, job.user, job.password, job.prefix)
    if any(re.search(r"[\0\r\n]", each) for each in (*texts, *job.folders, *job.folders.values())):
        raise JobError("a text of the job contains a line end")
    if len(set(job.folders.values())) < len(job.folders):
        raise JobError("two folders cannot go to the same one")
    if job.kind == "maildir":
        return
    if not _HOST.fullmatch(job.host):
        raise JobError(f"not a host name: {job.host!r}")
    if not 0 < job.port < 65536:
        raise JobError(f"not a port: {job.port}")
    if job.tls not in TLS_KINDS:
        raise JobError(f"tls is one of {', '.join(TLS_KINDS)}, not {job.tls!r}")
    if not job.user or not job.password:
        raise JobError("the job has no user, or no password")


def target_folders(
    theirs: Iterable[str], chosen: Mapping[str, str], uses: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the folder here for each source folder, in modified UTF-7 with "/" between levels.

    A folder of special use goes to the folder of the same use here: the one that the source marks,
    or the preferred one of those with a usual name. The operator's choices take precedence. All
    other folders keep their names, except those that would be invisible here. No two go to the same
    folder, so that nothing of one replaces anything of another.

    Args:
        theirs: the source's folders.
        chosen: the operator's choice: source folder -> folder here, in Unicode.
        uses: folder of special use here -> source folder, as marked by the source.
    """
    there = set(theirs)
    found = {encode(name): encode(ours) for name, ours in chosen.items() if encode(name) in there}
    taken = set(found.values())
    for ours, names in SPECIAL.items():
        called = (encode(f"{prefix}{name}") for name in names for prefix in _PREFIXES)
        candidates = (each for each in ((uses or {}).get(ours), *called) if each in there)
        usual = next(candidates, None)
        if usual is not None and usual not in found and ours not in taken:
            found[usual] = ours
            taken.add(ours)
    for name in sorted(there - found.keys()):
        ours = (
            _HIDDEN.sub(lambda each: f"{each[1] or each[2]}_", name, count=1)
            if _HIDDEN.match(name)
            else name
        )
        while ours in taken:
            ours += "_"
        found[name] = ours
        taken.add(ours)
    return found


_PREFIXES = ("", "[Gmail]/", "[Google Mail]/", "INBOX/")
