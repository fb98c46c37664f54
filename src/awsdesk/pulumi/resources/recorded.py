"""Resources that nothing on a desk uses: one table of types that are only recorded.

Containers run on the desk itself, so nothing uses its network, and nothing is scaled, billed,
monitored or built there. The engine still detects every change, replacement and removal of these,
refuses unknown properties, and returns outputs in AWS's form. The program's own tests check names
and arguments against the provider's schema.

A row: the Pulumi type; its id and its outputs as templates; the properties that AWS changes in
place (`free`), and those that need a new resource (`fixed`). Templates know the inputs, `{name}`
(given, or Pulumi's automatic one), `{account}`, `{region}`, `{id}`, `{hex}` (17 digits, as in an
EC2 id), `{mac}`, `{ipv4}` and `{ipv6}` (addresses for documentation, RFC 5737 and 3849), and
`{private}` (in the containers' network).
"""

import ipaddress
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from awsdesk.pulumi.resources.resource_type import (
    Aws,
    Existing,
    Inputs,
    Made,
    Outputs,
    ResourceType,
    auto_name,
)

_TAGS = "tags tagsAll"
_RULE = (
    "cidrIpv4 cidrIpv6 description fromPort ipProtocol referencedSecurityGroupId securityGroupId"
    " toPort"
)
_EC2 = "arn:aws:ec2:{region}:{account}:"


@dataclass(frozen=True)
class _Recorded:
    token: str
    id: str
    outputs: Mapping[str, str | list[str]] = field(default_factory=dict[str, str | list[str]])
    free: str = ""
    fixed: str = ""
    # The property with its name, and the outputs that count its versions.
    named: str = "name"
    counted: str = ""

    def resource_type(self) -> ResourceType:
        return ResourceType(
            self.token,
            self._create,
            update=self._update if self.free else None,
            replaces=frozenset(self.fixed.split()),
            recorded=frozenset(self.free.split()),
            lacking=self._lacking,
        )

    def _create(self, aws: Aws, logical_name: str, inputs: Inputs) -> Made:
        known = self._known(aws, logical_name, inputs)
        known["id"] = self.id.format_map(known)
        return Made(known["id"], self._filled(known) | dict.fromkeys(self.counted.split(), 1))

    def _lacking(self, aws: Aws, logical_name: str, existing: Existing) -> Outputs:
        if self.outputs.keys() <= existing.outputs.keys():
            return {}
        known = self._known(aws, logical_name, existing.inputs) | {"id": existing.id}
        filled = self._filled(known)
        return {name: filled[name] for name in filled if name not in existing.outputs}

    def _known(self, aws: Aws, logical_name: str, inputs: Inputs) -> dict[str, Any]:
        """Return what the templates know, except the id."""
        return {
            **inputs,
            "name": auto_name(inputs, self.named, logical_name),
            "account": aws.account,
            "region": aws.region,
            "hex": secrets.token_hex(9)[:17],
            "mac": ":".join(("02", *(f"{byte:02x}" for byte in secrets.token_bytes(5)))),
            "ipv4": f"203.0.113.{1 + secrets.randbelow(254)}",
            "ipv6": f"2001:db8:77::{1 + secrets.randbelow(65535):x}",
            "private": _private_address(aws.subnet, logical_name),
        }

    def _filled(self, known: Mapping[str, Any]) -> Outputs:
        return {
            name: [one.format_map(known) for one in given]
            if isinstance(given, list)
            else given.format_map(known)
            for name, given in self.outputs.items()
        }

    def _update(self, _aws: Aws, existing: Existing, _inputs: Inputs) -> Outputs:
        counted = {name: int(existing.outputs[name]) + 1 for name in self.counted.split()}
        return {**existing.outputs, **counted}


def _private_address(subnet: str, logical_name: str) -> str:
    """Return an address at the end of the network, by the number at the end of the name.

    The engine gives addresses from the beginning to containers.
    """
    found = re.search(r"-(\d{1,2})$", logical_name)
    last = ipaddress.ip_network(subnet).broadcast_address
    return str(last - (int(found[1]) if found else 1))


_TABLE = (
    # The network.
    _Recorded(
        "aws:ec2/vpc:Vpc",
        "vpc-{hex}",
        {"arn": _EC2 + "vpc/{id}", "ipv6CidrBlock": "2001:db8:77::/56"},
        _TAGS,
        "assignGeneratedIpv6CidrBlock cidrBlock enableDnsHostnames enableDnsSupport",
    ),
    _Recorded(
        "aws:ec2/subnet:Subnet",
        "subnet-{hex}",
        {"arn": _EC2 + "subnet/{id}"},
        f"{_TAGS} assignIpv6AddressOnCreation ipv6CidrBlock mapPublicIpOnLaunch",
        "availabilityZone cidrBlock vpcId",
    ),
    _Recorded(
        "aws:ec2/internetGateway:InternetGateway",
        "igw-{hex}",
        {"arn": _EC2 + "internet-gateway/{id}"},
        _TAGS,
        "vpcId",
    ),
    _Recorded(
        "aws:ec2/routeTable:RouteTable",
        "rtb-{hex}",
        {"arn": _EC2 + "route-table/{id}"},
        _TAGS,
        "vpcId",
    ),
    _Recorded(
        "aws:ec2/route:Route",
        "r-{routeTableId}{hex}",
        fixed="destinationCidrBlock destinationIpv6CidrBlock gatewayId routeTableId",
    ),
    _Recorded(
        "aws:ec2/routeTableAssociation:RouteTableAssociation",
        "rtbassoc-{hex}",
        fixed="routeTableId subnetId",
    ),
    _Recorded(
        "aws:ec2/securityGroup:SecurityGroup",
        "sg-{hex}",
        {"name": "{name}", "arn": _EC2 + "security-group/{id}"},
        f"{_TAGS} egress",
        "description name vpcId",
    ),
    _Recorded(
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", "sgr-{hex}", {}, _TAGS, _RULE
    ),
    _Recorded(
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule", "sgr-{hex}", {}, _TAGS, _RULE
    ),
    _Recorded(
        "aws:efs/mountTarget:MountTarget",
        "fsmt-{hex}",
        {"dnsName": "{fileSystemId}.efs.{region}.amazonaws.com"},
        "securityGroups",
        "fileSystemId subnetId",
    ),
    # The host.
    _Recorded(
        "aws:ec2/networkInterface:NetworkInterface",
        "eni-{hex}",
        {
            "arn": _EC2 + "network-interface/{id}",
            "macAddress": "{mac}",
            "ipv6Addresses": ["{ipv6}"],
            "privateIp": "{private}",
        },
        f"{_TAGS} ipv6AddressCount",
        "description securityGroups subnetId",
    ),
    _Recorded(
        "aws:ec2/eip:Eip",
        "eipalloc-{hex}",
        {"publicIp": "{ipv4}", "allocationId": "{id}"},
        f"{_TAGS} networkInterface",
        "domain",
    ),
    _Recorded(
        "aws:ec2/launchTemplate:LaunchTemplate",
        "lt-{hex}",
        {"name": "{name}", "arn": _EC2 + "launch-template/{id}"},
        f"{_TAGS} blockDeviceMappings creditSpecification iamInstanceProfile imageId"
        " instanceMarketOptions instanceType metadataOptions networkInterfaces tagSpecifications"
        " updateDefaultVersion userData",
        "name",
        counted="latestVersion defaultVersion",
    ),
    # The images: commands of the program push them to ECR, which the desk does not use.
    _Recorded(
        "aws:ecr/repository:Repository",
        "{name}",
        {
            "name": "{name}",
            "arn": "arn:aws:ecr:{region}:{account}:repository/{name}",
            "repositoryUrl": "{account}.dkr.ecr.{region}.amazonaws.com/{name}",
            "registryId": "{account}",
        },
        f"{_TAGS} forceDelete imageScanningConfiguration imageTagMutability",
        "name",
    ),
    _Recorded(
        "aws:ecr/lifecyclePolicy:LifecyclePolicy", "{repository}", {}, "policy", "repository"
    ),
    _Recorded(
        "aws:codebuild/project:Project",
        "{name}",
        {"arn": "arn:aws:codebuild:{region}:{account}:project/{name}"},
        f"{_TAGS} artifacts buildTimeout concurrentBuildLimit description environment logsConfig"
        " serviceRole source",
        "name",
    ),
    _Recorded(
        "command:local:Command",
        "{name}",
        {"stdout": "", "stderr": ""},
        "create environment",
        "triggers",
        named="",
    ),
    # Backup, budget and monitoring.
    _Recorded(
        "aws:backup/vault:Vault",
        "{name}",
        {"name": "{name}", "arn": "arn:aws:backup:{region}:{account}:backup-vault:{name}"},
        _TAGS,
        "name",
    ),
    _Recorded(
        "aws:backup/plan:Plan",
        "plan-{hex}",
        {"name": "{name}", "arn": "arn:aws:backup:{region}:{account}:backup-plan:{id}"},
        f"{_TAGS} rules",
        "name",
    ),
    _Recorded(
        "aws:backup/selection:Selection",
        "selection-{hex}",
        {"name": "{name}"},
        fixed="iamRoleArn name planId resources",
    ),
    _Recorded(
        "aws:budgets/budget:Budget",
        "{account}:{name}",
        {"name": "{name}"},
        f"{_TAGS} budgetType limitAmount limitUnit",
        "name notifications timeUnit",
    ),
    _Recorded(
        "aws:cloudwatch/metricAlarm:MetricAlarm",
        "{name}",
        {"name": "{name}", "arn": "arn:aws:cloudwatch:{region}:{account}:alarm:{name}"},
        f"{_TAGS} actionsEnabled alarmActions alarmDescription comparisonOperator"
        " datapointsToAlarm dimensions evaluationPeriods metricName metricQueries namespace"
        " okActions period statistic threshold treatMissingData",
        "name",
    ),
    _Recorded(
        "aws:cloudwatch/dashboard:Dashboard",
        "{name}",
        {"dashboardArn": "arn:aws:cloudwatch::{account}:dashboard/{name}"},
        "dashboardBody",
        "dashboardName",
        named="dashboardName",
    ),
    _Recorded(
        "aws:cloudwatch/logMetricFilter:LogMetricFilter",
        "{name}",
        {"name": "{name}"},
        "metricTransformation pattern",
        "logGroupName name",
    ),
    _Recorded(
        "aws:cloudwatch/eventRule:EventRule",
        "{name}",
        {"name": "{name}", "arn": "arn:aws:events:{region}:{account}:rule/{name}"},
        f"{_TAGS} description eventPattern state",
        "name",
    ),
    _Recorded(
        "aws:cloudwatch/eventTarget:EventTarget",
        "{rule}-{name}",
        {"targetId": "{name}"},
        "arn inputTransformer",
        "rule targetId",
        named="targetId",
    ),
)

TYPES = tuple(row.resource_type() for row in _TABLE)
