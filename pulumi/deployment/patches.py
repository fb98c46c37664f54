"""The weekly patches: a build that rebuilds the images for which Debian has fixes.

`pulumi up` stores the source that it deployed. CodeBuild builds from it on arm64 as `make images`
does, and tools/patch does the rest. An image's tag in ECR consists of its source and its patches,
so the next `pulumi up` names the image that is running, or a newer one, unless Debian's archive
does not answer at that moment (docs/deploy.md). Without a change it leaves the build's revision
alone.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi_aws as aws

import pulumi
from deployment import patch_documents, schedule_documents, source
from deployment.archive import Archive
from deployment.certificates import Certificates
from deployment.images import Images
from deployment.maintenance import TASKS_OF, Maintenance
from deployment.schedule import Schedule, ScheduleArgs
from deployment.service import Service
from deployment.stack import Stack

SOURCE_KEY = "source/source.zip"

# Sunday night, UTC. With the smoke test and one service after another, it takes about 20 minutes.
_WHEN = "cron(0 3 ? * SUN *)"
_TIMEOUT_MINUTES = 90

# AWS's own image for builds, with docker, by architecture.
_BUILDERS = {
    "arm64": ("ARM_CONTAINER", "aws/codebuild/amazonlinux-aarch64-standard:3.0"),
    "x86_64": ("LINUX_CONTAINER", "aws/codebuild/amazonlinux-x86_64-standard:5.0"),
}
# Docker Hub limits pulls without a login, by address; Amazon's copy of Debian's image does not.
_BASE = "public.ecr.aws/docker/library/debian:trixie-slim"

BUILD_SPEC = json.dumps(
    {
        "version": 0.2,
        "phases": {
            "install": {
                "commands": [
                    "python3 -m pip install --quiet --require-hashes -r requirements/patch.txt"
                ]
            },
            "build": {
                "commands": [
                    f"docker pull --quiet {_BASE}",
                    f"docker tag {_BASE} docker.io/library/debian:trixie-slim",
                    "python3 tools/patch",
                ]
            },
        },
    },
    sort_keys=True,
)


@dataclass(frozen=True)
class PatchesArgs:
    """What is patched: the stack's images, services and the certificate task."""

    stack: Stack
    architecture: str
    log_days: int
    archive: Archive
    images: Images
    cluster: aws.ecs.Cluster
    services: Mapping[str, Service]
    certificates: Certificates
    maintenance: Maintenance

    @property
    def name(self) -> str:
        """The name of the parts here, or its prefix."""
        return self.stack.named("patches")


class Patches(pulumi.ComponentResource):
    """The source, the project and its schedule; `told` is the input of tools/patch."""

    def __init__(
        self, name: str, args: PatchesArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("postal-plexus:index:Patches", name, None, opts)
        self._args = args
        self._child = pulumi.ResourceOptions(parent=self)
        self.told: dict[str, pulumi.Input[Any]] = {
            "architecture": args.architecture,
            "cluster": args.cluster.name,
            "repositories": args.images.repositories,
            "services": {name: part.service.name for name, part in args.services.items()},
            "tasks": {
                "certbot": [args.certificates.task_definition.family],
                **{
                    image: [args.maintenance.families[task] for task in tasks]
                    for image, tasks in TASKS_OF.items()
                },
            },
        }
        project = self._project(self._source())
        self.schedule = Schedule(
            args.name,
            ScheduleArgs(
                name=args.name,
                does="Builds the images anew once a week, if Debian has patches for them",
                expression=_WHEN,
                window_minutes=60,
                stack=args.stack,
                target_arn=project.arn,
                policy=schedule_documents.start_build,
                needs={"project_arn": project.arn},
                target={},
                retry_attempts=3,
                event_age_seconds=3600,
            ),
            self._child,
        )
        self.register_outputs({"project": project.name})

    def _source(self) -> aws.s3.BucketObjectv2:
        path, digest = source.pack()
        return aws.s3.BucketObjectv2(
            f"{self._args.name}-source",
            bucket=self._args.archive.bucket.bucket,
            key=SOURCE_KEY,
            source=pulumi.FileAsset(str(path)),
            source_hash=digest,
            server_side_encryption="AES256",
            # Only what has been deployed: the build must not be ahead of it.
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[
                    *self._args.archive.ready,
                    *(part.service for part in self._args.services.values()),
                ],
                # Another path on another machine is not a change.
                ignore_changes=["source"],
            ),
        )

    def _project(self, stored: aws.s3.BucketObjectv2) -> aws.codebuild.Project:
        args = self._args
        log_group = aws.cloudwatch.LogGroup(
            args.name, retention_in_days=args.log_days, opts=self._child
        )
        # Its name is fixed by the stack, because the role's trust policy names it first.
        project_arn = pulumi.Output.concat(
            f"arn:aws:codebuild:{args.stack.region}:", args.stack.account, f":project/{args.name}"
        )
        role = aws.iam.Role(
            args.name,
            assume_role_policy=pulumi.Output.all(args.stack.account, project_arn).apply(
                lambda given: patch_documents.build_trust(*given)
            ),
            description="What the weekly build of patched images may do",
            opts=self._child,
        )
        parts = list(args.services.values())
        definitions = [
            *(each.task_definition for each in (*parts, args.certificates)),
            *args.maintenance.task_definitions.values(),
        ]
        policy = aws.iam.RolePolicy(
            args.name,
            role=role.name,
            policy=pulumi.Output.all(
                account=args.stack.account,
                log_group_arn=log_group.arn,
                source_arn=pulumi.Output.concat(args.archive.bucket.arn, "/", SOURCE_KEY),
                repository_arns=list(args.images.repository_arns.values()),
                cluster_arn=args.cluster.arn,
                service_arns=[part.service.arn for part in parts],
                family_arns=[each.arn_without_revision for each in definitions],
                role_arns=[
                    arn
                    for each in (*parts, args.certificates, args.maintenance)
                    for arn in each.role_arns
                ],
            ).apply(
                lambda given: patch_documents.build(
                    stack=args.stack.name, region=args.stack.region, **given
                )
            ),
            opts=self._child,
        )
        kind, image = _BUILDERS[args.architecture]
        return aws.codebuild.Project(
            args.name,
            name=args.name,
            description="Builds the images anew where Debian has patches, and brings them in",
            service_role=role.arn,
            build_timeout=_TIMEOUT_MINUTES,
            # One at a time: two would deploy services against each other.
            concurrent_build_limit=1,
            artifacts={"type": "NO_ARTIFACTS"},
            environment={
                "type": kind,
                "image": image,
                "compute_type": "BUILD_GENERAL1_SMALL",
                # Docker needs it; the machine is the build's alone and is deleted afterwards.
                "privileged_mode": True,
                "environment_variables": [
                    {"name": "PLEXUS_PATCH", "value": pulumi.Output.json_dumps(self.told)}
                ],
            },
            source={
                "type": "S3",
                "location": pulumi.Output.concat(stored.bucket, "/", SOURCE_KEY),
                "buildspec": BUILD_SPEC,
            },
            logs_config={
                "cloudwatch_logs": {"group_name": log_group.name},
                "s3_logs": {"status": "DISABLED"},
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[policy]),
        )
