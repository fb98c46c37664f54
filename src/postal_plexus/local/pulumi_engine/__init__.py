"""`pulumi up` for the desk: runs the program under Pulumi's runtime against an emulated AWS.

The program in `pulumi/` is run unchanged.  Its resources are made through boto3 by the table in
`postal_plexus.local.resources`; what was made is kept in a state file, so that a second
deployment with the same inputs makes no call, a changed resource is updated in place or replaced
as AWS's provider would, and one that the program no longer names is deleted.

Failures: `DeployError` with one line a problem.  What was made before it stays on record.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class DeployError(Exception):
    """The deployment did not end well; `problems` says why, a line each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Credentials:
    """An access key of the emulated account's root."""

    access_key_id: str
    secret_access_key: str


@dataclass(frozen=True)
class Deployment:
    """What a deployment gave: the stack's outputs, and which URNs it changed how."""

    outputs: Mapping[str, object]
    created: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    same: tuple[str, ...] = ()

    @property
    def is_unchanged(self) -> bool:
        """Whether nothing had to be done."""
        return not (self.created or self.updated or self.replaced or self.deleted)


def apply(
    program: Path,
    stack: str,
    config: Mapping[str, object],
    state_file: Path,
    endpoint_url: str,
    credentials: Credentials,
    region: str,
) -> Deployment:
    """Deploy `program` as `stack` and say what that changed.

    Args:
        program: the directory that holds Pulumi.yaml and __main__.py.
        stack: the stack's name, which names derive from.
        config: the stack's configuration with full keys (`postal-plexus:domains`); values that
            are not strings are handed over as JSON, as Pulumi does.
        state_file: what was made before, and after this what is there now.
        endpoint_url: the emulator.
        credentials: its root's key.
        region: the AWS region to play.

    Raises:
        DeployError: naming the resource, what AWS said and what to do.
    """
    request = {
        "program": str(program.resolve()),
        "stack": stack,
        "config": dict(config),
        "state_file": str(state_file.resolve()),
        "endpoint_url": endpoint_url,
        "access_key_id": credentials.access_key_id,
        "secret_access_key": credentials.secret_access_key,
        "region": region,
    }
    child = subprocess.run(  # noqa: S603  our own interpreter and module
        [sys.executable, "-m", __name__],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        result = json.loads(child.stdout)
    except ValueError as error:
        last_words = child.stderr.strip() or f"exit status {child.returncode}"
        raise DeployError((f"the deployment died: {last_words}",)) from error
    if result["problems"]:
        raise DeployError(tuple(result["problems"]))
    changes = {kind: tuple(urns) for kind, urns in result["changes"].items()}
    return Deployment(outputs=result["outputs"], **changes)


def deploy(
    program: Path,
    stack: str,
    config: Mapping[str, object],
    state_file: Path,
    endpoint_url: str,
    credentials: Credentials,
    region: str,
) -> Mapping[str, object]:
    """As `apply`, returning the stack's outputs alone."""
    return apply(program, stack, config, state_file, endpoint_url, credentials, region).outputs
