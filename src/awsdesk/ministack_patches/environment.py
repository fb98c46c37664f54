"""ministack's settings. It reads them from the environment once per process, when it is imported.

Therefore call `configure` before anything else of this package; a process serves one desk.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path


@dataclass(frozen=True)
class EmulatorSettings:
    """The account's id and keys, and the directory of its state."""

    directory: Path
    port: int
    account_id: str
    region: str
    root_key_id: str
    root_secret: str


def configure(settings: EmulatorSettings) -> None:
    """Set the environment that ministack reads on import."""
    settings.directory.mkdir(parents=True, exist_ok=True)
    os.environ.update(
        {
            # IAM, bucket, queue and topic policies are evaluated; signatures are checked.
            "AUTH": "true",
            "PERSIST_STATE": "1",
            "STATE_DIR": str(settings.directory / "state"),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(settings.directory / "s3"),
            "MINISTACK_ACCOUNT_ID": settings.account_id,
            "MINISTACK_REGION": settings.region,
            "GATEWAY_PORT": str(settings.port),
            # Its root user's key.
            "AWS_ACCESS_KEY_ID": settings.root_key_id,
            "AWS_SECRET_ACCESS_KEY": settings.root_secret,
            # Listeners and containers of its own that a mail system does not need.
            "SFTP_ENABLED": "0",
            "IOT_MTLS_ENABLED": "0",
            "DOCKER_HOST": "unix:///nonexistent/docker.sock",
            "LOG_LEVEL": "WARNING",
        }
    )
    for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE", "MINISTACK_HOST", "SERVICES"):
        os.environ.pop(name, None)


def module(name: str) -> Any:
    """Return a module of ministack (`services.ses`); it is untyped, so callers convert values."""
    return importlib.import_module(f"ministack.{name}")


def scope(account_id: str, region: str) -> AbstractContextManager[None]:
    """Act in an account and region, by which ministack's stores are divided."""
    return module("core.responses").request_scope(account_id, region)
