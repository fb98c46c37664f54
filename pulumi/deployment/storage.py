"""The mail store: an EFS file system, the access point through which Dovecot mounts it, backups.

Bursting throughput costs nothing beyond the storage, and mail never reads or writes enough to use
up its credits.

Files that nobody has opened for a month move to the Infrequent Access class. It costs a twelfth per
GB but bills at least 128 KiB per message. However the sizes are distributed, messages of m KiB on
average are billed as m + 128 at most, so it saves money from 11.7 KiB on: (m + 128) x 0.025 < m x
0.30. The usual average is six times that. A message that is opened moves back.
https://docs.aws.amazon.com/efs/latest/ug/lifecycle-management-efs.html

The file system's policy denies access without TLS, IAM and the access point, so a host with only
network access cannot read mail. A second access point exposes the whole file system, only to the
role of the task that imports what was restored (`maintenance.restored`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi_aws as aws

import pulumi
from deployment import storage_documents
from deployment.host_directories import CALENDARS, VMAIL, WEB
from deployment.stack import Stack
from postal_plexus.config.names import CALENDARS_ROOT, MAIL_ROOT

RESTORING_ROLE = "maintenance-restore-task"
"""The prefix of the only role's name that may mount the whole file system."""


@dataclass(frozen=True)
class StorageArgs:
    """`subnet_ids`: one mount target each; `backup_days`: how long a backup is kept, 0 for none.

    `infrequent_days`: days without access after which a file moves to cheaper storage; 0 for never.
    """

    stack: Stack
    subnet_ids: Sequence[pulumi.Input[str]]
    security_group_id: pulumi.Input[str]
    backup_days: int
    infrequent_days: int = 0
    # Whether calendars and address books are stored, too.
    calendars: bool = False

    @property
    def name(self) -> str:
        """The name of the parts here, or its prefix."""
        return self.stack.named("mailboxes")


def lifecycle(days: int) -> list[aws.efs.FileSystemLifecyclePolicyArgsDict]:
    """Return the policies: to Infrequent Access after `days` without access, and back on access."""
    if not days:
        return []
    return [
        {"transition_to_ia": "AFTER_1_DAY" if days == 1 else f"AFTER_{days}_DAYS"},
        {"transition_to_primary_storage_class": "AFTER_1_ACCESS"},
    ]


class Storage(pulumi.ComponentResource):
    """It contains mail: protected, and kept when the stack is destroyed."""

    def __init__(
        self, name: str, args: StorageArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("postal-plexus:index:Storage", name, None, opts)
        self._args = args
        self._child = pulumi.ResourceOptions(parent=self)
        self._kept = pulumi.ResourceOptions(parent=self, protect=True, retain_on_delete=True)
        self.file_system = aws.efs.FileSystem(
            args.name,
            encrypted=True,
            performance_mode="generalPurpose",
            throughput_mode="bursting",
            lifecycle_policies=lifecycle(args.infrequent_days),
            tags={"Name": args.name},
            opts=self._kept,
        )
        self.access_point = aws.efs.AccessPoint(
            args.name,
            file_system_id=self.file_system.id,
            posix_user={"uid": VMAIL, "gid": VMAIL},
            root_directory={
                "path": MAIL_ROOT,
                "creation_info": {"owner_uid": VMAIL, "owner_gid": VMAIL, "permissions": "0750"},
            },
            tags={"Name": args.name},
            opts=self._child,
        )
        # What AWS Backup restores is beside Dovecot's directory, and some of it belongs to root.
        self.whole_access_point = aws.efs.AccessPoint(
            f"{args.name}-whole",
            file_system_id=self.file_system.id,
            posix_user={"uid": 0, "gid": 0},
            root_directory={"path": "/"},
            tags={"Name": f"{args.name}-whole"},
            opts=self._child,
        )
        self.calendar_access_point = self._calendars() if args.calendars else None
        points = [self.access_point.arn]
        if self.calendar_access_point is not None:
            points.append(self.calendar_access_point.arn)
        policy = aws.efs.FileSystemPolicy(
            args.name,
            file_system_id=self.file_system.id,
            policy=pulumi.Output.all(
                self.file_system.arn,
                points,
                self.whole_access_point.arn,
                args.stack.account,
                args.stack.named(RESTORING_ROLE),
            ).apply(lambda given: storage_documents.file_system(*given)),
            opts=self._child,
        )
        targets = [
            aws.efs.MountTarget(
                f"{args.name}-{index + 1}",
                file_system_id=self.file_system.id,
                subnet_id=subnet_id,
                security_groups=[args.security_group_id],
                opts=self._child,
            )
            for index, subnet_id in enumerate(args.subnet_ids)
        ]
        self.ready: list[pulumi.Resource] = [policy, *targets]
        # What restores need: the vault of the recovery points, and the role that restores them.
        self.vault: pulumi.Output[str] | None = None
        self.backup_role: pulumi.Output[str] | None = None
        if args.backup_days:
            self._back_up()
        self.register_outputs({"file_system": self.file_system.id})

    def _calendars(self) -> aws.efs.AccessPoint:
        """Create the access point of the calendars, beside the mail, with an own owner."""
        name = f"{self._args.name}-calendars"
        return aws.efs.AccessPoint(
            name,
            file_system_id=self.file_system.id,
            posix_user={"uid": CALENDARS, "gid": WEB},
            root_directory={
                "path": CALENDARS_ROOT,
                "creation_info": {"owner_uid": CALENDARS, "owner_gid": WEB, "permissions": "0700"},
            },
            tags={"Name": name},
            opts=self._child,
        )

    def _back_up(self) -> None:
        vault = aws.backup.Vault(self._args.name, opts=self._kept)
        self.vault = vault.name
        role = aws.iam.Role(
            f"{self._args.name}-backup",
            assume_role_policy=pulumi.Output.from_input(self._args.stack.account).apply(
                storage_documents.backup_trust
            ),
            description="Backs up and restores the mail store",
            opts=self._child,
        )
        self.backup_role = role.arn
        attachments = [
            aws.iam.RolePolicyAttachment(
                f"{self._args.name}-{purpose}",
                role=role.name,
                policy_arn=f"arn:aws:iam::aws:policy/service-role/{managed}",
                opts=self._child,
            )
            for purpose, managed in (
                ("backup", "AWSBackupServiceRolePolicyForBackup"),
                ("restore", "AWSBackupServiceRolePolicyForRestores"),
            )
        ]
        plan = aws.backup.Plan(
            self._args.name,
            rules=[
                {
                    "rule_name": "daily",
                    "target_vault_name": vault.name,
                    "schedule": "cron(0 3 * * ? *)",
                    "start_window": 60,
                    "completion_window": 480,
                    "lifecycle": {"delete_after": self._args.backup_days},
                }
            ],
            opts=self._child,
        )
        aws.backup.Selection(
            self._args.name,
            plan_id=plan.id,
            iam_role_arn=role.arn,
            resources=[self.file_system.arn],
            opts=pulumi.ResourceOptions(parent=self, depends_on=attachments),
        )
