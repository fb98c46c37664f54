"""The mail host's certificate: an hourly task, and the alarm on the days that are left.

The task (src/postal_plexus/certificates, image certbot) runs on the mail host itself, so that the
key never leaves it. It writes into the host's tls directory, and keeps certbot's state beside it on
the volume that outlives the instance. It runs hourly, not daily, so that the first certificate
comes soon after the delegation. A run with nothing to do takes a fifth of a second of processor
time (x86, measured) and 31 MB.

It reserves 16 MiB, so that it fits beside the containers on 512 MB; its limit is for the minute in
which certbot works.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi_aws as aws

import pulumi
from deployment import client_documents, schedule_documents, task_documents
from deployment.alarms import Alarm, Metric, namespace
from deployment.host_directories import BY_NAME, CERTBOT, SHARED_GROUP
from deployment.schedule import Schedule, ScheduleArgs
from deployment.stack import Stack
from postal_plexus.autoconfig import domain_of

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
CONTAINER = "certbot"
VOLUMES = ("tls", "certbot")
METRIC = "CertificateDaysLeft"

_MEMORY = 96
_RESERVATION = 16
_ALARM_DAYS = 20


@dataclass(frozen=True)
class CertificatesArgs:
    """`names`: the host names, the mail host first (clients.certificate_names).

    `zone_ids`: the zone of each domain; `name_servers`: the servers that each domain's registrar
    must list. An adopted zone has none here and counts as delegated.
    """

    stack: Stack
    image: pulumi.Input[str]
    repository_arn: pulumi.Input[str]
    cluster_arn: pulumi.Input[str]
    log_days: int
    names: Sequence[str]
    zone_ids: Mapping[str, pulumi.Input[str]]
    name_servers: Mapping[str, pulumi.Input[Sequence[str]]]
    directory_url: str = LETS_ENCRYPT
    email: str = ""

    @property
    def name(self) -> str:
        """The name of the parts here, or its prefix."""
        return self.stack.named("certbot")

    @property
    def domains(self) -> list[str]:
        """The domains whose zones the task needs: the most specific one for each name."""
        return sorted({domain_of(name, self.zone_ids) for name in self.names})


class Certificates(pulumi.ComponentResource):
    """The scheduled task with its roles, and the metric that the alarm watches."""

    def __init__(
        self, name: str, args: CertificatesArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("postal-plexus:index:Certificates", name, None, opts)
        self._args = args
        self._child = pulumi.ResourceOptions(parent=self)
        self.log_group = aws.cloudwatch.LogGroup(
            args.name, retention_in_days=args.log_days, opts=self._child
        )
        aws.cloudwatch.LogMetricFilter(
            args.name,
            log_group_name=self.log_group.name,
            pattern='{ $.event = "certificate.status" }',
            metric_transformation={
                "namespace": namespace(args.stack.name),
                "name": args.stack.of_host(METRIC),
                "value": "$.days_left",
                "unit": "Count",
            },
            opts=self._child,
        )
        task_role, execution_role = self._roles()
        self.task_definition = self._task_definition(task_role, execution_role)
        self.role_arns = [task_role.arn, execution_role.arn]
        self.schedule = self._schedule(self.role_arns)
        self.register_outputs({"task_definition": self.task_definition.arn})

    def _roles(self) -> tuple[aws.iam.Role, aws.iam.Role]:
        args = self._args
        trust = pulumi.Output.from_input(args.stack.account).apply(
            lambda account: task_documents.task_trust(account, args.stack.region)
        )
        task = aws.iam.Role(
            f"{args.name}-task",
            assume_role_policy=trust,
            description="What certbot may do",
            opts=self._child,
        )
        aws.iam.RolePolicy(
            f"{args.name}-task",
            role=task.name,
            policy=pulumi.Output.all(*(args.zone_ids[domain] for domain in args.domains)).apply(
                lambda ids: client_documents.certificate_task(
                    [f"arn:aws:route53:::hostedzone/{zone_id}" for zone_id in ids], args.names
                )
            ),
            opts=self._child,
        )
        execution = aws.iam.Role(
            f"{args.name}-execution",
            assume_role_policy=trust,
            description="What ECS does to start certbot",
            opts=self._child,
        )
        aws.iam.RolePolicy(
            f"{args.name}-execution",
            role=execution.name,
            policy=pulumi.Output.all(self.log_group.arn, args.repository_arn).apply(
                lambda given: task_documents.execution(given[0], [], [given[1]])
            ),
            opts=self._child,
        )
        return task, execution

    def _task_definition(
        self, task_role: aws.iam.Role, execution_role: aws.iam.Role
    ) -> aws.ecs.TaskDefinition:
        args = self._args
        zones = {domain: args.name_servers.get(domain, []) for domain in args.domains}
        return aws.ecs.TaskDefinition(
            args.name,
            family=args.name,
            network_mode="bridge",
            requires_compatibilities=["EC2"],
            task_role_arn=task_role.arn,
            execution_role_arn=execution_role.arn,
            container_definitions=pulumi.Output.all(
                image=args.image, zones=zones, log_group=self.log_group.name
            ).apply(lambda given: definition(args, **given)),
            volumes=[{"name": name, "host_path": BY_NAME[name].path} for name in VOLUMES],
            opts=self._child,
        )

    def _schedule(self, role_arns: list[pulumi.Output[str]]) -> Schedule:
        args = self._args
        return Schedule(
            args.name,
            ScheduleArgs(
                name=args.name,
                does="Looks after the mail host's certificate once an hour",
                expression="rate(1 hour)",
                # Authorities ask clients not to come all at the full hour.
                window_minutes=30,
                stack=args.stack,
                target_arn=args.cluster_arn,
                policy=schedule_documents.run_task,
                needs={
                    "task_family_arn": self.task_definition.arn_without_revision,
                    "cluster_arn": args.cluster_arn,
                    "role_arns": role_arns,
                },
                # The next hour is soon enough, so there is no retry.
                target={
                    "ecs_parameters": {
                        # The newest revision: Pulumi's, or one from the weekly patches.
                        "task_definition_arn": self.task_definition.arn_without_revision,
                        "launch_type": "EC2",
                        "task_count": 1,
                        "propagate_tags": "TASK_DEFINITION",
                    },
                },
            ),
            self._child,
        )


def alarm(stack: Stack) -> Alarm:
    """Return the alarm for a host's certificate with under 20 days left, or without a check.

    It must last a whole day, so that neither the first hours of a stack nor one missed run raise
    it.
    """
    return Alarm(
        "certificate",
        "The mail host's certificate has less than 20 days left, or the hourly task that renews it "
        "does not run. Check, in this order: the alarm missed-certbot (ECS did not start the task; "
        "the reason is in the queue), the certbot log group (the authority's error; CAA), and "
        "`plexus dns` (whether the registrar has our name servers).",
        (Metric(namespace(stack.name), stack.of_host(METRIC), {}, "Minimum", 21_600),),
        "LessThanThreshold",
        _ALARM_DAYS,
        periods=4,
        missing="breaching",
    )


def definition(
    args: CertificatesArgs, *, image: str, zones: Mapping[str, Sequence[str]], log_group: str
) -> str:
    """Return the container definitions of the task, as JSON for ECS."""
    environment = {
        "AWS_REGION": args.stack.region,
        "AWS_DEFAULT_REGION": args.stack.region,
        "PLEXUS_ACME_DIRECTORY": args.directory_url,
        "PLEXUS_CERTIFICATE_NAMES": " ".join(args.names),
        "PLEXUS_ZONES": json.dumps({domain: sorted(zones[domain]) for domain in sorted(zones)}),
    }
    if args.email:
        environment["PLEXUS_ACME_EMAIL"] = args.email
    described = {
        "name": CONTAINER,
        "image": image,
        "essential": True,
        "memory": _MEMORY,
        "memoryReservation": _RESERVATION,
        "user": f"{CERTBOT}:{SHARED_GROUP}",
        "environment": [
            {"name": name, "value": value} for name, value in sorted(environment.items())
        ],
        "mountPoints": [
            {"sourceVolume": name, "containerPath": BY_NAME[name].mount_path, "readOnly": False}
            for name in VOLUMES
        ],
        "readonlyRootFilesystem": True,
        "dockerSecurityOptions": ["no-new-privileges"],
        "linuxParameters": {
            "capabilities": {"drop": ["ALL"], "add": []},
            "initProcessEnabled": False,
            "tmpfs": [
                {
                    "containerPath": "/tmp",  # noqa: S108  the container's own
                    "size": 16,
                    "mountOptions": ["nosuid", "nodev", "noexec"],
                }
            ],
        },
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": log_group,
                "awslogs-region": args.stack.region,
                "awslogs-stream-prefix": CONTAINER,
            },
        },
    }
    return json.dumps([described], sort_keys=True)
