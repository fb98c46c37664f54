"""The resource monitor that the program talks to instead of Pulumi's engine.

For each registration it does what the engine and the AWS provider would do: create what is new, do
nothing for what is unchanged, update in place or replace what has changed, and at the end delete
what the program no longer contains.  Deletion comes last, in reverse order of creation, and only if
the program ran to its end, so that a broken program destroys nothing.

`protect` forbids deletion and replacement; `retain_on_delete` forgets a resource without deleting
it.

Failures: `ResourceError`, naming the resource, what AWS said and what to do.
"""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from botocore.exceptions import (  # pyright: ignore[reportMissingTypeStubs]
    BotoCoreError,
    ClientError,
)
from google.protobuf import empty_pb2
from pulumi.runtime import mocks, rpc
from pulumi.runtime.proto import provider_pb2, resource_pb2
from pulumi.runtime.settings import get_project, get_stack
from pulumi.runtime.sync_await import _ensure_event_loop, _sync_await  # pyright: ignore[reportPrivateUsage]

from awsdesk import naming
from awsdesk.pulumi import resources
from awsdesk.pulumi.invocations import look_up
from awsdesk.pulumi.resources.resource_type import Aws, Existing, ResourceType
from awsdesk.pulumi.state import Resource, StateFile

_STACK = "pulumi:pulumi:Stack"
_PROVIDERS = "pulumi:providers:"

# The remedy for an error, by AWS's code for it.
_REMEDIES = {
    "AccessDenied": "the emulator refused: is it running with this desk's credentials?",
    "BucketAlreadyExists": "another bucket has this name: rename the stack",
    "EntityAlreadyExists": "left over from a deployment that was not recorded: remove the desk",
    "AlreadyExists": "left over from a deployment that was not recorded: remove the desk",
    "BucketNotEmpty": "the bucket still holds objects: empty it first",
    "NoSuchEntity": "the emulator has lost what the state file records: remove the desk",
    "InvalidAction": "the emulator does not know this call: add it to the desk's AWS layer",
}


class ResourceError(Exception):
    """A resource could not be created, changed or deleted."""


def resource_error(what: str, resource_type: str, name: str, error: Exception) -> ResourceError:
    """Return the error with the resource's name, AWS's code and the remedy."""
    subject = f"{what} {resource_type} {name!r}"
    if isinstance(error, ClientError):
        said = cast("dict[str, dict[str, str]]", cast("Any", error).response).get("Error", {})
        code = said.get("Code", "unknown")
        operation = cast("Any", error).operation_name
        remedy = _REMEDIES.get(code, "see the resource's arguments in pulumi/")
        return ResourceError(
            f"{subject}: {operation}: {code}: {said.get('Message', '')} ({remedy})"
        )
    if isinstance(error, BotoCoreError):
        return ResourceError(
            f"{subject}: {error} (is the desk's AWS running? `{naming.COMMAND} up`)"
        )
    if isinstance(error, KeyError):
        return ResourceError(f"{subject}: the program leaves out {error}")
    return ResourceError(f"{subject}: {error}")


@dataclass
class Changes:
    """What a deployment did, by URN; `calls` is empty when nothing had changed."""

    created: list[str] = field(default_factory=list[str])
    updated: list[str] = field(default_factory=list[str])
    replaced: list[str] = field(default_factory=list[str])
    deleted: list[str] = field(default_factory=list[str])
    same: list[str] = field(default_factory=list[str])


class DeployingMonitor(mocks.MockMonitor):
    """Applies registrations to `aws` and keeps `state`."""

    def __init__(self, aws: Aws, state: StateFile) -> None:
        super().__init__(_NoMocks())
        self.changes = Changes()
        self.outputs: dict[str, Any] = {}
        self.lookups: list[list[Any]] = []
        self._aws = aws
        self._state = state
        self._lock = threading.Lock()
        self._seen: dict[str, Resource | None] = {}
        self._order: list[str] = []

    @property
    def features(self) -> set[int]:
        """Return the monitor's features: those of Pulumi's own mock monitor."""
        offered: Any = cast("Any", self).GetDeploymentInfo(empty_pb2.Empty())
        return set(offered.supportedFeatures)

    # Pulumi's names, as its SDK calls them.

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        """Return the URN as the engine forms it: all types but the stack's, joined by `$`."""
        if parent:
            ancestry = parent.split("::")[2]
            if ancestry != _STACK:
                type_ = f"{ancestry}${type_}"
        return "urn:pulumi:" + "::".join([get_stack(), get_project(), type_, name])

    def Invoke(self, request: Any) -> Any:  # noqa: N802
        """Answer a lookup (`aws.get_caller_identity` and the like) from the emulator."""
        _ensure_event_loop()
        arguments = rpc.deserialize_properties(request.args)
        try:
            answer = look_up(self._aws, request.tok, arguments)
        except (ClientError, BotoCoreError) as error:
            raise resource_error("looking up", request.tok, "", error) from error
        with self._lock:
            self.lookups.append([request.tok, arguments, answer])
        if isinstance(answer, str):
            # The program can catch a failure in the answer, but not an exception here.
            failure = provider_pb2.CheckFailure(property=request.tok, reason=answer)
            return resource_pb2.ResourceInvokeResponse(failures=[failure])
        # `return` is the field's name, and a word of Python's.
        fields: dict[str, Any] = {"return": _sync_await(rpc.serialize_properties(answer, {}))}
        return resource_pb2.ResourceInvokeResponse(**fields)

    def ReadResource(self, request: Any) -> Any:  # noqa: N802
        """Refuse: the program adopts no existing resources."""
        raise ResourceError(f"{request.type} {request.name!r}: the desk reads no foreign resources")

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802
        """Create, update, replace or leave one resource."""
        _ensure_event_loop()
        urn = self.make_urn(request.parent, request.type, request.name)
        with self._lock:
            if urn in self._seen:
                raise ResourceError(f"two resources are called {urn}: each needs a name of its own")
            self._seen[urn] = None
        made = self._apply(urn, request)
        secret = {key for key, value in _given(request).items() if rpc.is_rpc_secret(value)}
        secret |= set(request.additionalSecretOutputs)
        outputs = {
            key: rpc.wrap_rpc_secret(value) if key in secret else value
            for key, value in made.outputs.items()
        }
        with self._lock:
            self._seen[urn] = made
            self._order.append(urn)
        answer = _sync_await(rpc.serialize_properties(outputs, {}))
        return resource_pb2.RegisterResourceResponse(
            urn=urn, id=made.id if made.custom else "", object=answer
        )

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802
        """Keep the stack's outputs."""
        if request.urn.split("::")[2] == _STACK:
            given = _with_whole_numbers(rpc.deserialize_properties(request.outputs))
            self.outputs = {
                key: rpc.unwrap_rpc_secret(value) if rpc.is_rpc_secret(value) else value
                for key, value in given.items()
            }
        return empty_pb2.Empty()

    # The engine's work.

    def _apply(self, urn: str, request: Any) -> Resource:
        inputs = {
            key: rpc.unwrap_rpc_secret(value) if rpc.is_rpc_secret(value) else value
            for key, value in _given(request).items()
        }
        aliases = (urn, *self._aliases(request))
        old = self._state.find(aliases)
        wanted = Resource(
            urn=urn,
            type=request.type,
            name=request.name,
            id="",
            custom=request.custom,
            inputs=inputs,
            outputs=inputs,
            parent=request.parent,
            provider=request.provider,
            dependencies=tuple(sorted(request.dependencies)),
            protect=request.protect,
            retain_on_delete=request.retainOnDelete,
        )
        if not request.custom or request.type == _STACK:
            self._state.put(wanted, instead_of=old)
            return wanted
        if request.type.startswith(_PROVIDERS):
            provider = replace(wanted, id=request.type.removeprefix(_PROVIDERS))
            self._state.put(provider, instead_of=old)
            return provider
        return self._apply_custom(wanted, old, request)

    def _apply_custom(self, wanted: Resource, old: Resource | None, request: Any) -> Resource:
        try:
            kind = resources.find(wanted.type)
            wanted = self._with_default_tags(wanted, kind)
            kind.check(wanted.inputs)
            if old is None:
                return self._create(kind, wanted)
            if kind.lacking is not None:
                known = Existing(old.id, old.inputs, old.outputs)
                lacking = kind.lacking(self._aws, wanted.name, known)
                old = replace(old, outputs={**lacking, **old.outputs})
            changed = _changed(old.inputs, wanted.inputs) - set(request.ignoreChanges)
            if not changed:
                kept = replace(wanted, id=old.id, inputs=old.inputs, outputs=old.outputs)
                self._state.put(kept, instead_of=old)
                self.changes.same.append(wanted.urn)
                return kept
            if kind.update is None or changed & (kind.replaces | set(request.replaceOnChanges)):
                return self._replace(kind, wanted, old, request)
            outputs = kind.update(
                self._aws, Existing(old.id, old.inputs, old.outputs), wanted.inputs
            )
        except (resources.UnknownResourceTypeError, ResourceError):
            raise
        except Exception as error:
            raise resource_error("making", wanted.type, wanted.name, error) from error
        made = replace(wanted, id=old.id, outputs={**outputs, **wanted.inputs})
        self._state.put(made, instead_of=old)
        self.changes.updated.append(wanted.urn)
        return made

    def _with_default_tags(self, wanted: Resource, kind: ResourceType) -> Resource:
        """Add the provider's default tags to a resource that can be tagged, as `tagsAll`."""
        if "tagsAll" not in kind.properties | kind.replaces | kind.recorded:
            return wanted
        provider = self._state.find((wanted.provider.rsplit("::", 1)[0],))
        tags: dict[str, Any] = {}
        if provider is not None and provider.inputs.get("defaultTags"):
            # A provider's own inputs are strings or JSON.
            tags.update(json.loads(provider.inputs["defaultTags"])["tags"])
        tags.update(wanted.inputs.get("tags") or {})
        return replace(wanted, inputs={**wanted.inputs, "tagsAll": tags})

    def _create(self, kind: ResourceType, wanted: Resource) -> Resource:
        result = kind.create(self._aws, wanted.name, wanted.inputs)
        made = replace(wanted, id=result.id, outputs={**wanted.inputs, **result.outputs})
        self._state.put(made)
        self.changes.created.append(wanted.urn)
        return made

    def _replace(
        self, kind: ResourceType, wanted: Resource, old: Resource, request: Any
    ) -> Resource:
        if old.protect:
            raise ResourceError(
                f"{wanted.type} {wanted.name!r} would be replaced and is protected: it holds what "
                "cannot be made again; see docs/deploy.md on how to destroy on purpose"
            )
        if request.deleteBeforeReplace and not old.retain_on_delete:
            kind.delete(self._aws, Existing(old.id, old.inputs, old.outputs))
            self._state.forget(old)
            old_is_gone = True
        else:
            old_is_gone = False
        result = kind.create(self._aws, wanted.name, wanted.inputs)
        made = replace(wanted, id=result.id, outputs={**wanted.inputs, **result.outputs})
        if old_is_gone or old.retain_on_delete:
            self._state.put(made, instead_of=old)
        else:
            self._state.replace(old, made)
        self.changes.replaced.append(wanted.urn)
        return made

    def _aliases(self, request: Any) -> list[str]:
        urns = list(request.aliasURNs)
        for alias in request.aliases:
            if alias.urn:
                urns.append(alias.urn)
                continue
            spec = alias.spec
            parent = "" if spec.noParent else (spec.parentUrn or request.parent)
            urns.append(self.make_urn(parent, spec.type or request.type, spec.name or request.name))
        return urns

    def finish(self) -> list[ResourceError]:
        """Delete what was replaced and what the program no longer contains, newest first.

        Returns:
            What could not be deleted; it stays recorded and is deleted the next time.
        """
        gone = [entry for urn, entry in self._state.resources.items() if urn not in self._seen]
        problems: list[ResourceError] = []
        for entry in _youngest_first(gone):
            if entry.protect:
                problems.append(
                    ResourceError(
                        f"{entry.type} {entry.name!r} is protected and no longer in the program: "
                        "it holds mail; keep it, or see docs/deploy.md on how to destroy on purpose"
                    )
                )
                continue
            self._delete(entry, problems)
        for entry in reversed(self._state.replaced):
            self._delete(entry, problems)
        return problems

    def _delete(self, entry: Resource, problems: list[ResourceError]) -> None:
        is_ours_to_delete = entry.custom and not entry.type.startswith(_PROVIDERS)
        if is_ours_to_delete and not entry.retain_on_delete:
            try:
                resources.find(entry.type).delete(
                    self._aws, Existing(entry.id, entry.inputs, entry.outputs)
                )
            except Exception as error:  # noqa: BLE001  one failure must not keep the rest
                problems.append(resource_error("deleting", entry.type, entry.name, error))
                return
        self._state.forget(entry)
        if entry.custom:
            self.changes.deleted.append(entry.urn)


class _NoMocks(mocks.Mocks):
    """The mocks that MockMonitor requires; DeployingMonitor answers everything itself."""

    def call(self, args: mocks.MockCallArgs) -> Any:
        raise NotImplementedError(args.token)

    def new_resource(self, args: mocks.MockResourceArgs) -> Any:
        raise NotImplementedError(args.typ)


def _given(request: Any) -> dict[str, Any]:
    return _with_whole_numbers(rpc.deserialize_properties(request.object))


def _with_whole_numbers(value: Any) -> Any:
    """Convert whole floats to integers: Protobuf has only floats, AWS's clients want integers."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
        return {key: _with_whole_numbers(item) for key, item in entries.items()}
    if isinstance(value, list):
        return [_with_whole_numbers(item) for item in cast("list[Any]", value)]
    return value


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> set[str]:
    return {key for key in {*old, *new} if old.get(key) != new.get(key)}


def _youngest_first(gone: list[Resource]) -> list[Resource]:
    """Return dependents before their dependencies, and children before parents."""
    by_urn = {entry.urn: entry for entry in gone}
    ordered: list[Resource] = []
    visited: set[str] = set()

    def visit(entry: Resource) -> None:
        if entry.urn in visited:
            return
        visited.add(entry.urn)
        for needed in (*entry.dependencies, entry.parent):
            if needed in by_urn:
                visit(by_urn[needed])
        ordered.append(entry)

    for entry in gone:
        visit(entry)
    return list(reversed(ordered))
