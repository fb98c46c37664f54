"""The weekly `plexus doctor`: a build that checks the stack and mails what is not in order.

It runs in CodeBuild and not on the mail host, which may itself be broken, and whose memory is for
mail. An event reports a failed build (`events.failed_doctor`), and the schedule's alarm one that
does not start. So a Monday without mail means that everything is in order.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from deployment import build_documents, source
from deployment.archive import Archive
from deployment.builds import Build, BuildArgs, build_spec
from deployment.stack import Stack
from postal_plexus.config.operator_policy import examination

# Monday morning, UTC, after the patches of Sunday night.
_WHEN = "cron(0 6 ? * MON *)"
_TIMEOUT_MINUTES = 15


def spec(stack: str) -> str:
    """Return the build's commands; boto3 is their only requirement."""
    return build_spec(
        ["python3 -m pip install --quiet --require-hashes -r requirements/patch.txt"],
        [f"PYTHONPATH=src python3 -m postal_plexus.operations.weekly {stack}"],
    )


@dataclass(frozen=True)
class DoctorArgs:
    """`parts`: the names of the stack's parts, as in the operators' parameter."""

    stack: Stack
    architecture: str
    log_days: int
    archive: Archive
    parts: Mapping[str, pulumi.Input[Any]]

    @property
    def name(self) -> str:
        """The name of the parts here, or its prefix."""
        return self.stack.named("doctor")


class Doctor(pulumi.ComponentResource):
    """The source, the project and its schedule."""

    def __init__(
        self, name: str, args: DoctorArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("postal-plexus:index:Doctor", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        does = "Looks at the stack once a week, and mails what is not in order"
        build = Build(
            BuildArgs(
                stack=args.stack,
                name=args.name,
                does=does,
                source=source.DOCTOR,
                spec=spec(args.stack.name),
                archive=args.archive,
                architecture=args.architecture,
                log_days=args.log_days,
                minutes=_TIMEOUT_MINUTES,
            ),
            child,
        )
        project = build.project(
            pulumi.Output.all(
                account=args.stack.account,
                log_group_arn=build.log_group.arn,
                source_arn=build.source_arn,
                parts=dict(args.parts),
            ).apply(
                lambda given: build_documents.examination(
                    given["log_group_arn"],
                    given["source_arn"],
                    examination(args.stack.name, given["account"], given["parts"]),
                )
            )
        )
        self.schedule = build.weekly(project, does, _WHEN)
        self.register_outputs({"project": project.name})
