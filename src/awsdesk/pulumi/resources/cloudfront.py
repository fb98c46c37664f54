"""CloudFront: the clients' sites. Its writes name the version they change, by its ETag."""

import secrets
from typing import Any

from awsdesk.pulumi.resources.resource_type import (
    Aws,
    Existing,
    Inputs,
    Made,
    Outputs,
    ResourceType,
    auto_name,
    objects,
    tag_list,
)


def _items(values: list[Any]) -> dict[str, Any]:
    """Return CloudFront's form of a list."""
    return {"Quantity": len(values), **({"Items": values} if values else {})}


def _access_config(name: str, inputs: Inputs) -> dict[str, str]:
    return {
        "Name": name,
        "OriginAccessControlOriginType": inputs["originAccessControlOriginType"],
        "SigningBehavior": inputs["signingBehavior"],
        "SigningProtocol": inputs["signingProtocol"],
    }


def _create_access(aws: Aws, logical_name: str, inputs: Inputs) -> Made:
    name = auto_name(inputs, "name", logical_name)
    made = aws.client("cloudfront").create_origin_access_control(
        OriginAccessControlConfig=_access_config(name, inputs)
    )
    identifier = str(made["OriginAccessControl"]["Id"])
    return Made(identifier, {"name": name, "etag": made["ETag"]})


def _delete_access(aws: Aws, existing: Existing) -> None:
    cloudfront = aws.client("cloudfront")
    etag = cloudfront.get_origin_access_control(Id=existing.id)["ETag"]
    cloudfront.delete_origin_access_control(Id=existing.id, IfMatch=etag)


def _function_arguments(name: str, inputs: Inputs) -> dict[str, Any]:
    return {
        "Name": name,
        "FunctionConfig": {"Comment": inputs.get("comment", ""), "Runtime": inputs["runtime"]},
        "FunctionCode": str(inputs["code"]).encode(),
    }


def _publish(aws: Aws, name: str, inputs: Inputs, etag: str) -> None:
    if inputs.get("publish", True):
        aws.client("cloudfront").publish_function(Name=name, IfMatch=etag)


def _create_function(aws: Aws, logical_name: str, inputs: Inputs) -> Made:
    name = auto_name(inputs, "name", logical_name)
    made = aws.client("cloudfront").create_function(**_function_arguments(name, inputs))
    _publish(aws, name, inputs, made["ETag"])
    arn = made["FunctionSummary"]["FunctionMetadata"]["FunctionARN"]
    return Made(name, {"name": name, "arn": arn})


def _update_function(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    cloudfront = aws.client("cloudfront")
    etag = cloudfront.describe_function(Name=existing.id)["ETag"]
    made = cloudfront.update_function(IfMatch=etag, **_function_arguments(existing.id, inputs))
    _publish(aws, existing.id, inputs, made["ETag"])
    return dict(existing.outputs)


def _delete_function(aws: Aws, existing: Existing) -> None:
    cloudfront = aws.client("cloudfront")
    etag = cloudfront.describe_function(Name=existing.id)["ETag"]
    cloudfront.delete_function(Name=existing.id, IfMatch=etag)


def _behaviour(given: dict[str, Any]) -> dict[str, Any]:
    methods = _items(given["allowedMethods"])
    methods["CachedMethods"] = _items(given["cachedMethods"])
    associations = [
        {"EventType": entry["eventType"], "FunctionARN": entry["functionArn"]}
        for entry in objects(given, "functionAssociations")
    ]
    return {
        "TargetOriginId": given["targetOriginId"],
        "ViewerProtocolPolicy": given["viewerProtocolPolicy"],
        "AllowedMethods": methods,
        "Compress": given.get("compress", False),
        "CachePolicyId": given["cachePolicyId"],
        "ResponseHeadersPolicyId": given["responseHeadersPolicyId"],
        "FunctionAssociations": _items(associations),
    }


def _origin(given: dict[str, Any]) -> dict[str, Any]:
    return {
        "Id": given["originId"],
        "DomainName": given["domainName"],
        "OriginPath": given.get("originPath", ""),
        "OriginAccessControlId": given.get("originAccessControlId", ""),
        "S3OriginConfig": {"OriginAccessIdentity": ""},
    }


def _config(inputs: Inputs, reference: str) -> dict[str, Any]:
    certificate: dict[str, str] = inputs["viewerCertificate"]
    restriction: dict[str, Any] = inputs["restrictions"]["geoRestriction"]
    return {
        "CallerReference": reference,
        "Comment": inputs.get("comment", ""),
        "Enabled": inputs["enabled"],
        "IsIPV6Enabled": inputs.get("isIpv6Enabled", False),
        "HttpVersion": inputs.get("httpVersion", "http2"),
        "PriceClass": inputs.get("priceClass", "PriceClass_All"),
        "Aliases": _items(inputs.get("aliases") or []),
        "Origins": _items([_origin(given) for given in objects(inputs, "origins")]),
        "DefaultCacheBehavior": _behaviour(inputs["defaultCacheBehavior"]),
        "Restrictions": {
            "GeoRestriction": {"RestrictionType": restriction["restrictionType"], "Quantity": 0}
        },
        "ViewerCertificate": {
            "ACMCertificateArn": certificate["acmCertificateArn"],
            "SSLSupportMethod": certificate["sslSupportMethod"],
            "MinimumProtocolVersion": certificate["minimumProtocolVersion"],
        },
    }


def _create_distribution(aws: Aws, _name: str, inputs: Inputs) -> Made:
    reference = secrets.token_hex(8)
    made = aws.client("cloudfront").create_distribution_with_tags(
        DistributionConfigWithTags={
            "DistributionConfig": _config(inputs, reference),
            "Tags": {"Items": tag_list(inputs)},
        }
    )["Distribution"]
    return Made(
        made["Id"],
        {"arn": made["ARN"], "domainName": made["DomainName"], "callerReference": reference},
    )


def _update_distribution(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    cloudfront = aws.client("cloudfront")
    etag = cloudfront.get_distribution_config(Id=existing.id)["ETag"]
    cloudfront.update_distribution(
        Id=existing.id,
        IfMatch=etag,
        DistributionConfig=_config(inputs, existing.outputs["callerReference"]),
    )
    return dict(existing.outputs)


def _delete_distribution(aws: Aws, existing: Existing) -> None:
    """Disable and delete a distribution; CloudFront deletes only disabled ones."""
    cloudfront = aws.client("cloudfront")
    current = cloudfront.get_distribution_config(Id=existing.id)
    disabled = {**current["DistributionConfig"], "Enabled": False}
    etag = cloudfront.update_distribution(
        Id=existing.id, IfMatch=current["ETag"], DistributionConfig=disabled
    )["ETag"]
    cloudfront.delete_distribution(Id=existing.id, IfMatch=etag)


TYPES = (
    ResourceType(
        "aws:cloudfront/originAccessControl:OriginAccessControl",
        _create_access,
        _delete_access,
        replaces=frozenset(
            {"name", "originAccessControlOriginType", "signingBehavior", "signingProtocol"}
        ),
    ),
    ResourceType(
        "aws:cloudfront/function:Function",
        _create_function,
        _delete_function,
        _update_function,
        properties=frozenset({"code", "comment", "publish", "runtime"}),
        replaces=frozenset({"name"}),
    ),
    ResourceType(
        "aws:cloudfront/distribution:Distribution",
        _create_distribution,
        _delete_distribution,
        _update_distribution,
        properties=frozenset(
            {
                "aliases",
                "comment",
                "defaultCacheBehavior",
                "enabled",
                "httpVersion",
                "isIpv6Enabled",
                "origins",
                "priceClass",
                "restrictions",
                "viewerCertificate",
            }
        ),
        recorded=frozenset({"tags", "tagsAll"}),
    ),
)
