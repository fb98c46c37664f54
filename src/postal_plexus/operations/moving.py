"""Import mail into a mailbox and export it, by tasks on the mail host.

The tasks run `postal_plexus.maintenance.importing` and `exporting`. A job with a password is passed
to the task by a hand-over, which it reads once. An export comes back in parts, objects below its
own prefix in the archive bucket. Each is removed when it has been read, and the rest at the end.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from postal_plexus.operations.parcels import parcels_of_one_task
from postal_plexus.operations.system import OperationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from postal_plexus.operations.system import System
    from postal_plexus.operations.task import Tasks

    Line = dict[str, Any]

MEMORY = 256
"""MiB for a task, and as much of swap: messages of 40 MB in a row take 240 in the first step."""

_LONGEST_JOB = 4096  # the largest value of an SSM parameter
_PORTS = {"imaps": 993, "imap": 143}


class SourceError(ValueError):
    """The text does not name a source of mail; the message says why."""


def server(text: str) -> dict[str, object]:
    """Parse `imaps://HOST[:PORT]` (TLS from the start) or `imap://` (STARTTLS).

    Raises:
        SourceError: it is not such a URL.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise SourceError(f"{text!r} is not a server's URL: {error}") from error
    if parts.scheme not in _PORTS or not parts.hostname:
        raise SourceError(f"{text!r} is not imaps://HOST or imap://HOST")
    if parts.password is not None or parts.username is not None or parts.path.strip("/"):
        raise SourceError(
            "name the user with --user, and keep the password out of the command line"
        )
    tls = "imaps" if parts.scheme == "imaps" else "starttls"
    return {"host": parts.hostname, "port": port or _PORTS[parts.scheme], "tls": tls}


def bring(tasks: Tasks, address: str, job: dict[str, object], tell: Callable[[Line], None]) -> None:
    """Run one pass of an import. Raises OperationError, or RefusedError with the task's code."""
    text = json.dumps(job)
    if len(text) > _LONGEST_JOB:
        raise OperationError(
            "the job is too long: use a shorter --authority file, or fewer --folder options"
        )
    with tasks.handed_over(text) as name:
        tasks.run("dovecot", ["import", f"--job={name}", address], tell, memory=MEMORY)


def finish(tasks: Tasks, address: str, tell: Callable[[Line], None]) -> None:
    """Remove the data that the passes of an import keep on the host."""
    tasks.run("dovecot", ["import-finish", address], tell, memory=MEMORY)


def fetch(
    system: System,
    tasks: Tasks,
    address: str,
    to: BinaryIO,
    tell: Callable[[Line], None],
    *,
    as_mbox: bool = False,
) -> None:
    """Write a mailbox's tar, or its zip file of mboxes, to a file.

    Raises:
        OperationError: it did not complete. RefusedError has the task's code.
    """
    with parcels_of_one_task(system) as parcels:
        where = f"--to={parcels.bucket}/{parcels.prefix}"
        words = ["export", where, *(["--mbox"] if as_mbox else []), address]
        tasks.run("dovecot", words, parcels.written_to(to, tell), memory=MEMORY)
