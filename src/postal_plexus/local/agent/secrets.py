"""What a task definition's `secrets` name, fetched as ECS does: by the task's execution role.

SSM parameters only (by name or ARN); the desk's Secrets Manager is not asked.
Raises `SecretError` with what AWS said, or which parameter is missing.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from postal_plexus.local.emulator.roles import TemporaryCredentials


class SecretError(Exception):
    """A secret cannot be had."""


@dataclass(frozen=True)
class SecretSource:
    """SSM of the emulated account."""

    endpoint_url: str
    region: str

    def fetch(
        self, secrets: tuple[tuple[str, str], ...], credentials: TemporaryCredentials
    ) -> dict[str, str]:
        """Give the value of each secret by the name of its variable. Blocks.

        Raises:
            SecretError: the role may not read one, or there is none.
        """
        for name, source in secrets:
            if ":secretsmanager:" in source:
                raise SecretError(f"{name}: the desk serves SSM parameters only, not {source}")
        # Untyped, 0.3 s to import, and only needed where there are secrets.
        session: Any = importlib.import_module("boto3.session").Session()
        exceptions: Any = importlib.import_module("botocore.exceptions")
        client = session.client(
            "ssm",
            endpoint_url=self.endpoint_url,
            region_name=self.region,
            aws_access_key_id=credentials.access_key_id,
            aws_secret_access_key=credentials.secret_access_key,
            aws_session_token=credentials.token,
        )
        asked = {source.partition(":parameter")[2] or source: name for name, source in secrets}
        try:
            # The call that ECS makes, and that execution roles allow.
            answer = client.get_parameters(Names=list(asked), WithDecryption=True)
        except (exceptions.ClientError, exceptions.BotoCoreError) as error:
            raise SecretError(f"{', '.join(asked.values())}: {error}") from error
        if answer["InvalidParameters"]:
            raise SecretError(f"no such SSM parameters: {', '.join(answer['InvalidParameters'])}")
        values = {one["Name"]: one["Value"] for one in answer["Parameters"]}
        sources = {name: source.partition(":parameter")[2] or source for name, source in secrets}
        return {name: values[parameter] for name, parameter in sources.items()}
