"""The Pulumi resource types that the desk knows: a module per emulated service, and `recorded`.

The engine calls `find`.  A type that is missing here raises an error: the desk runs what the
program deploys, so a resource that is silently ignored would be a gap that nobody notices.
"""

from awsdesk.pulumi.resources import (
    acm,
    autoscaling,
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
    autoscaling,
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
    """The program uses a resource type that the desk does not know."""


def find(token: str) -> ResourceType:
    """Return the resource type with the Pulumi type `token`.

    Raises:
        UnknownResourceTypeError: there is none; the text says where to add it.
    """
    known = TYPES.get(token)
    if known is None:
        raise UnknownResourceTypeError(
            f"the desk cannot make a {token}: add it to src/awsdesk/pulumi/resources"
        )
    return known
