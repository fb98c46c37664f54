"""SMTP users: whose an access key is, and what that user's policies permit to send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from awsdesk.ministack_patches import environment
from awsdesk.ses.credentials import is_smtp_password


@dataclass(frozen=True)
class Caller:
    """An IAM user that signed in with its SMTP credentials."""

    access_key_id: str
    arn: str

    @property
    def name(self) -> str:
        """The user's name, as it appears in events."""
        return self.arn.rpartition("/")[2] or self.arn


@dataclass(frozen=True)
class Callers:
    """The IAM users of one account and region."""

    account_id: str
    region: str

    def sign_in(self, user_name: str, password: str) -> Caller | None:
        """Return the user whose active access key and derived password these are."""
        evaluator = environment.module("core.iam_evaluator")
        if evaluator.is_root_access_key(user_name):
            return None
        with environment.scope(self.account_id, self.region):
            found = evaluator.resolve_credential(user_name, self.account_id)
        if isinstance(found, evaluator.CredentialResolutionError):
            return None
        # Temporary credentials give no SMTP credentials.
        if found.principal_type != "User":
            return None
        if not is_smtp_password(password, found.secret_access_key, self.region):
            return None
        return Caller(user_name, str(found.principal_arn))

    def may_send(
        self, caller: Caller, identity_arn: str, sender: str, recipients: tuple[str, ...]
    ) -> str | None:
        """Return SES's refusal if the user's policies forbid ses:SendRawEmail, else None."""
        evaluator = environment.module("core.iam_evaluator")
        with environment.scope(self.account_id, self.region):
            principal: Any = evaluator.resolve_principal(caller.access_key_id, self.account_id)
            allowed = False
            if not isinstance(principal, evaluator.AuthError):
                context = evaluator.EvalContext(
                    principal_arn=principal.arn,
                    principal_type=principal.type,
                    principal_account=principal.account,
                    action="ses:SendRawEmail",
                    resource_arn=identity_arn,
                    region=self.region,
                    source_ip="127.0.0.1",
                    secure_transport=True,
                    service_context={
                        "ses:fromaddress": sender,
                        "ses:recipients": list(recipients),
                    },
                    principal_keys=principal.keys,
                )
                found = evaluator.evaluate(context, principal.policies, *principal.limits)
                allowed = found.decision == "Allow"
        if allowed:
            return None
        return (
            f"Access denied: User `{caller.arn}' is not authorized to perform"
            f" `ses:SendRawEmail' on resource `{identity_arn}'"
        )
