"""The host: one instance in an Auto Scaling group that replaces it, and what outlives it.

The address (the network's ENI) and the state volume outlive an instance. The state volume is a
small encrypted disk in the same zone with the outbound queue, `deliver`'s journal, the certificate
and the mailboxes' indexes. Queue and indexes should not be on EFS (both need a local disk), and on
the instance's own disk they would be lost with it. Received mail waits in SQS; messages are on EFS.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi_aws as aws

import pulumi
from deployment import documents, host_documents
from deployment.host_boot import HostBoot, user_data
from deployment.network import HostPlace, Network
from deployment.stack import Stack
from postal_plexus.config import regions
from postal_plexus.config.state_volume import state_gb

# The newest image at each launch of an instance, so that a replacement is patched.
# https://docs.aws.amazon.com/linux/al2023/ug/ec2.html#launch-via-aws-cli
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/retrieve-ecs-optimized_AMI.html
_IMAGES = {
    ("minimal", "arm64"): (
        "/aws/service/ami-amazon-linux-latest/al2023-ami-minimal-kernel-default-arm64"
    ),
    ("minimal", "x86_64"): (
        "/aws/service/ami-amazon-linux-latest/al2023-ami-minimal-kernel-default-x86_64"
    ),
    ("ecs-optimized", "arm64"): (
        "/aws/service/ecs/optimized-ami/amazon-linux-2023/arm64/recommended/image_id"
    ),
    ("ecs-optimized", "x86_64"): (
        "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id"
    ),
}
# The ECS-optimised image's snapshot has 30 GB; the minimal one fits a small disk.
_ROOT_GB = {"minimal": 8, "ecs-optimized": 30}

_SECONDS_A_DAY = 86400

# Spot instances of these sizes can replace each other: if one is not available, the next one is,
# and costs little more.
_SIZES = ("nano", "micro", "small", "medium", "large", "xlarge")
_SPOT_CHOICES = 3
# "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", in vCPUs; a t4g.nano has two.
_SPOT_QUOTA, _LEAST_VCPUS = "L-34B43A08", 2


def spot_types(instance_type: str) -> list[str]:
    """Return the instance type, and larger ones of its family to replace it."""
    family, _, size = instance_type.partition(".")
    if size not in _SIZES:
        return [instance_type]
    start = _SIZES.index(size)
    return [f"{family}.{each}" for each in _SIZES[start : start + _SPOT_CHOICES]]


def warn_of_spot_quota(provider: aws.Provider, hosts: int) -> None:
    """Warn if the account may have no Spot instance: a group that requests one waits silently.

    A group does not fall back to on-demand instances, so the operator has to change it.
    """
    try:
        quota = aws.servicequotas.get_service_quota(
            service_code="ec2",
            quota_code=_SPOT_QUOTA,
            opts=pulumi.InvokeOptions(provider=provider),
        ).value
    except Exception:  # noqa: BLE001  who may not read quotas is not kept from deploying
        return
    few = "no host" if quota < _LEAST_VCPUS else "not all hosts"
    if quota < _LEAST_VCPUS * hosts:
        pulumi.warn(
            f"the account's quota of Spot instances is {quota:.0f} vCPUs, so {few} will start:"
            " set postal-plexus:spot to false for now, and request more with `aws service-quotas"
            f" request-service-quota-increase --service-code ec2 --quota-code {_SPOT_QUOTA}"
            " --desired-value 8`"
        )


@dataclass(frozen=True)
class HostArgs:
    """See postal_plexus.config.settings for what the choices mean."""

    stack: Stack
    network: Network
    place: HostPlace
    cluster_name: pulumi.Input[str]
    cluster_arn: pulumi.Input[str]
    repository_arns: Sequence[pulumi.Input[str]]
    instance_type: str
    architecture: str
    image: str
    spot: bool
    ssm_access: bool
    replace_after_days: int
    indexes_gb: int
    web: bool = False

    @property
    def name(self) -> str:
        """The name of the parts here, or its prefix."""
        return self.stack.named("host")


class Host(pulumi.ComponentResource):
    """The state volume, the instance's role, launch template and group."""

    def __init__(
        self, name: str, args: HostArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("postal-plexus:index:Host", name, None, opts)
        self._args = args
        self._child = pulumi.ResourceOptions(parent=self)
        subnet = args.place.subnet
        # In another zone it is another volume: the one that may still hold mail is not replaced.
        suffix = "" if args.place.zone == 1 else f"-{args.place.zone}"
        if args.stack.host > 1:
            suffix = f"-zone-{args.place.zone}"
        self.volume = aws.ebs.Volume(
            f"{args.name}{suffix}",
            availability_zone=subnet.availability_zone,
            size=state_gb(args.indexes_gb),
            type="gp3",
            encrypted=True,
            tags={"Name": args.name},
            # It may hold mail that has not been sent.
            opts=pulumi.ResourceOptions(parent=self, protect=True, retain_on_delete=True),
        )
        profile = self._profile()
        template = self._template(profile)
        self.group = aws.autoscaling.Group(
            args.name,
            min_size=1,
            max_size=1,
            desired_capacity=1,
            vpc_zone_identifiers=[subnet.id],
            health_check_type="EC2",
            health_check_grace_period=300,
            max_instance_lifetime=args.replace_after_days * _SECONDS_A_DAY or None,
            **_launch(template, args),
            # One address and one volume: the old instance must go before the new one starts.
            instance_refresh={
                "strategy": "Rolling",
                "preferences": {"min_healthy_percentage": 0, "max_healthy_percentage": 100},
            },
            # Pulumi need not wait for the instance, because mail waits anyway.
            wait_for_capacity_timeout="0",
            tags=[
                {"key": "Name", "value": args.name, "propagate_at_launch": True},
                {"key": documents.STACK_TAG, "value": args.stack.name, "propagate_at_launch": True},
            ],
            opts=self._child,
        )
        self.register_outputs({"group": self.group.name})

    def _profile(self) -> aws.iam.InstanceProfile:
        args = self._args
        role = aws.iam.Role(
            args.name,
            assume_role_policy=host_documents.instance_trust(),
            description="What the mail host may do: join its cluster, take its address and volume",
            opts=self._child,
        )
        aws.iam.RolePolicy(
            args.name,
            role=role.name,
            policy=pulumi.Output.all(
                account=args.stack.account,
                cluster_arn=args.cluster_arn,
                interface_id=args.place.interface.id,
                volume_id=self.volume.id,
                repository_arns=list(args.repository_arns),
            ).apply(
                lambda given: host_documents.instance(
                    region=args.stack.region, stack=args.stack.name, **given
                )
            ),
            opts=self._child,
        )
        if args.ssm_access:
            aws.iam.RolePolicy(
                f"{args.name}-ssm",
                role=role.name,
                policy=pulumi.Output.from_input(args.stack.account).apply(
                    lambda account: host_documents.session_manager(account, args.stack.region)
                ),
                opts=self._child,
            )
        return aws.iam.InstanceProfile(args.name, role=role.name, opts=self._child)

    def _template(self, profile: aws.iam.InstanceProfile) -> aws.ec2.LaunchTemplate:
        args = self._args
        script = pulumi.Output.all(
            cluster=args.cluster_name,
            interface=args.place.interface.id,
            volume=self.volume.id,
        ).apply(
            lambda given: user_data(
                HostBoot(
                    region=args.stack.region,
                    ssm_access=args.ssm_access,
                    indexes_gb=args.indexes_gb,
                    web=args.web,
                    ipv6=args.stack.region not in regions.WITHOUT_EC2_IPV6,
                    **given,
                )
            )
        )
        return aws.ec2.LaunchTemplate(
            args.name,
            image_id=f"resolve:ssm:{_IMAGES[args.image, args.architecture]}",
            instance_type=args.instance_type,
            iam_instance_profile={"arn": profile.arn},
            user_data=script.apply(lambda text: base64.b64encode(text.encode()).decode()),
            update_default_version=True,
            # Containers are one hop further away, so they cannot use the instance's role.
            metadata_options={
                "http_endpoint": "enabled",
                "http_tokens": "required",
                "http_put_response_hop_limit": 1,
                "instance_metadata_tags": "disabled",
            },
            block_device_mappings=[
                {
                    "device_name": "/dev/xvda",
                    "ebs": {
                        "volume_size": _ROOT_GB[args.image],
                        "volume_type": "gp3",
                        "encrypted": "true",
                        "delete_on_termination": "true",
                    },
                }
            ],
            network_interfaces=[
                {
                    "device_index": 0,
                    # Until the ENI is attached, the host reaches AWS by IPv6, which is free, if
                    # EC2's API supports it; otherwise by an IPv4 address of its own.
                    "associate_public_ip_address": str(
                        args.stack.region in regions.WITHOUT_EC2_IPV6
                    ).lower(),
                    "ipv6_address_count": 1,
                    "delete_on_termination": "true",
                    "security_groups": [args.network.host_group.id],
                }
            ],
            # A t4g starts without credits: in standard mode it would boot at a twentieth of a
            # processor. Unlimited costs nothing while a day's mean stays below the baseline;
            # otherwise the alarm surplus-credits is raised.
            # https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/burstable-performance-instances-standard-mode-concepts.html
            credit_specification=(
                {"cpu_credits": "unlimited"} if args.instance_type.startswith("t") else None
            ),
            tag_specifications=[
                {
                    "resource_type": kind,
                    "tags": {"Name": args.name, documents.STACK_TAG: args.stack.name},
                }
                for kind in ("instance", "volume")
            ],
            opts=self._child,
        )


def _launch(template: aws.ec2.LaunchTemplate, args: HostArgs) -> dict[str, Any]:
    """Return how the group launches: on demand, or the cheapest available Spot instance."""
    version = template.latest_version.apply(str)
    if not args.spot:
        return {"launch_template": {"id": template.id, "version": version}}
    return {
        "mixed_instances_policy": {
            "instances_distribution": {
                "on_demand_base_capacity": 0,
                "on_demand_percentage_above_base_capacity": 0,
                "spot_allocation_strategy": "price-capacity-optimized",
            },
            "launch_template": {
                "launch_template_specification": {
                    "launch_template_id": template.id,
                    "version": version,
                },
                "overrides": [{"instance_type": each} for each in spot_types(args.instance_type)],
            },
        }
    }
