"""The mail store: an EFS file system, and the access point through which Dovecot alone mounts it.

Bursting throughput costs nothing beyond the storage, and mail never reads or writes enough to
spend its credits; no lifecycle to IA, which bills 128 KiB for the smallest mail.
"""

from dataclasses import dataclass

import pulumi_aws as aws

import pulumi
from deployment.host_directories import VMAIL


@dataclass(frozen=True)
class StorageArgs:
    """Names of the file system and its access point."""

    name: str


class Storage(pulumi.ComponentResource):
    """It holds mail: protected, and it stays when the stack goes."""

    def __init__(
        self, name: str, args: StorageArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("postal-plexus:index:Storage", name, None, opts)
        kept = pulumi.ResourceOptions(parent=self, protect=True, retain_on_delete=True)
        self.file_system = aws.efs.FileSystem(
            args.name,
            encrypted=True,
            performance_mode="generalPurpose",
            throughput_mode="bursting",
            tags={"Name": args.name},
            opts=kept,
        )
        self.access_point = aws.efs.AccessPoint(
            args.name,
            file_system_id=self.file_system.id,
            posix_user={"uid": VMAIL, "gid": VMAIL},
            root_directory={
                "path": "/mail",
                "creation_info": {"owner_uid": VMAIL, "owner_gid": VMAIL, "permissions": "0750"},
            },
            tags={"Name": args.name},
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"file_system": self.file_system.id})
