"""The weekly patches: a build that rebuilds the images for which Debian has fixes.

`pulumi up` stores the source that it deployed. CodeBuild builds from it on arm64 as `make images`
does, and tools/patch does the rest. An image's tag in ECR consists of its source and its patches,
so the next `pulumi up` names the image that is running, or a newer one, unless Debian's archive
does not answer at that moment (docs/deploy.md). Without a change it leaves the build's revision
alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi_aws as aws

import pulumi
from deployment import patch_documents, source
from deployment.archive import Archive
from deployment.builds import Build, BuildArgs, build_spec
from deployment.images import Images
from deployment.maintenance import Maintenance
from deployment.shard import Shard
from deployment.stack import Stack

# Sunday night, UTC. With the smoke test and one service after another, it takes about 20 minutes.
_WHEN = "cron(0 3 ? * SUN *)"
_TIMEOUT_MINUTES = 90

# Docker Hub limits pulls without a login, by address; Amazon's copy of Debian's image does not.
_BASE = "public.ecr.aws/docker/library/debian:trixie-slim"

BUILD_SPEC = build_spec(
    ["python3 -m pip install --quiet --require-hashes -r requirements/patch.txt"],
    [
        f"docker pull --quiet {_BASE}",
        f"docker tag {_BASE} docker.io/library/debian:trixie-slim",
        "python3 tools/patch",
    ],
)


@dataclass(frozen=True)
class PatchesArgs:
    """What is patched: the stack's images, and each host's services and certificate task."""

    stack: Stack
    architecture: str
    log_days: int
    archive: Archive
    images: Images
    shards: Sequence[Shard]
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
        first, *others = args.shards
        self.told: dict[str, pulumi.Input[Any]] = {
            "architecture": args.architecture,
            "cluster": first.cluster.name,
            "repositories": args.images.repositories,
            "services": {name: part.service.name for name, part in first.services.items()},
            "tasks": {
                "certbot": [_renewal(first)],
                **{
                    image: families
                    for image in first.services
                    if (families := args.maintenance.families_of(image))
                },
            },
            **({"other_hosts": [_row(shard) for shard in others]} if others else {}),
        }
        build = self._build()
        project = self._project(build)
        does = "Builds the images anew once a week, if Debian has patches for them"
        self.schedule = build.weekly(project, does, _WHEN)
        self.register_outputs({"project": project.name})

    def _build(self) -> Build:
        args = self._args
        return Build(
            BuildArgs(
                stack=args.stack,
                name=args.name,
                does="Builds the images anew where Debian has patches, and brings them in",
                source=source.IMAGES,
                spec=BUILD_SPEC,
                archive=args.archive,
                architecture=args.architecture,
                log_days=args.log_days,
                minutes=_TIMEOUT_MINUTES,
                after=[part.service for shard in args.shards for part in shard.services.values()],
                environment={"PLEXUS_PATCH": pulumi.Output.json_dumps(self.told)},
                has_docker=True,
            ),
            self._child,
        )

    def _project(self, build: Build) -> aws.codebuild.Project:
        args = self._args
        parts = [part for shard in args.shards for part in shard.services.values()]
        renewals = [shard.certificates for shard in args.shards if shard.certificates]
        definitions = [
            *(each.task_definition for each in (*parts, *renewals)),
            *args.maintenance.task_definitions.values(),
        ]
        return build.project(
            pulumi.Output.all(
                account=args.stack.account,
                log_group_arn=build.log_group.arn,
                source_arn=build.source_arn,
                repository_arns=list(args.images.repository_arns.values()),
                cluster_arns=[shard.cluster.arn for shard in args.shards],
                service_arns=[part.service.arn for part in parts],
                family_arns=[each.arn_without_revision for each in definitions],
                role_arns=[
                    arn for each in (*parts, *renewals, args.maintenance) for arn in each.role_arns
                ],
            ).apply(
                lambda given: patch_documents.build(
                    stack=args.stack.name, region=args.stack.region, **given
                )
            )
        )


def _renewal(shard: Shard) -> pulumi.Input[str]:
    """Return the family of the task that renews a host's certificate; every host has one."""
    return shard.certificates.task_definition.family if shard.certificates else ""


def _row(shard: Shard) -> list[pulumi.Input[str]]:
    """Return a host other than the first as tools/patch reads it: without names, to be short.

    CodeBuild limits the sum of all environment variables.
    """
    services = (shard.services[name].service.name for name in ("deliver", "dovecot", "postfix"))
    return [shard.cluster.name, _renewal(shard), *services]
