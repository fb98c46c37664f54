"""How Postfix authenticates to SES: an IAM user that can only send mail from our domains.

Its SMTP credentials reach Postfix's container as ECS secrets and are not written anywhere else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi_aws as aws

import pulumi
from deployment import mail_documents
from deployment.stack import Stack


@dataclass(frozen=True)
class SendingArgs:
    """`parameter_path`: where SSM stores the credentials."""

    stack: Stack
    domains: Sequence[str]

    @property
    def name(self) -> str:
        """The name of the parts here, or its prefix."""
        return self.stack.named("smtp")


class Sending(pulumi.ComponentResource):
    """The SMTP user, its key, and the key as SMTP user name and password in SSM."""

    def __init__(
        self, name: str, args: SendingArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("postal-plexus:index:Sending", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        user = aws.iam.User(args.name, opts=child)
        aws.iam.UserPolicy(
            args.name,
            user=user.name,
            policy=pulumi.Output.from_input(args.stack.account).apply(
                lambda account: mail_documents.smtp_user(
                    account, args.stack.region, args.domains, args.stack.named("sending")
                )
            ),
            opts=child,
        )
        key = aws.iam.AccessKey(args.name, user=user.name, opts=child)
        self.user_name_parameter = aws.ssm.Parameter(
            f"{args.name}-name",
            name=f"/postal-plexus/{args.stack.name}/ses-smtp-username",
            description="User name for SES's SMTP endpoint",
            type="SecureString",
            value=pulumi.Output.secret(key.id),
            opts=child,
        )
        self.password_parameter = aws.ssm.Parameter(
            f"{args.name}-password",
            name=f"/postal-plexus/{args.stack.name}/ses-smtp-password",
            description="Password for SES's SMTP endpoint in this region",
            type="SecureString",
            value=pulumi.Output.secret(key.ses_smtp_password_v4),
            opts=child,
        )
        self.register_outputs({"user": user.name})
