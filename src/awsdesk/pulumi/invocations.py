"""Answer the program's lookups in its account from the emulator."""

from collections.abc import Callable, Mapping
from typing import Any

from awsdesk.pulumi.resources.resource_type import Aws

Arguments = Mapping[str, Any]
Answer = dict[str, Any]


class UnknownInvocationError(Exception):
    """The program looks up something that the desk does not know."""


class LookupFailedError(Exception):
    """The lookup finds nothing; the program may handle that."""


def _caller_identity(aws: Aws, _arguments: Arguments) -> Answer:
    answer = aws.client("sts").get_caller_identity()
    return {
        "accountId": answer["Account"],
        "arn": answer["Arn"],
        "userId": answer["UserId"],
        "id": answer["Account"],
    }


def _region(aws: Aws, _arguments: Arguments) -> Answer:
    return {
        "name": aws.region,
        "region": aws.region,
        "id": aws.region,
        "endpoint": "",
        "description": "",
    }


def _partition(_aws: Aws, _arguments: Arguments) -> Answer:
    return {
        "partition": "aws",
        "dnsSuffix": "amazonaws.com",
        "reverseDnsPrefix": "com.amazonaws",
        "id": "aws",
    }


def _active_rule_set(aws: Aws, _arguments: Arguments) -> Answer:
    answer = aws.client("ses").describe_active_receipt_rule_set()
    name = answer.get("Metadata", {}).get("Name")
    if not name:
        # As in Terraform's provider, this lookup fails if no rule set is active.
        raise LookupFailedError("empty result: no active receipt rule set")
    return {
        "ruleSetName": name,
        "id": name,
        "arn": aws.arn("ses", f"receipt-rule-set/{name}"),
        "region": aws.region,
    }


def _offerings(aws: Aws, arguments: Arguments) -> Answer:
    answer = aws.client("ec2").describe_availability_zones()
    # In the emulator, every zone offers every instance type.
    zones = [str(zone["ZoneName"]) for zone in answer["AvailabilityZones"]]
    kinds = [value for given in arguments["filters"] for value in given["values"]]
    return {
        "id": aws.region,
        "region": aws.region,
        "locations": zones,
        "locationTypes": ["availability-zone"] * len(zones),
        "instanceTypes": kinds * len(zones),
    }


def _quota(_aws: Aws, arguments: Arguments) -> Answer:
    # The emulator has no quotas.
    return {
        "id": arguments["quotaCode"],
        "quotaCode": arguments["quotaCode"],
        "serviceCode": arguments["serviceCode"],
        "value": 1000.0,
    }


def _certificate(aws: Aws, arguments: Arguments) -> Answer:
    """Return the newest certificate for a domain in one of the given states."""
    region = arguments.get("region") or aws.region
    listed = aws.client("acm", region).list_certificates(
        CertificateStatuses=arguments.get("statuses") or ["ISSUED"]
    )
    found = [
        entry
        for entry in listed["CertificateSummaryList"]
        if entry["DomainName"] == arguments["domain"]
    ]
    if not found:
        raise LookupFailedError(f"no ACM Certificate matching domain ({arguments['domain']})")
    arn = found[-1]["CertificateArn"]
    return {"arn": arn, "id": arn, "domain": arguments["domain"], "status": "ISSUED"}


_INVOCATIONS: dict[str, Callable[[Aws, Arguments], Answer]] = {
    "aws:index/getCallerIdentity:getCallerIdentity": _caller_identity,
    "aws:index/getRegion:getRegion": _region,
    "aws:index/getPartition:getPartition": _partition,
    "aws:acm/getCertificate:getCertificate": _certificate,
    "aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings": _offerings,
    "aws:servicequotas/getServiceQuota:getServiceQuota": _quota,
    "aws:ses/getActiveReceiptRuleSet:getActiveReceiptRuleSet": _active_rule_set,
}


def look_up(aws: Aws, token: str, arguments: Arguments) -> Answer | str:
    """Return the answer to the lookup `token`, or a text like the provider's if it finds nothing.

    Raises:
        UnknownInvocationError: for a lookup that is missing here.
    """
    known = _INVOCATIONS.get(token)
    if known is None:
        raise UnknownInvocationError(
            f"the desk has no answer for {token}: add it to {__name__.replace('.', '/')}.py"
        )
    try:
        return known(aws, arguments)
    except LookupFailedError as nothing:
        return str(nothing)
