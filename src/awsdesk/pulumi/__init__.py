"""`pulumi up` for the desk: runs the program under Pulumi's runtime against an emulated AWS.

The program in `pulumi/` is run unchanged.  Its resources are made through boto3 by the table in
`awsdesk.pulumi.resources`; what was made is kept in a state file, so that a second
deployment with the same inputs makes no call, a changed resource is updated in place or replaced
as AWS's provider would, and one that the program no longer names is deleted.

Failures: `DeployError` with one line a problem.  What was made before it stays on record.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from botocore.exceptions import (  # pyright: ignore[reportMissingTypeStubs]
    BotoCoreError,
    ClientError,
)

from awsdesk.pulumi.invocations import look_up
from awsdesk.pulumi.resources.resource_type import Aws
from awsdesk.pulumi.state import StateError, StateFile

_PROGRAM_SUFFIXES = {".py", ".sh", ".yaml"}


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
        """Return whether nothing had to be done."""
        return not (self.created or self.updated or self.replaced or self.deleted)


def apply(  # noqa: PLR0913  one argument a fact of the deployment
    program: Path,
    stack: str,
    config: Mapping[str, object],
    state_file: Path,
    endpoint_url: str,
    credentials: Credentials,
    region: str,
    *,
    sources: Sequence[Path] = (),
    even_if_unchanged: bool = False,
) -> Deployment:
    """Deploy `program` as `stack` and say what that changed.

    A program, configuration and account that are those of the last deployment have nothing to
    change, so the program is not even run (that takes seconds) unless `even_if_unchanged`.

    Args:
        program: the directory that holds Pulumi.yaml and __main__.py.
        stack: the stack's name, which names derive from.
        config: the stack's configuration with full keys (`postal-plexus:domains`); values that
            are not strings are handed over as JSON, as Pulumi does.
        state_file: what was made before, and after this what is there now.
        endpoint_url: the emulator.
        credentials: its root's key.
        region: the AWS region to play.
        sources: packages that the program is made of, besides its own directory.
        even_if_unchanged: run the program in any case.

    Raises:
        DeployError: naming the resource, what AWS said and what to do.
    """
    request = {
        "program": str(program.resolve()),
        "stack": stack,
        "config": dict(config),
        "state_file": str(state_file.resolve()),
        "access_key_id": credentials.access_key_id,
        "secret_access_key": credentials.secret_access_key,
        "region": region,
    }
    fingerprint = fingerprint_of(program, request, sources)
    aws = Aws(endpoint_url, credentials.access_key_id, credentials.secret_access_key, region)
    if not even_if_unchanged and (same := _unchanged(state_file, fingerprint, aws)) is not None:
        return same
    # Bytecode of pulumi_aws is worth keeping: compiling it takes half of a deployment's time.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    child = subprocess.run(  # noqa: S603  our own interpreter and module
        [sys.executable, "-m", __name__],
        input=json.dumps({**request, "endpoint_url": endpoint_url, "fingerprint": fingerprint}),
        env=environment,
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


def unprotect(state_file: Path, urn: str) -> None:
    """As `pulumi state unprotect`: a protected resource may be deleted by the next deployment.

    Raises:
        KeyError: when nothing with this URN is on record.
    """
    StateFile(state_file).unprotect(urn)


def _unchanged(state_file: Path, fingerprint: str, aws: Aws) -> Deployment | None:
    """What the last deployment gave, if it was made from the same and still sees the same."""
    try:
        state = StateFile(state_file)
    except StateError as error:
        raise DeployError((str(error),)) from error
    if state.fingerprint != fingerprint:
        return None
    try:
        seen = [look_up(aws, token, arguments) for token, arguments, _ in state.lookups]
    except (BotoCoreError, ClientError):
        return None  # the deployment itself says best what is wrong
    if seen != [answer for _, _, answer in state.lookups]:
        return None
    custom = (
        entry.urn
        for entry in state.resources.values()
        if entry.custom and not entry.type.startswith("pulumi:providers:")
    )
    return Deployment(outputs=state.stack_outputs, same=tuple(custom))


def fingerprint_of(
    program: Path, request: Mapping[str, object], packages: Sequence[Path] = ()
) -> str:
    """A hash of all that a deployment is made from: request, program, its packages, Pulumi's.

    Raises:
        FileNotFoundError: a package is not there; its changes would not be seen.
    """
    digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode())
    sources = [
        path
        for path in program.rglob("*")
        # `pulumi` keeps its virtual environment beside the program.
        if path.suffix in _PROGRAM_SUFFIXES and "venv" not in path.relative_to(program).parts
    ]
    for package in (*packages, Path(__file__).parent):
        if not package.is_dir():
            raise FileNotFoundError(f"{package}, which the program is made of, is not there")
        sources += package.rglob("*.py")
    for path in sorted(sources):
        digest.update(f"\0{path}\0".encode() + path.read_bytes())
    for distribution in ("pulumi", "pulumi-aws", "boto3"):
        digest.update(f"\0{distribution} {version(distribution)}".encode())
    return digest.hexdigest()
