"""Route 53: the domains' zones and records."""

import secrets
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


def _create_zone(aws: Aws, _name: str, inputs: Inputs) -> Made:
    answer = aws.client("route53").create_hosted_zone(
        Name=inputs["name"],
        CallerReference=secrets.token_hex(16),
        HostedZoneConfig={"Comment": inputs.get("comment", ""), "PrivateZone": False},
    )
    zone_id = str(answer["HostedZone"]["Id"]).rsplit("/", 1)[-1]
    _tag_zone(aws, zone_id, inputs)
    servers: list[str] = answer["DelegationSet"]["NameServers"]
    return Made(
        zone_id,
        {
            "zoneId": zone_id,
            "arn": f"arn:aws:route53:::hostedzone/{zone_id}",
            "nameServers": sorted(servers),
            "primaryNameServer": servers[0],
        },
    )


def _tag_zone(aws: Aws, zone_id: str, inputs: Inputs) -> None:
    tags = tag_list(inputs)
    if tags:
        aws.client("route53").change_tags_for_resource(
            ResourceType="hostedzone", ResourceId=zone_id, AddTags=tags
        )


def _update_zone(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    aws.client("route53").update_hosted_zone_comment(
        Id=existing.id, Comment=inputs.get("comment", "")
    )
    _tag_zone(aws, existing.id, inputs)
    return dict(existing.outputs)


def _delete_zone(aws: Aws, existing: Existing) -> None:
    aws.client("route53").delete_hosted_zone(Id=existing.id)


def _quoted(record_type: str, value: str) -> str:
    """Quote TXT strings for Route 53, at most 255 octets each (RFC 1035 3.3.14)."""
    if record_type != "TXT" or value.startswith('"'):
        return value
    parts = value.split('""')  # Terraform's mark where a long string is divided
    return " ".join(f'"{part}"' for part in parts)


def _change(aws: Aws, action: str, inputs: Inputs) -> None:
    record_type = inputs["type"]
    record: dict[str, Any] = {"Name": inputs["name"], "Type": record_type}
    if inputs.get("aliases"):
        (alias,) = objects(inputs, "aliases")
        record["AliasTarget"] = {
            "DNSName": alias["name"],
            "HostedZoneId": alias["zoneId"],
            "EvaluateTargetHealth": alias["evaluateTargetHealth"],
        }
    else:
        record["TTL"] = inputs["ttl"]
        record["ResourceRecords"] = [
            {"Value": _quoted(record_type, value)} for value in inputs["records"]
        ]
    aws.client("route53").change_resource_record_sets(
        HostedZoneId=inputs["zoneId"],
        ChangeBatch={"Changes": [{"Action": action, "ResourceRecordSet": record}]},
    )


def _create_record(aws: Aws, _name: str, inputs: Inputs) -> Made:
    _change(aws, "UPSERT" if inputs.get("allowOverwrite") else "CREATE", inputs)
    return Made(f"{inputs['zoneId']}_{inputs['name']}_{inputs['type']}", {"fqdn": inputs["name"]})


def _update_record(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    _change(aws, "UPSERT", inputs)
    return dict(existing.outputs)


def _delete_record(aws: Aws, existing: Existing) -> None:
    _change(aws, "DELETE", existing.inputs)


TYPES = (
    ResourceType(
        "aws:route53/zone:Zone",
        _create_zone,
        _delete_zone,
        _update_zone,
        properties=frozenset({"comment", "tags", "tagsAll"}),
        replaces=frozenset({"name"}),
        recorded=frozenset({"forceDestroy"}),
    ),
    ResourceType(
        "aws:route53/record:Record",
        _create_record,
        _delete_record,
        _update_record,
        properties=frozenset({"aliases", "allowOverwrite", "records", "ttl"}),
        replaces=frozenset({"name", "type", "zoneId"}),
    ),
)
