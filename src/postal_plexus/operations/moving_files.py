"""Import mail from files of this machine into a mailbox, by tasks on the mail host.

    1. A task lists the messages that earlier runs have imported, by the hashes of their contents,
       and the mailbox's quota.
    2. The files are read, and new messages are counted; if they are too many, nothing is uploaded.
    3. These are uploaded to the stack's bucket, in parts of 8 MB below the mailbox's own prefix.
    4. A task (`maintenance.file_import`) imports them into the mailbox.

A part's key contains the hash of its content. So an interrupted run starts again, and uploads only
missing parts. At the end nothing remains there; a lifecycle rule deletes abandoned parts after a
day.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from postal_plexus.config.names import MOVING_PREFIX
from postal_plexus.maintenance.codes import AGAIN, NO_ROOM
from postal_plexus.maintenance.import_job import target_folders
from postal_plexus.maintenance.mailboxes import Quota
from postal_plexus.maintenance.modified_utf7 import decode, encode
from postal_plexus.maintenance.parcels import PART_OCTETS, part_key
from postal_plexus.operations.mail_files.sending import LeftOut, MailFiles, Survey
from postal_plexus.operations.moving import MEMORY
from postal_plexus.operations.parcels import Parcels
from postal_plexus.operations.task import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from postal_plexus.operations.system import System
    from postal_plexus.operations.task import Tasks

    Line = dict[str, Any]

_NAME_OCTETS = 16


@dataclass(frozen=True)
class Order:
    """What to import.

    Attributes:
        address: the mailbox.
        path: the file or the directory.
        folders: the source's folders -> the operator's choice.
        look: only count.
        over_quota: import even beyond the mailbox's quota.
        again: also import what was imported before and is no longer in the mailbox.
    """

    address: str
    path: Path
    folders: Mapping[str, str]
    look: bool = False
    over_quota: bool = False
    again: bool = False


class FileImport:
    """One import from files.

    Args:
        system: the stack.
        tasks: its tasks.
        order: what to import.
        tell: gets lines of the kinds `progress`, `left-out` and `folder`.
    """

    def __init__(
        self, system: System, tasks: Tasks, order: Order, tell: Callable[[Line], None]
    ) -> None:
        self._tasks = tasks
        self._order = order
        self._tell = tell
        mark = hashlib.sha256(order.address.encode()).hexdigest()[:16]
        self._parcels = Parcels(system, f"{MOVING_PREFIX}{mark}/")

    def run(self) -> None:
        """Import what is new. Raises SourceError, OperationError, RefusedError."""
        known, pending, room = self._known()
        files = MailFiles(self._order.path, known, self._order.folders)
        survey = files.survey()
        if not self._order.over_quota and not room.has_room(survey.new_octets):
            raise RefusedError(NO_ROOM, room.full(self._order.address, survey.new_octets))
        brought: dict[str, Line] = {}
        if not self._order.look and (survey.new or pending):
            brought = self._bring(files, survey)
        self._report(survey, brought)

    def _known(self) -> tuple[set[bytes], int, Quota]:
        """Return the names of imported messages, how many an interrupted pass left, the quota."""
        lines: list[Line] = []
        prefix = f"{self._parcels.prefix}known-"
        words = ["import-known", f"--to={self._parcels.bucket}/{prefix}", self._order.address]
        if self._order.again:
            words.insert(1, "--again")
        self._tasks.run("dovecot", words, lines.append, memory=MEMORY)
        (said,) = (line for line in lines if line["kind"] == "known")
        octets = bytearray()
        for number in range(int(said["parts"])):
            for piece in self._parcels.take(part_key(prefix, number)):
                octets += piece
        # An image of an earlier version does not say it; the last task asks, too.
        room = Quota(**said["quota"]) if "quota" in said else Quota(0, 0, None)
        steps = range(0, len(octets) - _NAME_OCTETS + 1, _NAME_OCTETS)
        return {bytes(octets[at : at + _NAME_OCTETS]) for at in steps}, int(said["pending"]), room

    def _bring(self, files: MailFiles, survey: Survey) -> dict[str, Line]:
        found: dict[str, Line] = {}

        def take(line: Line) -> None:
            if line["kind"] == "folder":
                found[str(line["source"])] = line
            elif line["kind"] == "progress":
                self._tell(line)

        words = ["import-files"]
        if survey.new:
            key = self._send(files, survey.new_octets)
            words.append(f"--from={self._parcels.bucket}/{key}")
        if self._order.over_quota:
            words.append("--over-quota")
        try:
            words.append(self._order.address)
            self._tasks.run("dovecot", words, take, memory=MEMORY)
        except RefusedError as error:
            if error.code != AGAIN:
                self._parcels.clear()
            raise
        self._parcels.clear()
        return found

    def _send(self, files: MailFiles, octets: int) -> str:
        """Upload all parts to the bucket; return the key of their list."""
        there, keys, sent = set(self._parcels.keys()), list[str](), 0
        for part in parts(files.records()):
            number = part_key(self._parcels.prefix, len(keys))
            key = f"{number}-{hashlib.sha256(part).hexdigest()}"
            if key not in there:
                self._parcels.put(key, part)
            keys.append(key)
            sent += len(part)
            self._tell({"kind": "progress", "step": "send", "octets": sent, "of_octets": octets})
        key = f"{self._parcels.prefix}list"
        self._parcels.put(key, "\n".join(keys).encode())
        return key

    def _report(self, survey: Survey, brought: Mapping[str, Line]) -> None:
        told = [*survey.left_out]
        if more := survey.left_out_count + survey.lost_count - len(told):
            told.append(LeftOut(f"{more} more", "are left out, too", is_damage=False))
        if survey.expunged:
            why = "had been deleted by their owner"
            told.append(LeftOut(f"{survey.expunged} messages", why, is_damage=False))
        for each in told:
            self._tell({"kind": "left-out", **asdict(each)})
        ours = target_folders(map(encode, survey.folders), {})
        for name, counted in sorted(survey.folders.items()):
            # The report shows `_~home` under its name in the source.
            line = brought.get(re.sub(r"(^|/)_(?=~)", r"\1", name), {})
            self._tell(
                {
                    "kind": "folder",
                    "source": name,
                    "folder": line.get("folder", decode(ours[encode(name)])),
                    "mails": counted.mails,
                    "octets": counted.octets,
                    "new": counted.new,
                    "brought": line.get("brought", 0),
                    "brought_octets": line.get("brought_octets", 0),
                    "now": line.get("now"),
                    "too_large": [
                        {"name": where, "octets": size} for where, size in counted.too_large[:50]
                    ],
                }
            )


def parts(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Split a stream into parts of 8 MB. Pure."""
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        while len(buffer) >= PART_OCTETS:
            yield bytes(buffer[:PART_OCTETS])
            del buffer[:PART_OCTETS]
    if buffer:
        yield bytes(buffer)
