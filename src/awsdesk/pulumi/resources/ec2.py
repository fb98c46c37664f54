"""EC2: the network, the fixed address, the state volume, the launch template.

Nothing on the desk routes through these: containers run on the desk itself.  They are made so
that what the program says of them is checked by something that knows EC2's calls.
"""

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
    pascal,
    tag_list,
)


def _tag(aws: Aws, resource_id: str, inputs: Inputs) -> None:
    tags = tag_list(inputs)
    if tags:
        aws.client("ec2").create_tags(Resources=[resource_id], Tags=tags)


def _retag(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    _tag(aws, existing.id, inputs)
    return dict(existing.outputs)


def _create_vpc(aws: Aws, _name: str, inputs: Inputs) -> Made:
    ec2 = aws.client("ec2")
    vpc = ec2.create_vpc(
        CidrBlock=inputs["cidrBlock"],
        AmazonProvidedIpv6CidrBlock=inputs.get("assignGeneratedIpv6CidrBlock", False),
    )["Vpc"]
    identifier = str(vpc["VpcId"])
    for name in ("enableDnsSupport", "enableDnsHostnames"):
        if inputs.get(name) is not None:
            ec2.modify_vpc_attribute(
                VpcId=identifier, **{name[:1].upper() + name[1:]: {"Value": inputs[name]}}
            )
    _tag(aws, identifier, inputs)
    outputs: Outputs = {"arn": aws.arn("ec2", f"vpc/{identifier}")}
    if inputs.get("assignGeneratedIpv6CidrBlock"):
        blocks: list[dict[str, str]] = vpc.get("Ipv6CidrBlockAssociationSet") or []
        # The emulator may give none; the documentation's prefix stands in for AWS's.
        outputs["ipv6CidrBlock"] = blocks[0]["Ipv6CidrBlock"] if blocks else "2001:db8:77::/56"
    return Made(identifier, outputs)


def _delete_vpc(aws: Aws, existing: Existing) -> None:
    aws.client("ec2").delete_vpc(VpcId=existing.id)


def _create_subnet(aws: Aws, _name: str, inputs: Inputs) -> Made:
    subnet = aws.client("ec2").create_subnet(
        VpcId=inputs["vpcId"],
        CidrBlock=inputs["cidrBlock"],
        AvailabilityZone=inputs["availabilityZone"],
    )["Subnet"]
    identifier = str(subnet["SubnetId"])
    _tag(aws, identifier, inputs)
    return Made(
        identifier,
        {
            "arn": aws.arn("ec2", f"subnet/{identifier}"),
            "availabilityZone": subnet["AvailabilityZone"],
        },
    )


def _delete_subnet(aws: Aws, existing: Existing) -> None:
    aws.client("ec2").delete_subnet(SubnetId=existing.id)


def _create_gateway(aws: Aws, _name: str, inputs: Inputs) -> Made:
    ec2 = aws.client("ec2")
    identifier = str(ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"])
    ec2.attach_internet_gateway(InternetGatewayId=identifier, VpcId=inputs["vpcId"])
    _tag(aws, identifier, inputs)
    return Made(identifier, {"arn": aws.arn("ec2", f"internet-gateway/{identifier}")})


def _delete_gateway(aws: Aws, existing: Existing) -> None:
    ec2 = aws.client("ec2")
    ec2.detach_internet_gateway(InternetGatewayId=existing.id, VpcId=existing.inputs["vpcId"])
    ec2.delete_internet_gateway(InternetGatewayId=existing.id)


def _create_route_table(aws: Aws, _name: str, inputs: Inputs) -> Made:
    made = aws.client("ec2").create_route_table(VpcId=inputs["vpcId"])["RouteTable"]
    identifier = str(made["RouteTableId"])
    _tag(aws, identifier, inputs)
    return Made(identifier, {"arn": aws.arn("ec2", f"route-table/{identifier}")})


def _delete_route_table(aws: Aws, existing: Existing) -> None:
    aws.client("ec2").delete_route_table(RouteTableId=existing.id)


def _destination(inputs: Inputs) -> dict[str, str]:
    if inputs.get("destinationIpv6CidrBlock"):
        return {"DestinationIpv6CidrBlock": inputs["destinationIpv6CidrBlock"]}
    return {"DestinationCidrBlock": inputs["destinationCidrBlock"]}


def _create_route(aws: Aws, _name: str, inputs: Inputs) -> Made:
    destination = _destination(inputs)
    aws.client("ec2").create_route(
        RouteTableId=inputs["routeTableId"], GatewayId=inputs["gatewayId"], **destination
    )
    return Made(f"{inputs['routeTableId']}_{next(iter(destination.values()))}")


def _delete_route(aws: Aws, existing: Existing) -> None:
    aws.client("ec2").delete_route(
        RouteTableId=existing.inputs["routeTableId"], **_destination(existing.inputs)
    )


def _associate(aws: Aws, _name: str, inputs: Inputs) -> Made:
    made = aws.client("ec2").associate_route_table(
        RouteTableId=inputs["routeTableId"], SubnetId=inputs["subnetId"]
    )
    return Made(made["AssociationId"])


def _disassociate(aws: Aws, existing: Existing) -> None:
    aws.client("ec2").disassociate_route_table(AssociationId=existing.id)


def _create_group(aws: Aws, logical_name: str, inputs: Inputs) -> Made:
    name = auto_name(inputs, "name", logical_name)
    ec2 = aws.client("ec2")
    identifier = str(
        ec2.create_security_group(
            GroupName=name, Description=inputs["description"], VpcId=inputs["vpcId"]
        )["GroupId"]
    )
    # As Terraform's provider: AWS's own "everything out" goes.
    ec2.revoke_security_group_egress(
        GroupId=identifier,
        IpPermissions=[{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}],
    )
    _tag(aws, identifier, inputs)
    return Made(identifier, {"name": name, "arn": aws.arn("ec2", f"security-group/{identifier}")})


def _delete_group(aws: Aws, existing: Existing) -> None:
    aws.client("ec2").delete_security_group(GroupId=existing.id)


def _permission(inputs: Inputs) -> dict[str, Any]:
    permission: dict[str, Any] = {
        "IpProtocol": inputs["ipProtocol"],
        "FromPort": inputs["fromPort"],
        "ToPort": inputs["toPort"],
    }
    described = {"Description": inputs["description"]} if inputs.get("description") else {}
    if inputs.get("cidrIpv4"):
        permission["IpRanges"] = [{"CidrIp": inputs["cidrIpv4"], **described}]
    elif inputs.get("cidrIpv6"):
        permission["Ipv6Ranges"] = [{"CidrIpv6": inputs["cidrIpv6"], **described}]
    else:
        group = {"GroupId": inputs["referencedSecurityGroupId"], **described}
        permission["UserIdGroupPairs"] = [group]
    return permission


def _group_rule(token: str, direction: str) -> ResourceType:
    """A rule of a security group; `direction` is EC2's word in its calls."""

    def create(aws: Aws, _name: str, inputs: Inputs) -> Made:
        made = getattr(aws.client("ec2"), f"authorize_security_group_{direction}")(
            GroupId=inputs["securityGroupId"], IpPermissions=[_permission(inputs)]
        )
        rules: list[dict[str, str]] = made.get("SecurityGroupRules") or []
        source = next(
            inputs[key]
            for key in ("cidrIpv4", "cidrIpv6", "referencedSecurityGroupId")
            if inputs.get(key)
        )
        fallback = f"{inputs['securityGroupId']}_{direction}_{inputs['fromPort']}_{source}"
        return Made(rules[0]["SecurityGroupRuleId"] if rules else fallback)

    def delete(aws: Aws, existing: Existing) -> None:
        getattr(aws.client("ec2"), f"revoke_security_group_{direction}")(
            GroupId=existing.inputs["securityGroupId"],
            IpPermissions=[_permission(existing.inputs)],
        )

    return ResourceType(
        token,
        create,
        delete,
        replaces=frozenset(
            {
                "cidrIpv4",
                "cidrIpv6",
                "description",
                "fromPort",
                "ipProtocol",
                "referencedSecurityGroupId",
                "securityGroupId",
                "toPort",
            }
        ),
        recorded=frozenset({"tags", "tagsAll"}),
    )


def _create_interface(aws: Aws, _name: str, inputs: Inputs) -> Made:
    made = aws.client("ec2").create_network_interface(
        SubnetId=inputs["subnetId"],
        Groups=inputs.get("securityGroups") or [],
        Description=inputs.get("description", ""),
    )["NetworkInterface"]
    identifier = str(made["NetworkInterfaceId"])
    _tag(aws, identifier, inputs)
    addresses = [entry["Ipv6Address"] for entry in objects(made, "Ipv6Addresses")]
    if inputs.get("ipv6AddressCount") and not addresses:
        # The emulator gives none; the documentation's prefix stands in for AWS's.
        addresses = ["2001:db8:77::25"]
    return Made(
        identifier,
        {
            "arn": aws.arn("ec2", f"network-interface/{identifier}"),
            "privateIp": made.get("PrivateIpAddress", ""),
            "macAddress": made.get("MacAddress", ""),
            "ipv6Addresses": addresses,
        },
    )


def _delete_interface(aws: Aws, existing: Existing) -> None:
    aws.client("ec2").delete_network_interface(NetworkInterfaceId=existing.id)


def _create_address(aws: Aws, _name: str, inputs: Inputs) -> Made:
    ec2 = aws.client("ec2")
    made = ec2.allocate_address(Domain="vpc")
    identifier = str(made["AllocationId"])
    if inputs.get("networkInterface"):
        ec2.associate_address(
            AllocationId=identifier, NetworkInterfaceId=inputs["networkInterface"]
        )
    _tag(aws, identifier, inputs)
    return Made(identifier, {"publicIp": made["PublicIp"], "allocationId": identifier})


def _update_address(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    if inputs.get("networkInterface") != existing.inputs.get("networkInterface"):
        aws.client("ec2").associate_address(
            AllocationId=existing.id,
            NetworkInterfaceId=inputs["networkInterface"],
            AllowReassociation=True,
        )
    return _retag(aws, existing, inputs)


def _delete_address(aws: Aws, existing: Existing) -> None:
    ec2 = aws.client("ec2")
    found = ec2.describe_addresses(AllocationIds=[existing.id])["Addresses"]
    if found and found[0].get("AssociationId"):
        ec2.disassociate_address(AssociationId=found[0]["AssociationId"])
    ec2.release_address(AllocationId=existing.id)


def _create_volume(aws: Aws, _name: str, inputs: Inputs) -> Made:
    identifier = str(
        aws.client("ec2").create_volume(
            AvailabilityZone=inputs["availabilityZone"],
            Size=inputs["size"],
            VolumeType=inputs.get("type", "gp3"),
            Encrypted=inputs.get("encrypted", False),
        )["VolumeId"]
    )
    _tag(aws, identifier, inputs)
    return Made(identifier, {"arn": aws.arn("ec2", f"volume/{identifier}")})


def _update_volume(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    if inputs.get("size") != existing.inputs.get("size"):
        aws.client("ec2").modify_volume(VolumeId=existing.id, Size=inputs["size"])
    return _retag(aws, existing, inputs)


def _delete_volume(aws: Aws, existing: Existing) -> None:
    aws.client("ec2").delete_volume(VolumeId=existing.id)


def _template_data(inputs: Inputs) -> dict[str, Any]:
    """The launch template as EC2's API takes it; Terraform writes some truth values as text."""

    def truth(value: Any) -> Any:
        return value == "true" if value in ("true", "false") else value

    data: dict[str, Any] = {}
    for name, argument in (
        ("imageId", "ImageId"),
        ("instanceType", "InstanceType"),
        ("userData", "UserData"),
    ):
        if inputs.get(name):
            data[argument] = inputs[name]
    for name in ("iamInstanceProfile", "metadataOptions", "creditSpecification"):
        if inputs.get(name):
            data[name[:1].upper() + name[1:]] = pascal(inputs[name])
    if inputs.get("instanceMarketOptions"):
        data["InstanceMarketOptions"] = pascal(inputs["instanceMarketOptions"])
    data["BlockDeviceMappings"] = [
        {
            "DeviceName": mapping["deviceName"],
            "Ebs": {key: truth(value) for key, value in pascal(mapping["ebs"]).items()},
        }
        for mapping in objects(inputs, "blockDeviceMappings")
    ]
    interfaces: list[dict[str, Any]] = []
    for given in objects(inputs, "networkInterfaces"):
        interface = {key: truth(value) for key, value in pascal(given).items()}
        if "SecurityGroups" in interface:
            interface["Groups"] = interface.pop("SecurityGroups")
        interfaces.append(interface)
    data["NetworkInterfaces"] = interfaces
    data["TagSpecifications"] = [
        {
            "ResourceType": given["resourceType"],
            "Tags": [{"Key": key, "Value": value} for key, value in given["tags"].items()],
        }
        for given in objects(inputs, "tagSpecifications")
    ]
    return data


def _create_template(aws: Aws, logical_name: str, inputs: Inputs) -> Made:
    name = auto_name(inputs, "name", logical_name)
    made = aws.client("ec2").create_launch_template(
        LaunchTemplateName=name, LaunchTemplateData=_template_data(inputs)
    )["LaunchTemplate"]
    identifier = str(made["LaunchTemplateId"])
    return Made(
        identifier,
        {
            "name": name,
            "arn": aws.arn("ec2", f"launch-template/{identifier}"),
            "latestVersion": made["LatestVersionNumber"],
            "defaultVersion": made["DefaultVersionNumber"],
        },
    )


def _update_template(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    ec2 = aws.client("ec2")
    made = ec2.create_launch_template_version(
        LaunchTemplateId=existing.id, LaunchTemplateData=_template_data(inputs)
    )["LaunchTemplateVersion"]
    version = made["VersionNumber"]
    if inputs.get("updateDefaultVersion"):
        ec2.modify_launch_template(LaunchTemplateId=existing.id, DefaultVersion=str(version))
    return {**existing.outputs, "latestVersion": version, "defaultVersion": version}


def _delete_template(aws: Aws, existing: Existing) -> None:
    aws.client("ec2").delete_launch_template(LaunchTemplateId=existing.id)


_TAGS = frozenset({"tags", "tagsAll"})

TYPES = (
    ResourceType(
        "aws:ec2/vpc:Vpc",
        _create_vpc,
        _delete_vpc,
        _retag,
        properties=_TAGS,
        replaces=frozenset(
            {"assignGeneratedIpv6CidrBlock", "cidrBlock", "enableDnsHostnames", "enableDnsSupport"}
        ),
    ),
    ResourceType(
        "aws:ec2/subnet:Subnet",
        _create_subnet,
        _delete_subnet,
        _retag,
        properties=_TAGS,
        replaces=frozenset({"availabilityZone", "cidrBlock", "vpcId"}),
        # The emulator's subnets know no IPv6.
        recorded=frozenset({"assignIpv6AddressOnCreation", "ipv6CidrBlock", "mapPublicIpOnLaunch"}),
    ),
    ResourceType(
        "aws:ec2/internetGateway:InternetGateway",
        _create_gateway,
        _delete_gateway,
        _retag,
        properties=_TAGS,
        replaces=frozenset({"vpcId"}),
    ),
    ResourceType(
        "aws:ec2/routeTable:RouteTable",
        _create_route_table,
        _delete_route_table,
        _retag,
        properties=_TAGS,
        replaces=frozenset({"vpcId"}),
    ),
    ResourceType(
        "aws:ec2/route:Route",
        _create_route,
        _delete_route,
        replaces=frozenset(
            {"destinationCidrBlock", "destinationIpv6CidrBlock", "gatewayId", "routeTableId"}
        ),
    ),
    ResourceType(
        "aws:ec2/routeTableAssociation:RouteTableAssociation",
        _associate,
        _disassociate,
        replaces=frozenset({"routeTableId", "subnetId"}),
    ),
    ResourceType(
        "aws:ec2/securityGroup:SecurityGroup",
        _create_group,
        _delete_group,
        _retag,
        properties=_TAGS,
        replaces=frozenset({"description", "name", "vpcId"}),
        # Rules are resources of their own.
        recorded=frozenset({"egress"}),
    ),
    _group_rule("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", "ingress"),
    _group_rule("aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule", "egress"),
    ResourceType(
        "aws:ec2/networkInterface:NetworkInterface",
        _create_interface,
        _delete_interface,
        _retag,
        properties=_TAGS,
        replaces=frozenset({"description", "securityGroups", "subnetId"}),
        recorded=frozenset({"ipv6AddressCount"}),
    ),
    ResourceType(
        "aws:ec2/eip:Eip",
        _create_address,
        _delete_address,
        _update_address,
        properties=frozenset({"networkInterface"}) | _TAGS,
        replaces=frozenset({"domain"}),
    ),
    ResourceType(
        "aws:ebs/volume:Volume",
        _create_volume,
        _delete_volume,
        _update_volume,
        properties=frozenset({"size"}) | _TAGS,
        replaces=frozenset({"availabilityZone", "encrypted", "type"}),
    ),
    ResourceType(
        "aws:ec2/launchTemplate:LaunchTemplate",
        _create_template,
        _delete_template,
        _update_template,
        properties=frozenset(
            {
                "blockDeviceMappings",
                "creditSpecification",
                "iamInstanceProfile",
                "imageId",
                "instanceMarketOptions",
                "instanceType",
                "metadataOptions",
                "networkInterfaces",
                "tagSpecifications",
                "updateDefaultVersion",
                "userData",
            }
        ),
        replaces=frozenset({"name"}),
        recorded=_TAGS,
    ),
)
