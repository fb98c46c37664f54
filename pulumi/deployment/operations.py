"""What an operator's tools need of a stack: what its parts are called, where they find it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi_aws as aws

import pulumi
from deployment.stack import Stack
from postal_plexus.config.names import system_parameter


@dataclass(frozen=True)
class OperationsArgs:
    """`parts`: names by what they are; of one stack they fit into one parameter (4 KB)."""

    stack: Stack
    parts: Mapping[str, pulumi.Input[Any]]


class Operations(pulumi.ComponentResource):
    """The parameter by which `plexus` finds a stack without Pulumi; encrypted, as all are."""

    def __init__(
        self, name: str, args: OperationsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("postal-plexus:index:Operations", name, None, opts)
        parameter = aws.ssm.Parameter(
            f"{args.stack.name}-system",
            name=system_parameter(args.stack.name),
            description="What the parts of this stack are called, for its operators' tools",
            type="SecureString",
            value=pulumi.Output.json_dumps(args.parts),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"parameter": parameter.name})
