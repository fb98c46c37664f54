"""What the mail host's instance may do."""

from collections.abc import Sequence

from deployment.documents import STACK_TAG, allow, document, pull


def instance_trust() -> str:
    """Allow EC2 to give the role to instances."""
    return document(
        {
            "Sid": "Instances",
            "Effect": "Allow",
            "Principal": {"Service": "ec2.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    )


def instance(
    account: str,
    region: str,
    stack: str,
    cluster_arn: str,
    interface_id: str,
    volume_id: str,
    repository_arns: Sequence[str],
) -> str:
    """Allow what the host does: take the stack's address and volume, and serve its cluster."""
    ec2 = f"arn:aws:ec2:{region}:{account}"
    in_our_cluster = {"ArnEquals": {"ecs:cluster": cluster_arn}}
    container_instances = cluster_arn.replace(":cluster/", ":container-instance/") + "/*"
    return document(
        # EC2's Describe calls do not support resources.
        allow("Look", ["ec2:DescribeNetworkInterfaces", "ec2:DescribeVolumes"], ["*"]),
        # The address and the volume have the stack's tag too, which the condition requires of all
        # three.
        allow(
            "TakeAddressAndVolume",
            [
                "ec2:AttachNetworkInterface",
                "ec2:AttachVolume",
                "ec2:DetachNetworkInterface",
                "ec2:DetachVolume",
            ],
            [
                f"{ec2}:instance/*",
                f"{ec2}:network-interface/{interface_id}",
                f"{ec2}:volume/{volume_id}",
            ],
            {"StringEquals": {f"aws:ResourceTag/{STACK_TAG}": stack}},
        ),
        allow("FindEcs", ["ecs:DiscoverPollEndpoint"], ["*"]),
        allow(
            "JoinCluster",
            [
                "ecs:DeregisterContainerInstance",
                "ecs:RegisterContainerInstance",
                "ecs:SubmitAttachmentStateChanges",
                "ecs:SubmitContainerStateChange",
                "ecs:SubmitTaskStateChange",
            ],
            [cluster_arn],
        ),
        allow(
            "ServeCluster",
            ["ecs:Poll", "ecs:StartTelemetrySession", "ecs:UpdateContainerInstancesState"],
            [container_instances],
            in_our_cluster,
        ),
        *pull(repository_arns),
    )


def session_manager(account: str, region: str) -> str:
    """Allow only what a Session Manager shell needs.

    AWS's own AmazonSSMManagedInstanceCore would also let the host read every parameter of the
    account. The channels do not support resources.
    https://docs.aws.amazon.com/systems-manager/latest/userguide/getting-started-create-iam-instance-profile.html
    """
    return document(
        allow(
            "BeThere",
            ["ssm:UpdateInstanceInformation"],
            [f"arn:aws:ec2:{region}:{account}:instance/*"],
        ),
        allow(
            "OpenSessions",
            [
                "ssmmessages:CreateControlChannel",
                "ssmmessages:CreateDataChannel",
                "ssmmessages:OpenControlChannel",
                "ssmmessages:OpenDataChannel",
            ],
            ["*"],
        ),
    )
