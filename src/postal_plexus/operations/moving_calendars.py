"""Import calendars and contacts from files, and export them, by tasks on the mail host.

The tasks run `postal_plexus.calendars.tasks` beside the calendar server, so no password is needed.
The files are read and split here; entries go up, and exports come back, in parts through the
stack's bucket, as mail does (`moving_files`, `moving`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from postal_plexus.maintenance.parcels import part_key
from postal_plexus.operations.calendar_files import read_paths
from postal_plexus.operations.moving_files import parts
from postal_plexus.operations.parcels import parcels_of_one_task
from postal_plexus.operations.replay import Replays, mailbox_of
from postal_plexus.operations.system import OperationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from postal_plexus.entries import Entry
    from postal_plexus.operations.calendar_files import Source
    from postal_plexus.operations.system import System
    from postal_plexus.operations.task import Tasks

    Line = dict[str, Any]

TASK = "calendars"


def first_address(system: System, address: str) -> str:
    """Return the address that names a mailbox's calendars: its first one.

    Raises:
        UnknownMailboxError: there is no such mailbox.
    """
    directory = Replays(system).directory()
    mailbox = mailbox_of(directory, address)
    return directory.first_address(mailbox) or mailbox


def require(system: System) -> None:
    """Raise OperationError if the stack has no calendars."""
    if TASK not in system.parts["maintenance"]:
        raise OperationError(
            "this stack has no calendars: set calendars: true in the stack file, then `pulumi up`"
            " (also once after an upgrade)"
        )


@dataclass(frozen=True)
class Order:
    """What to import.

    Attributes:
        address: the mailbox's first address.
        paths: files, zip files and directories.
        into: the name of the calendar or address book; "" follows the files.
        look: only count.
        replace: replace entries that exist, whichever is newer.
    """

    address: str
    paths: Sequence[Path]
    into: str = ""
    look: bool = False
    replace: bool = False


def bring(system: System, tasks: Tasks, order: Order, tell: Callable[[Line], None]) -> None:
    """Import files.

    Args:
        system: the stack.
        tasks: its tasks.
        order: what to import.
        tell: gets lines of the kinds `left-out` (name, reason), `collection` and `progress`.

    Raises:
        FileError: a path cannot be read. OperationError; RefusedError has the task's code.
    """
    # Where each uploaded entry came from, by its number.
    sent: list[tuple[str, int, str]] = []
    with parcels_of_one_task(system) as parcels:
        keys: list[str] = []
        for part in parts(_records(order, sent, tell)):
            digest = hashlib.sha256(part).hexdigest()
            keys.append(f"{part_key(parcels.prefix, len(keys))}-{digest}")
            parcels.put(keys[-1], part)
        if not keys:
            return
        key = f"{parcels.prefix}list"
        parcels.put(key, "\n".join(keys).encode())

        def take(line: Line) -> None:
            if line["kind"] == "left-out":
                tell(_left_out(*sent[int(line["number"])], str(line["reason"])))
            else:
                tell(line)

        words = [f"--from={parcels.bucket}/{key}", *_switches(order), order.address]
        tasks.run(TASK, ["calendars-import", *words], take)


def _switches(order: Order) -> Iterator[str]:
    if order.look:
        yield "--look"
    if order.replace:
        yield "--replace"


def _records(
    order: Order, sent: list[tuple[str, int, str]], tell: Callable[[Line], None]
) -> Iterator[bytes]:
    """Yield the entries of all files as lines; tell what is left out."""
    for source in read_paths(order.paths):
        if source.content is None:
            tell({"kind": "left-out", "name": source.name, "reason": source.problem})
            continue
        for broken in source.content.broken:
            tell(_left_out(source.name, broken.line, broken.title, broken.reason))
        for entry in source.content.entries:
            sent.append((source.name, entry.line, entry.title))
            yield json.dumps(_record(order, source, entry)).encode() + b"\n"


def _record(order: Order, source: Source, entry: Entry) -> dict[str, str]:
    names = {"into": order.into} if order.into else {}
    if entry.kind == "calendar" and not order.into:
        names = {"name": source.collection}
    return {"kind": entry.kind, "uid": entry.uid, "text": entry.text, **names}


def _left_out(name: str, line: int, title: str, reason: str) -> Line:
    called = f" ({title})" if title else ""
    return {"kind": "left-out", "name": f"{name}, line {line}{called}", "reason": reason}


def fetch(
    system: System,
    tasks: Tasks,
    address: str,
    to: BinaryIO,
    tell: Callable[[Line], None],
    *,
    only: str = "",
) -> None:
    """Write a user's calendars and contacts as a zip file, or the one named `only` as it is.

    Args:
        address: the mailbox's first address.

    Raises:
        OperationError: it did not complete. RefusedError has the task's code.
    """
    with parcels_of_one_task(system) as parcels:
        words = ["calendars-export", f"--to={parcels.bucket}/{parcels.prefix}"]
        if only:
            words.append(f"--only={only.encode().hex()}")
        tasks.run(TASK, [*words, address], parcels.written_to(to, tell))
