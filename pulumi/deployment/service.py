"""One container as an ECS service: its log group, its two roles, its task definition, its service.

Ports and sockets are the host's, so the old task stops before the new one starts. Mail waits in the
queue meanwhile, and mail clients reconnect.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi_aws as aws

import pulumi
from deployment import containers, task_documents
from deployment.containers import CALENDAR_STORE, MAIL_STORE, WHOLE_STORE, Container
from deployment.host_directories import BY_NAME
from deployment.stack import Stack
from deployment.storage import Storage


@dataclass(frozen=True)
class ServiceArgs:
    """`policy`: the document of the task's role; None if the container needs nothing from AWS."""

    stack: Stack
    container: Container
    image: pulumi.Input[str]
    repository_arn: pulumi.Input[str]
    cluster_arn: pulumi.Input[str]
    storage: Storage
    log_days: int
    environment: Mapping[str, pulumi.Input[str]]
    secrets: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    policy: pulumi.Input[str] | None = None
    needed: Sequence[pulumi.Resource] = ()

    @property
    def name(self) -> str:
        """The name of the parts here, or its prefix."""
        return self.stack.named(self.container.name)


class Service(pulumi.ComponentResource):
    """A container that ECS keeps running."""

    def __init__(
        self, name: str, args: ServiceArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("postal-plexus:index:Service", name, None, opts)
        self._args = args
        self._child = pulumi.ResourceOptions(parent=self)
        self.log_group = aws.cloudwatch.LogGroup(
            args.name, retention_in_days=args.log_days, opts=self._child
        )
        self.task_role = self._role("task", f"What {args.container.name} may do")
        execution = self._role("execution", f"What ECS does to start {args.container.name}")
        self.role_arns = [self.task_role.arn, execution.arn]
        policies = self._policies(execution)
        self.task_definition = self._task_definition(execution)
        self.service = aws.ecs.Service(
            args.name,
            cluster=args.cluster_arn,
            task_definition=self.task_definition.arn,
            desired_count=1,
            launch_type="EC2",
            deployment_minimum_healthy_percent=0,
            deployment_maximum_percent=100,
            # A first deployment has nothing to roll back to: three tasks that cannot be placed yet
            # would stop it permanently, and the next `pulumi up` would see no change. Later, it
            # would silently roll back while Pulumi's state differs. So ECS keeps trying, and an
            # event reports it (events.py). It is set explicitly, so that it is turned off where it
            # was on.
            deployment_circuit_breaker={"enable": False, "rollback": False},
            enable_ecs_managed_tags=True,
            propagate_tags="SERVICE",
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*policies, *args.needed]),
        )
        self.register_outputs({"service": self.service.name})

    def _role(self, purpose: str, description: str) -> aws.iam.Role:
        args = self._args
        return aws.iam.Role(
            f"{args.name}-{purpose}",
            assume_role_policy=pulumi.Output.from_input(args.stack.account).apply(
                lambda account: task_documents.task_trust(account, args.stack.region)
            ),
            description=description,
            opts=self._child,
        )

    def _policies(self, execution: aws.iam.Role) -> list[pulumi.Resource]:
        """Create what the roles may do; the first task must not start before it is there."""
        args = self._args
        made: list[pulumi.Resource] = [
            aws.iam.RolePolicy(
                f"{args.name}-execution",
                role=execution.name,
                policy=pulumi.Output.all(
                    self.log_group.arn, list(args.secrets.values()), [args.repository_arn]
                ).apply(lambda given: task_documents.execution(*given)),
                opts=self._child,
            )
        ]
        if args.policy is not None:
            made.append(
                aws.iam.RolePolicy(
                    f"{args.name}-task",
                    role=self.task_role.name,
                    policy=args.policy,
                    opts=self._child,
                )
            )
        return made

    def _task_definition(self, execution: aws.iam.Role) -> aws.ecs.TaskDefinition:
        args = self._args
        return aws.ecs.TaskDefinition(
            args.name,
            family=args.name,
            network_mode="bridge",
            requires_compatibilities=["EC2"],
            task_role_arn=self.task_role.arn,
            execution_role_arn=execution.arn,
            container_definitions=pulumi.Output.all(
                image=args.image,
                environment=dict(args.environment),
                secrets=dict(args.secrets),
                log_group=self.log_group.name,
            ).apply(
                lambda given: containers.definition(
                    args.container, region=args.stack.region, **given
                )
            ),
            volumes=volumes_of(args.container, args.storage),
            opts=self._child,
        )


def volumes_of(
    container: Container, storage: Storage
) -> list[aws.ecs.TaskDefinitionVolumeArgsDict]:
    """Return the volumes that a container mounts: directories of the host, and the mail store."""
    volumes: list[aws.ecs.TaskDefinitionVolumeArgsDict] = [
        {"name": name, "host_path": BY_NAME[name].path} for name in container.host_directories
    ]
    access_points = {MAIL_STORE: storage.access_point, WHOLE_STORE: storage.whole_access_point}
    if storage.calendar_access_point is not None:
        access_points[CALENDAR_STORE] = storage.calendar_access_point
    mounted = {mount.volume for mount in container.mounts}
    stores: list[aws.ecs.TaskDefinitionVolumeArgsDict] = [
        {
            "name": name,
            "efs_volume_configuration": {
                "file_system_id": storage.file_system.id,
                "transit_encryption": "ENABLED",
                "authorization_config": {
                    "access_point_id": access_points[name].id,
                    "iam": "ENABLED",
                },
            },
        }
        for name in sorted(access_points.keys() & mounted)
    ]
    return volumes + stores
