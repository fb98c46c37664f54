"""A whole emulated AWS account of a test's own: ministack in a process, evaluating policies."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import boto3

REGION = "us-east-1"


@dataclass(frozen=True)
class AwsAccount:
    """Where the account answers; the default keys are the account's own (root)."""

    endpoint_url: str
    root: Mapping[str, str] = field(
        default_factory=lambda: {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    )

    def client(self, service: str, **keys: str):
        """Return a boto3 client, by default with the root key."""
        return boto3.client(
            service, region_name=REGION, endpoint_url=self.endpoint_url, **(keys or self.root)
        )

    def assume(self, role_arn: str) -> dict[str, str]:
        """Return the keys of a session of the role, as boto3 takes them."""
        found = self.client("sts").assume_role(RoleArn=role_arn, RoleSessionName="test")
        credentials = found["Credentials"]
        return {
            "aws_access_key_id": credentials["AccessKeyId"],
            "aws_secret_access_key": credentials["SecretAccessKey"],
            "aws_session_token": credentials["SessionToken"],
        }


@contextmanager
def aws_account(directory: Path, *, bind: str = "127.0.0.1") -> Iterator[AwsAccount]:
    """Run the emulator for the time of the block; what it prints is in `directory`."""
    with socket.socket() as probe:
        probe.bind((bind, 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "AUTH": "true",
        "BIND_HOST": bind,
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": REGION,
        "S3_DATA_DIR": str(directory / "s3"),
        "LOG_LEVEL": "WARNING",
    }
    with (directory / "ministack.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ministack"],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        endpoint = f"http://{bind}:{port}"
        _await_health(endpoint, process)
        yield AwsAccount(endpoint)
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_health(endpoint: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"{endpoint}/_ministack/health", timeout=5):
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
