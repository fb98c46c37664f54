"""The network: public subnets in private address space, and the one address that clients use.

The address (an ENI with an Elastic IP and an IPv6 address) outlives every instance: the instance
attaches the ENI when it boots. An ENI belongs to one zone, so the instances are launched there; the
mail store has a mount target in every subnet.
"""

import ipaddress
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi_aws as aws

import pulumi
from deployment.containers import DOVEADM_PORT, LMTP_PORT
from deployment.stack import Stack

# What users need: IMAP, two ways to submit mail, and ManageSieve for their filters.
MAIL_PORTS = (993, 465, 587, 4190)
# Only in a stack with a web container.
WEB_PORTS = (443,)
_NFS = 2049
# LMTP has no authentication, so only hosts reach it; doveadm has a password.
_HOST_ONLY_PORTS = {LMTP_PORT: "LMTP", DOVEADM_PORT: "doveadm"}
# What Dovecot's proxy uses between hosts.
HOST_PORTS = (*_HOST_ONLY_PORTS, 993, 4190)

# "Too big", with which the path MTU is discovered; the group lets no other ICMP in. Type and code,
# RFC 1191 section 4 and RFC 4443 section 3.2.
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/network_mtu.html#path_mtu_discovery
_TOO_BIG = {"ipv4": ("icmp", 3, 4), "ipv6": ("icmpv6", 2, 0)}

# What the host needs: AWS's APIs, package repositories and ECR by HTTPS, SES by submission.
_OUTWARD_PORTS = (443, 587)

_EVERYBODY = {"ipv4": {"cidr_ipv4": "0.0.0.0/0"}, "ipv6": {"cidr_ipv6": "::/0"}}


@dataclass(frozen=True)
class NetworkArgs:
    """`block`: private IPv4 space; `zones`: how many availability zones.

    `host_zone`: the zone of the address and therefore of the host, counted from 1; `web`: whether
    browsers reach it too; `hosts`: how many hosts there are.
    """

    stack: Stack
    block: str
    zones: int
    host_zone: int
    instance_type: str
    web: bool = False
    hosts: int = 1

    @property
    def name(self) -> str:
        """The name of the parts here, or its prefix."""
        return self.stack.named("network")


def subnet_blocks(block: str, number: int) -> list[str]:
    """Return the first `number` of sixteen equal parts of `block`.

    There are always sixteen, so that an additional zone does not move the others.
    """
    network = ipaddress.ip_network(block)
    return [str(part) for part in list(network.subnets(prefixlen_diff=4))[:number]]


def zone_of_host(host_zone: int, number: int) -> int:
    """Return the zone of a host: hosts alternate between two zones, whatever their number becomes.

    A host's volume and address cannot leave their zone.
    """
    if number % 2:
        return host_zone
    return 1 if host_zone > 1 else 2


@dataclass(frozen=True)
class HostPlace:
    """Where a host runs, and the address that it has there."""

    zone: int
    subnet: aws.ec2.Subnet
    interface: aws.ec2.NetworkInterface
    address: aws.ec2.Eip


def ipv6_block(vpc_block: str, index: int) -> str:
    """Return the /64 with this index in a VPC's /56."""
    return str(list(ipaddress.ip_network(vpc_block).subnets(new_prefix=64))[index])


class Network(pulumi.ComponentResource):
    """VPC, subnets, security groups, and the fixed address."""

    def __init__(
        self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("postal-plexus:index:Network", name, None, opts)
        self._args = args
        self._child = pulumi.ResourceOptions(parent=self)
        self._tags = {"Name": args.name}
        self.vpc = aws.ec2.Vpc(
            args.name,
            cidr_block=args.block,
            assign_generated_ipv6_cidr_block=True,
            enable_dns_hostnames=True,
            enable_dns_support=True,
            tags=self._tags,
            opts=self._child,
        )
        self.subnets = self._make_subnets()
        self.host_group = self._make_host_group()
        self.store_group = self._make_store_group()
        if args.hosts > 1:
            self._let_hosts_reach_each_other()
        # By the hosts' numbers.
        self.places = [self._make_place(number) for number in range(1, args.hosts + 1)]
        self.register_outputs({"address": self.places[0].address.public_ip})

    def _make_place(self, number: int) -> HostPlace:
        args = self._args
        zone = zone_of_host(args.host_zone, number)
        subnet = self.subnets[zone - 1]
        name = args.stack.on_host(number).named("network")
        interface = aws.ec2.NetworkInterface(
            name,
            subnet_id=subnet.id,
            security_groups=[self.host_group.id],
            ipv6_address_count=1,
            description=f"{name}: the address of the mail host, whichever instance has it",
            tags={"Name": name},
            opts=self._child,
        )
        address = aws.ec2.Eip(
            name,
            domain="vpc",
            network_interface=interface.id,
            tags={"Name": name},
            # EC2 may refuse to associate an address in a network without a gateway.
            # https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AssociateAddress.html
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self.gateway]),
        )
        return HostPlace(zone, subnet, interface, address)

    def _let_hosts_reach_each_other(self) -> None:
        """Let Dovecot's proxy in and out. Clients reach IMAP and ManageSieve anyway."""
        for port in HOST_PORTS:
            aws.vpc.SecurityGroupEgressRule(
                f"{self._args.name}-out-hosts-{port}",
                security_group_id=self.host_group.id,
                referenced_security_group_id=self.host_group.id,
                ip_protocol="tcp",
                from_port=port,
                to_port=port,
                description="Dovecot's proxy to other hosts",
                opts=self._child,
            )
        for port, what in _HOST_ONLY_PORTS.items():
            aws.vpc.SecurityGroupIngressRule(
                f"{self._args.name}-in-hosts-{port}",
                security_group_id=self.host_group.id,
                referenced_security_group_id=self.host_group.id,
                ip_protocol="tcp",
                from_port=port,
                to_port=port,
                description=f"{what} from other hosts alone",
                opts=self._child,
            )

    def _zones(self) -> Sequence[str]:
        """Return zones that offer the instance type, in the order of their names."""
        offered = aws.ec2.get_instance_type_offerings(
            location_type="availability-zone",
            filters=[{"name": "instance-type", "values": [self._args.instance_type]}],
            opts=pulumi.InvokeOptions(parent=self),
        )
        zones = sorted(set(offered.locations))
        if len(zones) < self._args.zones:
            raise pulumi.RunError(
                f"postal-plexus:zones: {self._args.instance_type} is offered in {len(zones)} zones "
                f"here. Ask for that many or another instance-type."
            )
        return zones[: self._args.zones]

    def _make_subnets(self) -> list[aws.ec2.Subnet]:
        self.gateway = aws.ec2.InternetGateway(
            self._args.name, vpc_id=self.vpc.id, tags=self._tags, opts=self._child
        )
        table = aws.ec2.RouteTable(
            self._args.name, vpc_id=self.vpc.id, tags=self._tags, opts=self._child
        )
        for suffix, destination in (
            ("ipv4", {"destination_cidr_block": "0.0.0.0/0"}),
            ("ipv6", {"destination_ipv6_cidr_block": "::/0"}),
        ):
            aws.ec2.Route(
                f"{self._args.name}-{suffix}",
                route_table_id=table.id,
                gateway_id=self.gateway.id,
                opts=self._child,
                **destination,
            )
        subnets: list[aws.ec2.Subnet] = []
        blocks = subnet_blocks(self._args.block, self._args.zones)
        for index, (zone, block) in enumerate(zip(self._zones(), blocks, strict=True)):
            subnet = aws.ec2.Subnet(
                f"{self._args.name}-{index + 1}",
                vpc_id=self.vpc.id,
                availability_zone=zone,
                cidr_block=block,
                ipv6_cidr_block=self.vpc.ipv6_cidr_block.apply(
                    lambda vpc_block, index=index: ipv6_block(vpc_block, index)
                ),
                assign_ipv6_address_on_creation=True,
                # A public IPv4 address costs money; the one that is needed is the ENI's.
                map_public_ip_on_launch=False,
                tags={"Name": f"{self._args.name}-{index + 1}"},
                # AWS may offer the instance type in more zones later; existing subnets stay.
                opts=pulumi.ResourceOptions(parent=self, ignore_changes=["availabilityZone"]),
            )
            aws.ec2.RouteTableAssociation(
                f"{self._args.name}-{index + 1}",
                route_table_id=table.id,
                subnet_id=subnet.id,
                opts=self._child,
            )
            subnets.append(subnet)
        return subnets

    def _make_host_group(self) -> aws.ec2.SecurityGroup:
        group = aws.ec2.SecurityGroup(
            f"{self._args.name}-host",
            vpc_id=self.vpc.id,
            description="Mail clients in, AWS out",
            # Rules are resources of their own; this removes AWS's default "allow all outbound".
            egress=[],
            tags={"Name": f"{self._args.name}-host"},
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["egress", "ingress"]),
        )
        web_ports = WEB_PORTS if self._args.web else ()
        for direction, ports, rule, description in (
            ("in", MAIL_PORTS, aws.vpc.SecurityGroupIngressRule, "Mail clients"),
            ("in", web_ports, aws.vpc.SecurityGroupIngressRule, "Browsers"),
            ("out", _OUTWARD_PORTS, aws.vpc.SecurityGroupEgressRule, "AWS's services"),
        ):
            for port, (suffix, everybody) in itertools.product(ports, _EVERYBODY.items()):
                rule(
                    f"{self._args.name}-{direction}-{port}-{suffix}",
                    security_group_id=group.id,
                    ip_protocol="tcp",
                    from_port=port,
                    to_port=port,
                    description=description,
                    opts=self._child,
                    **everybody,
                )
        for suffix, (protocol, kind, code) in _TOO_BIG.items():
            aws.vpc.SecurityGroupIngressRule(
                f"{self._args.name}-in-too-big-{suffix}",
                security_group_id=group.id,
                ip_protocol=protocol,
                from_port=kind,
                to_port=code,
                description="Packets that are too big for their way",
                opts=self._child,
                **_EVERYBODY[suffix],
            )
        return group

    def _make_store_group(self) -> aws.ec2.SecurityGroup:
        group = aws.ec2.SecurityGroup(
            f"{self._args.name}-store",
            vpc_id=self.vpc.id,
            description="NFS from the mail host",
            egress=[],
            tags={"Name": f"{self._args.name}-store"},
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["egress", "ingress"]),
        )
        aws.vpc.SecurityGroupIngressRule(
            f"{self._args.name}-in-nfs",
            security_group_id=group.id,
            referenced_security_group_id=self.host_group.id,
            ip_protocol="tcp",
            from_port=_NFS,
            to_port=_NFS,
            description="NFS from the mail host alone",
            opts=self._child,
        )
        aws.vpc.SecurityGroupEgressRule(
            f"{self._args.name}-out-nfs",
            security_group_id=self.host_group.id,
            referenced_security_group_id=group.id,
            ip_protocol="tcp",
            from_port=_NFS,
            to_port=_NFS,
            description="NFS to the mail store",
            opts=self._child,
        )
        return group
