"""What every part needs to know about the stack: its name, account, region and provider."""

from dataclasses import dataclass, replace

import pulumi_aws as aws

import pulumi
from postal_plexus.config.names import part_name


@dataclass(frozen=True)
class Stack:
    """`profile`: the credentials' profile that Pulumi was given, if any.

    `host`: the number of the host whose parts get the names; those of host 1 have none in them, as
    in a stack of one host.
    """

    name: str
    account: pulumi.Input[str]
    region: str
    provider: aws.Provider
    profile: str | None = None
    host: int = 1

    def named(self, part: str) -> str:
        """Return the name of a part of this stack; two stacks in one account never share one."""
        return part_name(self.name, self.of_host(part))

    def of_host(self, part: str) -> str:
        """Return a part's name among those of all hosts of this stack."""
        return part if self.host == 1 else f"{part}-{self.host}"

    def on_host(self, number: int) -> "Stack":
        """Return the stack as the parts of that host know it."""
        return replace(self, host=number)

    def arn(self, service: str, resource: str) -> pulumi.Output[str]:
        """Return the ARN of a resource in this stack's account and region."""
        return pulumi.Output.concat(
            f"arn:aws:{service}:{self.region}:", self.account, f":{resource}"
        )

    @property
    def options(self) -> pulumi.ResourceOptions:
        """Return the options of a component, from which its children get the provider."""
        return pulumi.ResourceOptions(providers={"aws": self.provider})
