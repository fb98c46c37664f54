"""Roles that AWS services assume: credentials of a role that trusts the service, as for ECS tasks.

ministack's AssumeRole lets its root assume any role that trusts any service, and does not know
`aws:SourceAccount`. Here the trust policy is evaluated for the service itself, with the resource
for which it acts (ECS: the task) as `aws:SourceArn`, before ministack's session store gets
credentials.
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from awsdesk.ministack_patches import environment, private

if TYPE_CHECKING:
    from collections.abc import Mapping

TASKS_SERVICE = "ecs-tasks.amazonaws.com"


class RoleRefusedError(Exception):
    """The role does not exist or does not trust the service for this source."""


@dataclass(frozen=True)
class TemporaryCredentials:
    """Credentials of an assumed role; `expires_at` in seconds since the epoch."""

    role_arn: str
    access_key_id: str
    secret_access_key: str
    token: str
    expires_at: float

    def document(self) -> dict[str, str]:
        """Return the document of the container credentials endpoint."""
        ends = datetime.fromtimestamp(self.expires_at, UTC)
        return {
            "RoleArn": self.role_arn,
            "AccessKeyId": self.access_key_id,
            "SecretAccessKey": self.secret_access_key,
            "Token": self.token,
            "Expiration": f"{ends:%Y-%m-%dT%H:%M:%SZ}",
        }


@dataclass(frozen=True)
class Roles:
    """The roles of one account."""

    account_id: str
    region: str

    def for_task(self, role_arn: str, task_arn: str, seconds: int) -> TemporaryCredentials:
        """Return credentials of a role for a task.

        Raises:
            RoleRefusedError: no such role, or its trust policy says no.
        """
        return self.for_service(
            TASKS_SERVICE, role_arn, task_arn, task_arn.rpartition("/")[2], seconds
        )

    def for_service(
        self, service: str, role_arn: str, source_arn: str, session_name: str, seconds: int
    ) -> TemporaryCredentials:
        """Return credentials of a role for a service that acts for `source_arn`.

        Raises:
            RoleRefusedError: no such role, or its trust policy says no.
        """
        name = role_arn.rpartition("/")[2]
        with environment.scope(self.account_id, self.region):
            role: Any = private.IAM.roles.get(name)
            if role is None:
                raise RoleRefusedError(f"no such role: {role_arn}")
            if not self._trusts(role.get("AssumeRolePolicyDocument"), service, source_arn):
                raise RoleRefusedError(
                    f"the trust policy of {role_arn} does not let {service} assume it"
                    f" for {source_arn}"
                )
            credentials = TemporaryCredentials(
                role_arn=role_arn,
                access_key_id=f"ASIA{secrets.token_hex(8).upper()}",
                secret_access_key=secrets.token_urlsafe(30),
                token=secrets.token_urlsafe(96),
                expires_at=time.time() + seconds,
            )
            environment.module("services.sts").register_session(
                credentials.access_key_id,
                {
                    "Arn": f"arn:aws:sts::{self.account_id}:assumed-role/{name}/{session_name}",
                    "UserId": f"{role.get('RoleId', name)}:{session_name}",
                    "SecretAccessKey": credentials.secret_access_key,
                    "SessionToken": credentials.token,
                    "Expiration": credentials.expires_at,
                    "AccountId": self.account_id,
                    "PrincipalType": "AssumedRole",
                },
            )
        return credentials

    def may(
        self,
        credentials: TemporaryCredentials,
        action: str,
        resource: str,
        keys: Mapping[str, str] | None = None,
    ) -> bool:
        """Return whether these credentials permit an action; `keys` are the condition keys."""
        evaluator = environment.module("core.iam_evaluator")
        with environment.scope(self.account_id, self.region):
            principal: Any = evaluator.resolve_principal(credentials.access_key_id, self.account_id)
            if isinstance(principal, evaluator.AuthError):
                return False
            context = evaluator.EvalContext(
                principal_arn=principal.arn,
                principal_type=principal.type,
                principal_account=principal.account,
                action=action,
                resource_arn=resource,
                region=self.region,
                secure_transport=True,
                service_context={key.lower(): value for key, value in (keys or {}).items()},
                principal_keys=principal.keys,
            )
            found = evaluator.evaluate(context, principal.policies, *principal.limits)
        return found.decision == "Allow"

    def _trusts(self, document: Any, service: str, source_arn: str) -> bool:
        policy = cast("dict[str, Any]", json.loads(document) if isinstance(document, str) else {})
        given: Any = policy.get("Statement", [])
        statements = cast("list[dict[str, Any]]", given if isinstance(given, list) else [given])
        # A trust policy has no Resource; the evaluator requires one.
        asked = {"Statement": [{**one, "Resource": "*"} for one in statements]}
        evaluator = environment.module("core.iam_evaluator")
        context = evaluator.EvalContext(
            principal_arn="*",
            principal_type="Service",
            principal_account="",
            action="sts:AssumeRole",
            resource_arn="*",
            region=self.region,
            service_context={
                "aws:sourceaccount": self.account_id,
                "aws:sourcearn": source_arn,
            },
        )
        decision = evaluator.evaluate_resource_policy(asked, context, service=service)
        return decision.decision == "Allow"
