"""Read SSM parameters as ECS does for a task: with its execution role, one check per parameter.

ministack checks GetParameters on `*` instead of each parameter, so it refuses a role that may read
only two parameters. Here the role's policies are evaluated first, then ministack's handler is
called.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from awsdesk.ministack_patches import environment
from awsdesk.ministack_patches.roles import Roles

if TYPE_CHECKING:
    from awsdesk.ministack_patches.roles import TemporaryCredentials


class SecretError(Exception):
    """A secret cannot be read."""


@dataclass(frozen=True)
class Parameters:
    """SSM in one account and region."""

    account_id: str
    region: str

    async def fetch(
        self, secrets: tuple[tuple[str, str], ...], credentials: TemporaryCredentials
    ) -> dict[str, str]:
        """Return the value of each secret (variable, parameter's name or ARN) by its variable.

        Raises:
            SecretError: the role may not read one, or one does not exist.
        """
        for variable, source in secrets:
            if ":secretsmanager:" in source:
                raise SecretError(f"{variable}: the desk serves SSM parameters only, not {source}")
        names = {variable: _name(source) for variable, source in secrets}
        roles = Roles(self.account_id, self.region)
        for variable, name in names.items():
            if not roles.may(credentials, "ssm:GetParameters", self._arn(name)):
                raise SecretError(
                    f"{variable}: {credentials.role_arn} is not authorized to perform"
                    f" ssm:GetParameters on {self._arn(name)}"
                )
        body = json.dumps({"Names": sorted(set(names.values())), "WithDecryption": True}).encode()
        with environment.scope(self.account_id, self.region):
            status, _, answer = await environment.module("services.ssm").handle_request(
                "POST", "/", {"x-amz-target": "AmazonSSM.GetParameters"}, body, {}
            )
        found = cast("dict[str, Any]", json.loads(answer))
        if status != 200 or found.get("InvalidParameters"):
            raise SecretError(f"no such SSM parameters: {found.get('InvalidParameters', found)}")
        values = {str(one["Name"]): str(one["Value"]) for one in found["Parameters"]}
        return {variable: values[name] for variable, name in names.items()}

    def _arn(self, name: str) -> str:
        return f"arn:aws:ssm:{self.region}:{self.account_id}:parameter/{name.lstrip('/')}"


def _name(source: str) -> str:
    return source.partition(":parameter")[2] or source
