"""What operators' commands need to know about a stack: the names of its parts, in a known place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi_aws as aws

import pulumi
from deployment.stack import Stack
from postal_plexus.config.names import system_parameter


@dataclass(frozen=True)
class OperationsArgs:
    """`parts`: names by purpose, of the stack and host 1; `others`: those of the other hosts."""

    stack: Stack
    parts: Mapping[str, pulumi.Input[Any]]
    others: Sequence[Mapping[str, pulumi.Input[Any]]] = ()


class Operations(pulumi.ComponentResource):
    """The parameters with which `plexus` finds a stack without Pulumi; encrypted, as all are.

    Each host has its own, because a parameter that costs nothing holds 4 KB.
    """

    def __init__(
        self, name: str, args: OperationsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("postal-plexus:index:Operations", name, None, opts)
        made = [
            aws.ssm.Parameter(
                f"{args.stack.name}-{args.stack.on_host(host).of_host('system')}",
                name=system_parameter(args.stack.name, host),
                description="What the parts of this stack are called, for its operators' tools",
                type="SecureString",
                value=pulumi.Output.json_dumps(parts),
                opts=pulumi.ResourceOptions(parent=self),
            )
            for host, parts in enumerate([args.parts, *args.others], 1)
        ]
        self.register_outputs({"parameter": made[0].name})
