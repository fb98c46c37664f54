"""AWS Backup for EFS: recovery points that hold files, and restores that write them back.

ministack answers StartBackupJob but copies nothing, and it cannot restore. Here a recovery point is
a copy of the file system's directory below the desk. A restore does what AWS documents: it
overwrites nothing, but writes into a new directory `aws-backup-restore_DATETIME` in the file
system's root, with the full path to each item. A job takes a while; poll until it has ended.
https://docs.aws.amazon.com/aws-backup/latest/devguide/restoring-efs.html

Owners and modes are kept, so this needs root; otherwise a job fails and says so. A file that
disappears during the copy is left out, because AWS's backups are not a snapshot either.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from awsdesk import files
from awsdesk.ministack_patches import private

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from awsdesk.layout import DeskLayout

log = logging.getLogger(__name__)

Answer = tuple[int, dict[str, str], bytes]
_Fields = dict[str, Any]


class BackupRefusedError(Exception):
    """AWS would refuse the call, or the job fails."""


@dataclass
class Backups:
    """The recovery points of a desk, and the jobs of this run of its daemon."""

    layout: DeskLayout
    account_id: str
    region: str
    inner: Callable[..., Awaitable[Answer]]
    _jobs: dict[str, _Fields] = field(default_factory=dict[str, _Fields])
    _running: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    async def handle(
        self, method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> Answer:
        """Answer one call of AWS Backup's API; ministack answers those about other things."""
        parts = [unquote(each) for each in path.strip("/").split("/")]
        given = cast("_Fields", json.loads(body)) if body else {}
        try:
            match method, *parts:
                case "PUT", "backup-jobs":
                    answer = self._start_backup(given)
                case "PUT", "restore-jobs":
                    answer = self._start_restore(given)
                case "GET", "backup-jobs" | "restore-jobs", job if job in self._jobs:
                    answer = self._jobs[job]
                case "GET", "restore-jobs":
                    jobs = [job for name, job in self._jobs.items() if name.startswith("restore-")]
                    answer = {"RestoreJobs": jobs}
                case "GET", "backup-vaults", vault, "recovery-points":
                    answer = self._points(BackupVaultName=vault)
                case "GET", "resources", *arn, "recovery-points":
                    answer = self._points(ResourceArn="/".join(arn))
                case _:
                    return await self.inner(method, path, headers, body, query)
        except BackupRefusedError as error:
            return private.BACKUP.err("InvalidParameterValueException", str(error))
        return private.BACKUP.ok(answer)

    def _points(self, **wanted: str) -> _Fields:
        points = [json.loads(file.read_bytes()) for file in self.layout.backups.glob("*.json")]
        found = [each for each in points if wanted.items() <= each.items()]
        found.sort(key=lambda each: each["CreationDate"], reverse=True)
        return {"RecoveryPoints": found}

    def _start_backup(self, given: _Fields) -> _Fields:
        resource = str(given.get("ResourceArn", ""))
        source = self._file_system(resource.rpartition("/")[2])
        name = str(uuid.uuid4())
        arn = f"arn:aws:backup:{self.region}:{self.account_id}:recovery-point:{name}"
        point: _Fields = {
            "RecoveryPointArn": arn,
            "BackupVaultName": str(given.get("BackupVaultName", "")),
            "ResourceArn": resource,
            "ResourceType": "EFS",
            "IamRoleArn": given.get("IamRoleArn"),
            "CreationDate": time.time(),
            "Status": "COMPLETED",
        }

        def work() -> None:
            _copy(source, self.layout.backups / name)
            done = {**point, "CompletionDate": time.time()}
            files.replace(self.layout.backups / f"{name}.json", json.dumps(done).encode())

        job: _Fields = {**point, "State": "RUNNING", "PercentDone": "0.0"}
        identifier = self._begin("backup", job, "State", work)
        return {
            "BackupJobId": identifier,
            "RecoveryPointArn": arn,
            "CreationDate": point["CreationDate"],
        }

    def _start_restore(self, given: _Fields) -> _Fields:
        arn = str(given.get("RecoveryPointArn", ""))
        copy = self.layout.backups / arn.rpartition(":")[2]
        if not copy.with_name(f"{copy.name}.json").exists():
            raise BackupRefusedError(f"there is no recovery point {arn}")
        metadata = cast("dict[str, str]", given.get("Metadata") or {})
        if not given.get("IamRoleArn"):
            raise BackupRefusedError("a restore of EFS needs IamRoleArn")
        if metadata.get("newFileSystem") != "false":
            raise BackupRefusedError("the desk restores into a file system that exists")
        identifier = metadata.get("file-system-id", "")
        root = self._file_system(identifier)
        items = _items(metadata.get("itemsToRestore"))
        moment = datetime.now(UTC)
        target = root / f"aws-backup-restore_{moment:%Y-%m-%dT%H-%M-%S-%fZ}"
        job: _Fields = {
            "RecoveryPointArn": arn,
            "ResourceType": "EFS",
            "CreationDate": time.time(),
            "Status": "RUNNING",
            "PercentDone": "0.0",
            "CreatedResourceArn": (
                f"arn:aws:elasticfilesystem:{self.region}:{self.account_id}"
                f":file-system/{identifier}"
            ),
        }
        return {
            "RestoreJobId": self._begin(
                "restore", job, "Status", lambda: _restore(copy, target, items)
            )
        }

    def _file_system(self, identifier: str) -> Path:
        root = self.layout.efs / identifier
        if not identifier.startswith("fs-") or not root.is_dir():
            raise BackupRefusedError(f"there is no file system {identifier!r}, or it is empty")
        return root

    def _begin(self, kind: str, job: _Fields, state: str, work: Callable[[], None]) -> str:
        identifier = f"{kind}-{uuid.uuid4()}"
        name = "BackupJobId" if kind == "backup" else "RestoreJobId"
        self._jobs[identifier] = {**job, name: identifier}

        async def run() -> None:
            ended: _Fields = {state: "COMPLETED", "PercentDone": "100.0"}
            try:
                await asyncio.to_thread(work)
            except (OSError, BackupRefusedError) as error:
                log.warning("backup.failed job=%s reason=%s", identifier, error)
                ended = {state: "FAILED", "StatusMessage": str(error)}
            self._jobs[identifier] |= {**ended, "CompletionDate": time.time()}

        task = asyncio.get_running_loop().create_task(run())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return identifier


def install(layout: DeskLayout, account_id: str, region: str) -> None:
    """Put this in front of ministack's AWS Backup."""
    backups = Backups(layout, account_id, region, private.BACKUP.handle_request)
    private.BACKUP.replace("handle_request", backups.handle)


def _items(given: str | None) -> list[PurePosixPath]:
    """Read the paths to restore, relative to the file system's root; without any, return all."""
    paths = json.loads(given) if given else ["/"]
    found = [PurePosixPath(str(each)) for each in cast("list[object]", paths)]
    if not found or not all(each.is_absolute() and ".." not in each.parts for each in found):
        raise BackupRefusedError(f"itemsToRestore are paths from the root: {given}")
    return found


def _restore(copy: Path, target: Path, items: list[PurePosixPath]) -> None:
    for item in items:
        source = copy.joinpath(*item.parts[1:])
        if not source.exists():
            raise BackupRefusedError(f"the recovery point has no {item}")
        into = target.joinpath(*item.parts[1:])
        into.parent.mkdir(parents=True, exist_ok=True)
        _copy(source, into)


def _copy(source: Path, target: Path) -> None:
    """Copy a directory with owners and modes, without the directories that restores left in it."""
    if not source.is_dir():
        shutil.copy2(source, target)
        _own(source, target)
        return
    target.mkdir(exist_ok=True)
    for entry in sorted(source.iterdir()):
        if entry.name.startswith("aws-backup-restore_"):
            continue
        try:
            if entry.is_symlink():
                (target / entry.name).symlink_to(entry.readlink())
            elif entry.is_dir() or entry.is_file():
                _copy(entry, target / entry.name)
        except FileNotFoundError:
            continue
    shutil.copystat(source, target)
    _own(source, target)


def _own(source: Path, target: Path) -> None:
    """Set the owner of the copy to that of its source."""
    status = source.stat()
    os.chown(target, status.st_uid, status.st_gid)
