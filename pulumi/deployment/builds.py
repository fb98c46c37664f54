"""CodeBuild projects: a stored source, a role of the project's own, and what is run.

AWS runs Python of ours that needs nothing on the mail host there: it costs cents, and no memory.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi_aws as aws

import pulumi
from deployment import build_documents, schedule_documents, source
from deployment.archive import Archive
from deployment.schedule import Schedule, ScheduleArgs
from deployment.stack import Stack

# AWS's own image for builds, with docker and Python, by architecture.
_BUILDERS = {
    "arm64": ("ARM_CONTAINER", "aws/codebuild/amazonlinux-aarch64-standard:3.0"),
    "x86_64": ("LINUX_CONTAINER", "aws/codebuild/amazonlinux-x86_64-standard:5.0"),
}


def build_spec(install: Sequence[str], build: Sequence[str]) -> str:
    """What a build runs, in order, each line in one shell, until one fails."""
    phases = {"install": {"commands": list(install)}, "build": {"commands": list(build)}}
    return json.dumps({"version": 0.2, "phases": phases}, sort_keys=True)


@dataclass(frozen=True)
class BuildArgs:
    """`name`: of the project, its role and its log group.

    `after`: what must be deployed before the source is stored.
    """

    stack: Stack
    name: str
    does: str
    source: source.Source
    spec: str
    archive: Archive
    architecture: str
    log_days: int
    minutes: int
    after: Sequence[pulumi.Resource] = ()
    environment: Mapping[str, pulumi.Input[str]] = field(default_factory=dict[str, str])
    has_docker: bool = False


class Build:
    """Registers the parts as children of a component, in `project`."""

    def __init__(self, args: BuildArgs, child: pulumi.ResourceOptions) -> None:
        self._args = args
        self._child = child
        self.log_group = aws.cloudwatch.LogGroup(
            args.name, retention_in_days=args.log_days, opts=child
        )
        self.source_arn = pulumi.Output.concat(args.archive.bucket.arn, "/", args.source.key)

    def _source(self) -> aws.s3.BucketObjectv2:
        args = self._args
        path, digest = source.pack(args.source)
        return aws.s3.BucketObjectv2(
            f"{args.name}-source",
            bucket=args.archive.bucket.bucket,
            key=args.source.key,
            source=pulumi.FileAsset(str(path)),
            source_hash=digest,
            server_side_encryption="AES256",
            opts=pulumi.ResourceOptions(
                parent=self._child.parent,
                # Only what has been deployed: the build must not run ahead of it.
                depends_on=[*args.archive.ready, *args.after],
                # Another path on another machine is no change.
                ignore_changes=["source"],
            ),
        )

    def project(self, policy_document: pulumi.Input[str]) -> aws.codebuild.Project:
        """The project, whose role may do what this document says."""
        args = self._args
        stored = self._source()
        # Its name is fixed by the stack: the role's trust names it first.
        project_arn = args.stack.arn("codebuild", f"project/{args.name}")
        role = aws.iam.Role(
            args.name,
            assume_role_policy=pulumi.Output.all(args.stack.account, project_arn).apply(
                lambda given: build_documents.trust(*given)
            ),
            description=f"What this build may do: {args.does}",
            opts=self._child,
        )
        policy = aws.iam.RolePolicy(
            args.name, role=role.name, policy=policy_document, opts=self._child
        )
        kind, image = _BUILDERS[args.architecture]
        return aws.codebuild.Project(
            args.name,
            name=args.name,
            description=args.does,
            service_role=role.arn,
            build_timeout=args.minutes,
            # One at a time: two would work against each other.
            concurrent_build_limit=1,
            artifacts={"type": "NO_ARTIFACTS"},
            environment={
                "type": kind,
                "image": image,
                "compute_type": "BUILD_GENERAL1_SMALL",
                # Docker inside needs it; the machine is the build's alone and gone after it.
                "privileged_mode": args.has_docker,
                "environment_variables": [
                    {"name": name, "value": value} for name, value in args.environment.items()
                ],
            },
            source={
                "type": "S3",
                "location": pulumi.Output.concat(stored.bucket, "/", args.source.key),
                "buildspec": args.spec,
            },
            logs_config={
                "cloudwatch_logs": {"group_name": self.log_group.name},
                "s3_logs": {"status": "DISABLED"},
            },
            opts=pulumi.ResourceOptions(parent=self._child.parent, depends_on=[policy]),
        )

    def weekly(self, project: aws.codebuild.Project, does: str, when: str) -> Schedule:
        """Start the project by a schedule, an expression of EventBridge's."""
        args = self._args
        return Schedule(
            args.name,
            ScheduleArgs(
                name=args.name,
                does=does,
                expression=when,
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
