"""The one-off tasks that an operator runs beside Dovecot, Postfix and the calendars, with `plexus`.

`postal_plexus.maintenance` is what they do; `postal_plexus.operations.task` starts and follows
them. Each uses the image of a service with another program, the same directories, and a role of its
own. The one for calendars exists only in a stack that has them. ECS places a task by its
reservation: 24 MiB beside the three containers and certbot, one task at a time. What it uses beyond
that, up to its limit, comes from swap. Their log group is kept for days only, because results name
senders and subjects.

The directory of the running Dovecot's sockets is mounted at another path than Dovecot's own: a
Dovecot that a task starts with the image's configuration binds its sockets in the container's own
memory.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pulumi_aws as aws

import pulumi
from deployment import containers, task_documents
from deployment.containers import (
    CALENDAR_STORE,
    DOVECOT,
    MAIL_STORE,
    POSTFIX,
    WEB_CONTAINER,
    WHOLE_STORE,
    Container,
    Mount,
)
from deployment.host_directories import CALENDARS, WEB
from deployment.images import Images
from deployment.service import volumes_of
from deployment.stack import Stack
from deployment.storage import Storage
from postal_plexus.config.names import MOVING_PREFIX, hand_over_prefix

LOG_DAYS = 3
RESERVATION = 24
LIVE_DOVECOT = "/run/plexus/live-dovecot"

_PROGRAM = "/usr/local/bin/maintain"


def _task(name: str, of: Container, stop_timeout: int, **its: Any) -> Container:
    """Return a container like the given one with the task's program, and without ports."""
    return replace(
        of,
        name=f"maintenance-{name}",
        reservation=RESERVATION,
        entry_point=(_PROGRAM, name),
        ports=(),
        stop_timeout=stop_timeout,
        **its,
    )


TASKS: Mapping[str, Container] = {
    "dovecot": _task(
        "dovecot",
        DOVECOT,
        30,
        memory=96,
        mounts=(
            Mount(MAIL_STORE),
            Mount("indexes"),
            # Writable: the holds, with which deliveries wait for a task.
            Mount("run-dovecot", path=LIVE_DOVECOT),
            Mount("run-directory", read_only=True),
        ),
        # It does not listen on any public port.
        capabilities=tuple(each for each in DOVECOT.capabilities if each != "NET_BIND_SERVICE"),
    ),
    "restore": _task(
        "restore",
        DOVECOT,
        30,
        memory=96,
        mounts=(
            Mount(MAIL_STORE),
            Mount(WHOLE_STORE),
            Mount("indexes"),
            Mount("run-dovecot", read_only=True, path=LIVE_DOVECOT),
            Mount("run-directory", read_only=True),
        ),
        capabilities=("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"),
    ),
    "postfix": _task(
        "postfix",
        POSTFIX,
        10,
        memory=64,
        mounts=(Mount("queue"),),
        # To read and rename files of Postfix's users, and to become one of them (postsuper).
        capabilities=("DAC_OVERRIDE", "SETGID", "SETUID"),
    ),
    "calendars": _task(
        "calendars",
        WEB_CONTAINER,
        30,
        # Measured: 28 MB with 1,500 events, 71 with entries of 1.9 MB; the upload's part takes 8.
        memory=96,
        # The server's cache is there, which the task fills; webmail's files belong to another user.
        mounts=(Mount(CALENDAR_STORE), Mount("webmail")),
        user=f"{CALENDARS}:{WEB}",
        capabilities=(),
    ),
}

_IMAGES = {"dovecot": "dovecot", "restore": "dovecot", "postfix": "postfix", "calendars": "web"}


@dataclass(frozen=True)
class MaintenanceArgs:
    """The arguments of the tasks.

    Attributes:
        archive_arn: of the bucket for exports.
        host_name: of the mail host, which Postfix's programs need.
        calendars: whether the stack has calendars.
        shared: who shares which of them, as the web container gets it; "" for nobody.
        hosts: how many the stack has. The tasks of all have one definition; what starts a task on
            another than the first gives it that one's number and name.
    """

    stack: Stack
    images: Images
    storage: Storage
    archive_arn: pulumi.Input[str]
    host_name: str
    calendars: bool = False
    shared: str = ""
    hosts: int = 1

    @property
    def name(self) -> str:
        """The name of the parts here, or its prefix."""
        return self.stack.named("maintenance")


class Maintenance(pulumi.ComponentResource):
    """A task definition for each image, with its roles, and the log group of both."""

    def __init__(
        self, name: str, args: MaintenanceArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("postal-plexus:index:Maintenance", name, None, opts)
        self._args = args
        self._child = pulumi.ResourceOptions(parent=self)
        self.log_group = aws.cloudwatch.LogGroup(
            args.name, retention_in_days=LOG_DAYS, opts=self._child
        )
        self.role_arns: list[pulumi.Output[str]] = []
        self.task_definitions = {
            task: self._task_definition(task, container)
            for task, container in TASKS.items()
            if args.calendars or task != "calendars"
        }
        self.families = {task: each.family for task, each in self.task_definitions.items()}
        self.register_outputs({"families": self.families})

    def families_of(self, image: str) -> list[pulumi.Output[str]]:
        """Return the families of the tasks that use an image."""
        return [its for task, its in self.families.items() if _IMAGES[task] == image]

    def _task_definition(self, task: str, container: Container) -> aws.ecs.TaskDefinition:
        args = self._args
        name = args.stack.named(container.name)
        image = _IMAGES[task]
        task_role, execution_role = self._roles(task, name)
        environment: dict[str, pulumi.Input[str]] = {
            "AWS_REGION": args.stack.region,
            "PLEXUS_HAND_OVER": hand_over_prefix(args.stack.name),
            "PLEXUS_HOSTNAME": args.host_name,
            **({"PLEXUS_SHARD": "1"} if args.hosts > 1 else {}),
        }
        if task == "calendars" and args.shared:
            environment["PLEXUS_SHARED"] = args.shared
        return aws.ecs.TaskDefinition(
            name,
            family=name,
            network_mode="bridge",
            requires_compatibilities=["EC2"],
            task_role_arn=task_role.arn,
            execution_role_arn=execution_role.arn,
            container_definitions=pulumi.Output.all(
                image=args.images.references[image],
                environment=environment,
                log_group=self.log_group.name,
            ).apply(
                lambda given: containers.definition(
                    container, secrets={}, region=args.stack.region, **given
                )
            ),
            volumes=volumes_of(container, args.storage),
            opts=self._child,
        )

    def _roles(self, name_of_task: str, name: str) -> tuple[aws.iam.Role, aws.iam.Role]:
        args = self._args
        image = _IMAGES[name_of_task]
        trust = pulumi.Output.from_input(args.stack.account).apply(
            lambda account: task_documents.task_trust(account, args.stack.region)
        )
        task = aws.iam.Role(
            f"{name}-task",
            assume_role_policy=trust,
            description=f"What an operator's tasks beside {image} may do",
            opts=self._child,
        )
        policy = self._policy(name_of_task, image)
        if policy is not None:
            aws.iam.RolePolicy(f"{name}-task", role=task.name, policy=policy, opts=self._child)
        execution = aws.iam.Role(
            f"{name}-execution",
            assume_role_policy=trust,
            description=f"What ECS does to start an operator's tasks beside {image}",
            opts=self._child,
        )
        aws.iam.RolePolicy(
            f"{name}-execution",
            role=execution.name,
            policy=pulumi.Output.all(self.log_group.arn, args.images.repository_arns[image]).apply(
                lambda given: task_documents.execution(given[0], [], [given[1]])
            ),
            opts=self._child,
        )
        self.role_arns += [task.arn, execution.arn]
        return task, execution

    def _policy(self, name_of_task: str, image: str) -> pulumi.Output[str] | None:
        """Return what a task may do beyond what its trust and network allow; None for nothing."""
        storage, moving = self._args.storage, f"/{MOVING_PREFIX}*"
        if name_of_task == "restore":
            return pulumi.Output.all(
                storage.file_system.arn,
                storage.access_point.arn,
                storage.whole_access_point.arn,
            ).apply(lambda given: task_documents.restoring_task(*given))
        if name_of_task == "calendars" and storage.calendar_access_point is not None:
            return pulumi.Output.all(
                storage.file_system.arn,
                storage.calendar_access_point.arn,
                pulumi.Output.concat(self._args.archive_arn, moving),
            ).apply(lambda given: task_documents.calendars_task(*given))
        if image == "dovecot":
            stack = self._args.stack
            return pulumi.Output.all(
                storage.file_system.arn,
                storage.access_point.arn,
                stack.arn("ssm", f"parameter{hand_over_prefix(stack.name)}*"),
                pulumi.Output.concat(self._args.archive_arn, moving),
            ).apply(lambda given: task_documents.maintenance_dovecot_task(*given))
        return None
