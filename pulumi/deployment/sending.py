"""How Postfix authenticates to SES: an IAM user that can send as our domains, and nothing else.

Its SMTP credentials reach Postfix's container as ECS secrets; nowhere else are they written.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi_aws as aws

import pulumi
from deployment import documents


@dataclass(frozen=True)
class SendingArgs:
    """`parameter_path`: where in SSM the credentials are kept."""

    user_name: str
    parameter_path: str
    account: pulumi.Input[str]
    region: str
    domains: Sequence[str]
    configuration_set_name: str


class Sending(pulumi.ComponentResource):
    """The SMTP user, its key, and the key as SMTP user name and password in SSM."""

    def __init__(
        self, name: str, args: SendingArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("postal-plexus:index:Sending", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        user = aws.iam.User(args.user_name, opts=child)
        aws.iam.UserPolicy(
            args.user_name,
            user=user.name,
            policy=pulumi.Output.from_input(args.account).apply(
                lambda account: documents.smtp_user(
                    account, args.region, args.domains, args.configuration_set_name
                )
            ),
            opts=child,
        )
        key = aws.iam.AccessKey(args.user_name, user=user.name, opts=child)
        self.user_name_parameter = aws.ssm.Parameter(
            f"{args.user_name}-name",
            name=f"{args.parameter_path}/ses-smtp-username",
            description="User name for SES's SMTP endpoint",
            type="SecureString",
            value=pulumi.Output.secret(key.id),
            opts=child,
        )
        self.password_parameter = aws.ssm.Parameter(
            f"{args.user_name}-password",
            name=f"{args.parameter_path}/ses-smtp-password",
            description="Password for SES's SMTP endpoint in this region",
            type="SecureString",
            value=pulumi.Output.secret(key.ses_smtp_password_v4),
            opts=child,
        )
        self.register_outputs({"user": user.name})
