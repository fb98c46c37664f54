"""Task credentials: each container can fetch those of its own role, with its own token.

A container requests `AWS_CONTAINER_CREDENTIALS_FULL_URI` with the token in `Authorization`
(https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html). Credentials
are renewed at half of their lifetime, so a client that renews always gets valid ones.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from awsdesk.ministack_patches.roles import RoleRefusedError

if TYPE_CHECKING:
    from awsdesk.ministack_patches.roles import Roles, TemporaryCredentials

log = logging.getLogger(__name__)


@dataclass
class _Grant:
    token: str
    role_arn: str
    task_arn: str
    current: TemporaryCredentials | None = field(default=None)


class TaskCredentials:
    """The grants of the running tasks (`application.CredentialsSource`)."""

    def __init__(self, roles: Roles, seconds: int) -> None:
        self._roles = roles
        self._seconds = seconds
        self._grants: dict[str, _Grant] = {}

    def grant(self, task: str, role_arn: str, task_arn: str, token: str | None = None) -> str:
        """Let a task fetch a role's credentials. Return its token.

        For a container that an earlier daemon started, pass the token that it was started with.
        """
        token = token or secrets.token_urlsafe(32)
        self._grants[task] = _Grant(token, role_arn, task_arn)
        return token

    def revoke(self, task: str) -> None:
        """Revoke a task's token."""
        self._grants.pop(task, None)

    async def credentials(self, task: str, token: str) -> dict[str, str] | None:
        """Return the credentials for a container's request."""
        grant = self._grants.get(task)
        if grant is None or not hmac.compare_digest(grant.token.encode(), token.encode()):
            return None
        if grant.current is None or grant.current.expires_at - time.time() < self._seconds / 2:
            try:
                grant.current = self._roles.for_task(grant.role_arn, grant.task_arn, self._seconds)
            except RoleRefusedError as error:
                log.error("agent.credentials_refused task=%s reason=%s", task, error)  # noqa: TRY400
                return None
        return grant.current.document()
