"""`pulumi up` for the desk: run the program under Pulumi's runtime against an emulated AWS.

The program in `pulumi/` runs unchanged.  The table in `awsdesk.pulumi.resources` creates its
resources through boto3 and records them in a state file. So a second deployment with the same
inputs makes no call, a changed resource is updated in place or replaced as by AWS's provider, and
one that the program no longer contains is deleted.

Failures: `DeployError` with one line per problem.  Resources created before it stay recorded.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from botocore.exceptions import (  # pyright: ignore[reportMissingTypeStubs]
    BotoCoreError,
    ClientError,
)

from awsdesk.pulumi.invocations import look_up
from awsdesk.pulumi.process import DiedError, ProgramProcess
from awsdesk.pulumi.resources.resource_type import Aws
from awsdesk.pulumi.state import StateError, StateFile

_PROGRAMS = ProgramProcess()
_PROGRAM_SUFFIXES = {".py", ".sh", ".yaml"}


class DeployError(Exception):
    """The deployment failed; `problems` contains the reasons, one line each."""

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
    """The result of a deployment: the stack's outputs, and how it changed which URNs."""

    outputs: Mapping[str, object]
    created: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    same: tuple[str, ...] = ()

    @property
    def is_unchanged(self) -> bool:
        """Whether nothing had to be changed."""
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
    subnet: str = "",
    sources: Sequence[Path] = (),
    even_if_unchanged: bool = False,
) -> Deployment:
    """Deploy `program` as `stack` and return what changed.

    If program, configuration and account are those of the last deployment, nothing can have
    changed, so the program does not run (which takes seconds) unless `even_if_unchanged` is set.

    Args:
        program: the directory with Pulumi.yaml and __main__.py.
        stack: the stack's name, which names derive from.
        config: the stack's configuration with full keys (`postal-plexus:domains`); values that
            are not strings are passed as JSON, as by Pulumi.
        state_file: the resources before, and afterwards those that exist now.
        endpoint_url: the emulator.
        credentials: its root's key.
        region: the AWS region to emulate.
        subnet: the containers' network, in which hosts get their private addresses.
        sources: the program's packages outside its own directory.
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
        "subnet": subnet,
    }
    fingerprint = fingerprint_of(program, request, sources)
    aws = Aws(endpoint_url, credentials.access_key_id, credentials.secret_access_key, region)
    if not even_if_unchanged and (same := _unchanged(state_file, fingerprint, aws)) is not None:
        return same
    try:
        result = _PROGRAMS.run(
            {**request, "endpoint_url": endpoint_url, "fingerprint": fingerprint}
        )
    except DiedError as error:
        raise DeployError((f"the deployment died: {error}",)) from error
    if result["problems"]:
        raise DeployError(tuple(result["problems"]))
    changes = {kind: tuple(urns) for kind, urns in result["changes"].items()}
    return Deployment(outputs=result["outputs"], **changes)


def unprotect(state_file: Path, urn: str) -> None:
    """Unprotect a resource, as `pulumi state unprotect` does: the next deployment may delete it.

    Raises:
        KeyError: no resource with this URN is recorded.
    """
    StateFile(state_file).unprotect(urn)


def _unchanged(state_file: Path, fingerprint: str, aws: Aws) -> Deployment | None:
    """Return the last deployment's result, if its sources and lookups are unchanged."""
    try:
        state = StateFile(state_file)
    except StateError as error:
        raise DeployError((str(error),)) from error
    if state.fingerprint != fingerprint:
        return None
    try:
        seen = [look_up(aws, token, arguments) for token, arguments, _ in state.lookups]
    except (BotoCoreError, ClientError):
        return None  # the deployment itself reports the error best
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
    """Return a hash of a deployment's sources: request, program, its packages, Pulumi's.

    Raises:
        FileNotFoundError: a package is missing, so its changes would go unnoticed.
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
