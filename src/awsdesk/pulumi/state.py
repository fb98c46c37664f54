"""The resources of earlier deployments on the desk: one JSON file, like Pulumi's checkpoint.

The file contains inputs and outputs in clear text, including secrets (the SMTP password of an
emulated account, password hashes of a desk). It has mode 0600, in the desk's own directory, and its
secrets are valid only on that desk.  It is replaced atomically after every change, so that a
deployment that is killed leaves a record of what it created.

Failures: `StateError` if the file cannot be parsed; OSError if it cannot be written.
"""

import dataclasses
import json
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from awsdesk import files

_VERSION = 1


class StateError(Exception):
    """This version cannot read the state file."""


@dataclass(frozen=True)
class Resource:
    """One created resource: `inputs` are the program's; `outputs` include them."""

    urn: str
    type: str
    name: str
    id: str
    custom: bool
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    parent: str = ""
    provider: str = ""
    dependencies: tuple[str, ...] = ()
    protect: bool = False
    retain_on_delete: bool = False


@dataclass
class State:
    """The resources by URN, in the order of their creation, and what replacement left."""

    resources: dict[str, Resource] = field(default_factory=dict[str, Resource])
    # Replaced and not yet deleted: after an interruption, the next deployment deletes them.
    replaced: list[Resource] = field(default_factory=list[Resource])
    # The fingerprint of the last successful deployment, and the stack's outputs then.
    fingerprint: str = ""
    stack_outputs: dict[str, Any] = field(default_factory=dict[str, Any])
    # The program's lookups then: [token, arguments, answer].
    lookups: list[list[Any]] = field(default_factory=list[list[Any]])


def _resource(entry: dict[str, Any]) -> Resource:
    fields: dict[str, Any] = dict(entry)
    fields["dependencies"] = tuple(entry["dependencies"])
    return Resource(**fields)


class StateFile:
    """The state in memory and in its file; every change is written before it returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._state = self._read()
        # By URN, as encoded for the file: each change writes all, of which one has changed.
        self._written: dict[str, tuple[Resource, str]] = {}

    def _read(self) -> State:
        try:
            text = self._path.read_text()
        except FileNotFoundError:
            return State()
        try:
            content = json.loads(text)
            if content["version"] != _VERSION:
                raise StateError(
                    f"{self._path}: version {content['version']}, this program writes {_VERSION}; "
                    "remove the desk and start anew"
                )
            return State(
                {entry["urn"]: _resource(entry) for entry in content["resources"]},
                [_resource(entry) for entry in content["replaced"]],
                content["fingerprint"],
                content["stack_outputs"],
                content["lookups"],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise StateError(
                f"{self._path} is not a desk's state file ({error}); remove the desk and start anew"
            ) from error

    @property
    def resources(self) -> dict[str, Resource]:
        """A copy of the recorded resources."""
        with self._lock:
            return dict(self._state.resources)

    @property
    def replaced(self) -> list[Resource]:
        """Resources that have a successor and are not deleted yet."""
        with self._lock:
            return list(self._state.replaced)

    @property
    def stack_outputs(self) -> dict[str, Any]:
        """The stack's outputs of the last successful deployment."""
        return dict(self._state.stack_outputs)

    @property
    def fingerprint(self) -> str:
        """That deployment's fingerprint; empty if there was none."""
        return self._state.fingerprint

    @property
    def lookups(self) -> list[list[Any]]:
        """The lookups of that deployment's program: [token, arguments, answer]."""
        return list(self._state.lookups)

    def begin(self) -> None:
        """Note that a deployment has begun and is unfinished."""
        with self._lock:
            self._state.fingerprint = ""

    def end(
        self, fingerprint: str, stack_outputs: dict[str, Any], lookups: list[list[Any]]
    ) -> None:
        """Record a successful deployment with its fingerprint and lookups."""
        with self._lock:
            self._state.fingerprint = fingerprint
            self._state.lookups = lookups
            self._state.stack_outputs = stack_outputs
            self._write()

    def find(self, urns: tuple[str, ...]) -> Resource | None:
        """Return the first of `urns` (a URN and its aliases) that is recorded."""
        with self._lock:
            return next(
                (self._state.resources[u] for u in urns if u in self._state.resources), None
            )

    def put(self, resource: Resource, *, instead_of: Resource | None = None) -> None:
        """Record `resource`, in place of a predecessor under another URN (an alias)."""
        with self._lock:
            if instead_of is not None and instead_of.urn != resource.urn:
                self._state.resources.pop(instead_of.urn, None)
            before = self._state.resources.get(resource.urn)
            if before == resource:
                return
            self._state.resources[resource.urn] = resource
            self._write()

    def unprotect(self, urn: str) -> None:
        """Permit deletion of a resource once the program no longer contains it.

        Raises:
            KeyError: there is no such resource.
        """
        with self._lock:
            freed = dataclasses.replace(self._state.resources[urn], protect=False)
            self._state.resources[urn] = freed
            self._write()

    def replace(self, old: Resource, new: Resource) -> None:
        """Record `new` and keep `old` for deletion."""
        with self._lock:
            self._state.resources.pop(old.urn, None)
            self._state.resources[new.urn] = new
            self._state.replaced.append(old)
            self._write()

    def forget(self, resource: Resource) -> None:
        """Remove a deleted resource from the record."""
        with self._lock:
            if self._state.resources.get(resource.urn) == resource:
                del self._state.resources[resource.urn]
            self._state.replaced = [kept for kept in self._state.replaced if kept != resource]
            self._write()

    def _write(self) -> None:
        rest = {
            "replaced": [dataclasses.asdict(entry) for entry in self._state.replaced],
            "fingerprint": self._state.fingerprint,
            "stack_outputs": self._state.stack_outputs,
            "lookups": self._state.lookups,
        }
        resources = ", ".join(map(self._text, self._state.resources.values()))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        head = f'{{"version": {_VERSION}, "resources": [{resources}], '
        # Without indentation: only then json uses its C encoder.
        text = head + json.dumps(rest)[1:]
        files.replace(self._path, text.encode(), durable=False)

    def _text(self, resource: Resource) -> str:
        written = self._written.get(resource.urn)
        if written is None or written[0] is not resource:
            written = resource, json.dumps(dataclasses.asdict(resource))
            self._written[resource.urn] = written
        return written[1]
