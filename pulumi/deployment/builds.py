"""CodeBuild projects: a stored source, the project's own role, and the commands.

They run our Python code that does not need the mail host; this costs cents, and none of its memory.
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
    """Return the build's commands, run in order in one shell until one fails."""
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
                # Stored only after the deployment, so that a build does not use undeployed code.
                depends_on=[*args.archive.ready, *args.after],
                # A different path on another machine is not a change.
                ignore_changes=["source"],
            ),
        )

    def project(self, policy_document: pulumi.Input[str]) -> aws.codebuild.Project:
        """Create the project, whose role has the permissions in this document."""
        args = self._args
        stored = self._source()
        # Its name derives from the stack, because the role's trust policy contains it earlier.
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
            # One build at a time, because two would interfere.
            concurrent_build_limit=1,
            artifacts={"type": "NO_ARTIFACTS"},
            environment={
                "type": kind,
                "image": image,
                "compute_type": "BUILD_GENERAL1_SMALL",
                # Docker inside the build needs it; the machine is used only for this build.
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
        """Start the project on a schedule, in EventBridge's syntax."""
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
