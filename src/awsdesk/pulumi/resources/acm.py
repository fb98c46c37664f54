"""ACM: certificates of the clients' sites. The emulator issues them at once."""

from typing import Any

from awsdesk.pulumi.resources.resource_type import (
    Aws,
    Existing,
    Inputs,
    Made,
    Outputs,
    ResourceType,
    objects,
    tag_list,
)


def _create(aws: Aws, _name: str, inputs: Inputs) -> Made:
    region = inputs.get("region") or aws.region
    acm = aws.client("acm", region)
    arn = str(
        acm.request_certificate(
            DomainName=inputs["domainName"],
            SubjectAlternativeNames=inputs.get("subjectAlternativeNames") or [],
            ValidationMethod=inputs["validationMethod"],
            Tags=tag_list(inputs),
        )["CertificateArn"]
    )
    described = acm.describe_certificate(CertificateArn=arn)["Certificate"]
    return Made(arn, {"arn": arn, "domainValidationOptions": _validation(described)})


def _validation(described: dict[str, Any]) -> list[dict[str, str]]:
    return [
        {
            "domainName": option["DomainName"],
            "resourceRecordName": option["ResourceRecord"]["Name"],
            "resourceRecordType": option["ResourceRecord"]["Type"],
            "resourceRecordValue": option["ResourceRecord"]["Value"],
        }
        for option in objects(described, "DomainValidationOptions")
    ]


def _update(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    region = inputs.get("region") or aws.region
    aws.client("acm", region).add_tags_to_certificate(
        CertificateArn=existing.id, Tags=tag_list(inputs)
    )
    return dict(existing.outputs)


def _delete(aws: Aws, existing: Existing) -> None:
    region = existing.inputs.get("region") or aws.region
    aws.client("acm", region).delete_certificate(CertificateArn=existing.id)


TYPES = (
    ResourceType(
        "aws:acm/certificate:Certificate",
        _create,
        _delete,
        _update,
        properties=frozenset({"tags", "tagsAll"}),
        replaces=frozenset({"domainName", "region", "subjectAlternativeNames", "validationMethod"}),
    ),
)
