"""What operators' commands need to know about a stack: the names of its parts, in a known place."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi_aws as aws

import pulumi
from deployment.stack import Stack
from postal_plexus.config.names import system_parameter


@dataclass(frozen=True)
class OperationsArgs:
    """`parts`: names by purpose; those of a stack fit into one parameter (4 KB for one host)."""

    stack: Stack
    parts: Mapping[str, pulumi.Input[Any]]


class Operations(pulumi.ComponentResource):
    """The parameter with which `plexus` finds a stack without Pulumi; encrypted, as all are."""

    def __init__(
        self, name: str, args: OperationsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("postal-plexus:index:Operations", name, None, opts)
        parameter = aws.ssm.Parameter(
            f"{args.stack.name}-system",
            name=system_parameter(args.stack.name),
            description="What the parts of this stack are called, for its operators' tools",
            type="SecureString",
            # Up to 8 KB, which costs $0.05 a month, where several hosts need more than 4 KB.
            tier="Intelligent-Tiering" if "other_hosts" in args.parts else None,
            value=pulumi.Output.json_dumps(args.parts),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"parameter": parameter.name})
