"""Recovery points of the mail store, and restoring them beside the existing data (AWS Backup).

A restore overwrites nothing: AWS writes it into a new directory in the file system's root
(https://docs.aws.amazon.com/aws-backup/latest/devguide/restoring-efs.html), from which a task
beside Dovecot imports it (`maintenance.restored`). Recovery points are listed by the stack's vault,
not by file system, so those of a lost file system are found too.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from postal_plexus.config.names import CALENDARS_ROOT, MAIL_ROOT
from postal_plexus.maintenance import calendar_store, modified_utf7
from postal_plexus.operations.system import OperationError, told

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from postal_plexus.operations.system import System

_LOOK_SECONDS = 5.0


class PointError(OperationError):
    """There is no recovery point from that time."""


@dataclass(frozen=True)
class Point:
    """A recovery point: its time (when its backup began), and its size in octets."""

    arn: str
    taken_at: datetime
    octets: int


def choose(points: Sequence[Point], at: datetime | None) -> Point:
    """Return the newest recovery point, or the newest from that time or before.

    Raises:
        PointError: there is none; the text lists the existing ones.
    """
    found = sorted(points, key=lambda point: point.taken_at, reverse=True)
    for point in found:
        if at is None or point.taken_at <= at:
            return point
    if not found:
        raise PointError("there is no recovery point yet; the first one comes within a day")
    listed = ", ".join(f"{point.taken_at:%Y-%m-%d %H:%M}" for point in found)
    raise PointError(f"there is no recovery point of {at:%Y-%m-%d %H:%M} UTC or before: {listed}")


def path_of(address: str, folder: str | None = None) -> str:
    """Return the path of a mailbox in the file system, or of one of its folders.

    Args:
        address: the address under which its mail is stored (its first one).
        folder: as clients show it.
    """
    name, _, domain = address.rpartition("@")
    home = f"{MAIL_ROOT}/{domain}/{name}"
    return home if folder is None else f"{home}/sdbox/mailboxes/{encoded(folder)}"


def calendars_path(address: str) -> str:
    """Return the path of a user's calendars in the file system.

    Args:
        address: the mailbox's first address; "" for what users share.
    """
    below = f"{calendar_store.HOMES}/{address}" if address else calendar_store.SHARED
    return f"{CALENDARS_ROOT}/{below}"


def encoded(folder: str) -> str:
    """Return a folder's name as in Dovecot's directories: in modified UTF-7 (RFC 3501, 5.1.3).

    Raises:
        PointError: no folder can have this name.
    """
    parts = folder.split("/")
    if any(part in {"", ".", ".."} or not part.isprintable() for part in parts):
        raise PointError(f"{folder!r} is not a valid folder name")

    return modified_utf7.encode(folder)


class Backups:
    """The recovery points of a stack."""

    def __init__(self, system: System) -> None:
        parts = system.parts
        if not parts.get("backup_vault"):
            raise OperationError(
                "this stack has no backups (backup-days: 0), or was deployed by an earlier version:"
                " run `pulumi up` once"
            )
        self._vault: str = parts["backup_vault"]
        self._role: str = parts["backup_role"]
        self._file_system: str = parts["file_system"]
        self._backup: Any = system.client("backup")

    def points(self) -> list[Point]:
        """Return all complete recovery points, the newest first."""
        found: list[Point] = []
        with told("AWS Backup"):
            pages = self._backup.get_paginator("list_recovery_points_by_backup_vault")
            for page in pages.paginate(BackupVaultName=self._vault):
                found += [
                    Point(
                        each["RecoveryPointArn"],
                        each["CreationDate"],
                        int(each.get("BackupSizeInBytes") or 0),
                    )
                    for each in page["RecoveryPoints"]
                    if each["Status"] == "COMPLETED" and each.get("ResourceType") == "EFS"
                ]
        return sorted(found, key=lambda point: point.taken_at, reverse=True)

    def start(self, point: Point, item: str | None) -> str:
        """Start to restore a path, or everything, into the stack's file system.

        Return the job's id.
        """
        metadata = {
            "file-system-id": self._file_system,
            "newFileSystem": "false",
            "Encrypted": "true",
            "PerformanceMode": "generalPurpose",
            "CreationToken": str(uuid.uuid4()),
        }
        if item is not None:
            metadata["itemsToRestore"] = json.dumps([item])
        with told("AWS Backup"):
            return self._backup.start_restore_job(
                RecoveryPointArn=point.arn,
                IamRoleArn=self._role,
                ResourceType="EFS",
                Metadata=metadata,
            )["RestoreJobId"]

    def follow(self, job: str) -> Iterator[float]:
        """Wait for a job's end. Yield its progress in percent.

        Raises:
            OperationError: it failed; the text has AWS's message.
        """
        wait = 0.5
        while True:
            with told("AWS Backup"):
                found = self._backup.describe_restore_job(RestoreJobId=job)
            if found["Status"] == "COMPLETED":
                return
            if found["Status"] in {"FAILED", "ABORTED"}:
                why = found.get("StatusMessage") or "AWS does not say why"
                raise OperationError(f"the restore job {job} {found['Status'].lower()}: {why}")
            yield float(str(found.get("PercentDone") or "0").rstrip("%"))
            time.sleep(wait)
            wait = min(wait * 1.5, _LOOK_SECONDS)
