"""The table of Pulumi resource types that the desk knows: one module an AWS service that is played,
and `recorded` for what is only kept on record.

`find` is how the engine asks.  A type that is missing here is an error that says so: the desk
runs what the program deploys, so a resource without a maker would be a hole nobody sees.
"""

from awsdesk.pulumi.resources import (
    acm,
    cloudfront,
    ebs,
    ecs,
    efs,
    iam,
    logs,
    recorded,
    route53,
    s3,
    scheduler,
    ses,
    sns,
    sqs,
    ssm,
)
from awsdesk.pulumi.resources.resource_type import ResourceType

_MODULES = (
    acm,
    cloudfront,
    ebs,
    ecs,
    efs,
    iam,
    logs,
    recorded,
    route53,
    s3,
    scheduler,
    ses,
    sns,
    sqs,
    ssm,
)

TYPES: dict[str, ResourceType] = {
    known.token: known for module in _MODULES for known in module.TYPES
}


class UnknownResourceTypeError(Exception):
    """The program asks for a resource type that the desk has no maker for."""


def find(token: str) -> ResourceType:
    """The resource type with the Pulumi type `token`.

    Raises:
        UnknownResourceTypeError: saying where to add it.
    """
    known = TYPES.get(token)
    if known is None:
        raise UnknownResourceTypeError(
            f"the desk cannot make a {token}: add it to src/awsdesk/pulumi/resources"
        )
    return known
