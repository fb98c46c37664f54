"""One Pulumi resource type, and the AWS clients that create such resources.

A resource type lists the input properties that it sends to AWS, those that Terraform's provider
cannot change in place (`replaces`), and those that the emulator does not support (`recorded`: kept
in the state file, so that their changes are detected, but sent nowhere).  Any other property is
refused, because nothing that the program specifies may be ignored silently.

Failures: `UnknownPropertyError` here; the engine translates botocore's errors.
"""

import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import boto3  # pyright: ignore[reportMissingTypeStubs]  boto3 brings no types
from botocore.config import Config  # pyright: ignore[reportMissingTypeStubs]

Inputs = Mapping[str, Any]
Outputs = dict[str, Any]


class UnknownPropertyError(Exception):
    """The program sets a property that the desk neither sends to AWS nor records."""


@dataclass(frozen=True)
class Made:
    """A resource in AWS: its id, and its outputs beyond the inputs."""

    id: str
    outputs: Outputs = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Existing:
    """A resource of an earlier deployment: `inputs` and `outputs` as the state file keeps them."""

    id: str
    inputs: Inputs
    outputs: Inputs


class Aws:
    """boto3 clients of one account and region, made once each."""

    def __init__(
        self,
        endpoint_url: str,
        access_key_id: str,
        secret_access_key: str,
        region: str,
        subnet: str = "",
    ) -> None:
        self.endpoint_url = endpoint_url
        # The containers' network, in which hosts have their private addresses.
        self.subnet = subnet or "10.0.0.0/24"
        self.region = region
        self._session: Any = boto3.Session(
            aws_access_key_id=access_key_id,
            aws_secret_access_key=secret_access_key,
            region_name=region,
        )
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()
        self._account: str | None = None

    def client(self, service: str, region: str | None = None) -> Any:
        """Return the client of `service`; thread-safe, as boto3's clients are.

        Pass `region` for a resource outside the stack's region.
        """
        key = (service, region or self.region)
        with self._lock:
            if key not in self._clients:
                config = Config(
                    connect_timeout=5,
                    read_timeout=30,
                    retries={"total_max_attempts": 2},
                    # The emulator has a single host name, so the bucket is in the path.
                    s3={"addressing_style": "path"},
                )
                self._clients[key] = self._session.client(
                    service, region_name=key[1], endpoint_url=self.endpoint_url, config=config
                )
            return self._clients[key]

    @property
    def account(self) -> str:
        """The account's 12 digits, requested once."""
        if self._account is None:
            self._account = str(self.client("sts").get_caller_identity()["Account"])
        return self._account

    def arn(
        self, service: str, resource: str, *, regional: bool = True, account: bool = True
    ) -> str:
        """Return an ARN of this account, for resources whose ARN AWS does not return."""
        where = self.region if regional else ""
        return f"arn:aws:{service}:{where}:{self.account if account else ''}:{resource}"


Create = Callable[[Aws, str, Inputs], Made]
Update = Callable[[Aws, Existing, Inputs], Outputs]
Delete = Callable[[Aws, Existing], None]


def _nothing_to_delete(_aws: Aws, _existing: Existing) -> None:
    """Do nothing: these settings disappear with their resource."""


@dataclass(frozen=True)
class ResourceType:
    """How resources with the Pulumi type `token` are created, changed and deleted."""

    token: str
    create: Create
    delete: Delete = _nothing_to_delete
    # None: every change creates a new resource, as for a task definition.
    update: Update | None = None
    properties: frozenset[str] = frozenset()
    replaces: frozenset[str] = frozenset()
    recorded: frozenset[str] = frozenset()
    # Outputs that a resource of an earlier version of the desk lacks, by its logical name.
    lacking: Callable[[Aws, str, Existing], Outputs] | None = None

    def check(self, inputs: Inputs) -> None:
        """Refuse properties that would be ignored.

        Raises:
            UnknownPropertyError: there are some; the text names them.
        """
        unknown = sorted(set(inputs) - self.properties - self.replaces - self.recorded)
        if unknown:
            raise UnknownPropertyError(
                f"the desk does not know {self.token}'s {', '.join(unknown)}: add it to "
                "src/awsdesk/pulumi/resources, so that what the program asks for is made"
            )


def setting(
    token: str,
    owner: str,
    put: Callable[[Aws, Inputs], None],
    delete: Delete,
    properties: frozenset[str],
    recorded: frozenset[str] = frozenset(),
) -> ResourceType:
    """Return the type of a setting of the resource `owner`, created and changed by one put call."""

    def create(aws: Aws, _name: str, inputs: Inputs) -> Made:
        put(aws, inputs)
        return Made(inputs[owner])

    def update(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
        put(aws, inputs)
        return dict(existing.outputs)

    return ResourceType(token, create, delete, update, properties, frozenset({owner}), recorded)


def auto_name(inputs: Inputs, property_name: str, logical_name: str) -> str:
    """Return the given name, or Pulumi's automatic one: logical name and seven hex digits."""
    given = inputs.get(property_name)
    return str(given) if given else f"{logical_name}-{secrets.token_hex(4)[:7]}"


def pascal(value: Any) -> Any:
    """Return Pulumi's camelCase objects as AWS's PascalCase ones, recursively."""
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
        return {key[:1].upper() + key[1:]: pascal(item) for key, item in entries.items()}
    if isinstance(value, list):
        return [pascal(item) for item in cast("list[Any]", value)]
    return value


def objects(inputs: Inputs, name: str) -> list[dict[str, Any]]:
    """Return a property that is a list of objects; empty if it is missing."""
    return cast("list[dict[str, Any]]", inputs.get(name) or [])


def tag_list(inputs: Inputs, key: str = "Key", value: str = "Value") -> list[dict[str, str]]:
    """Return tags as a list, which most services take; `tagsAll` includes the default ones."""
    tags: Mapping[str, str] = inputs.get("tagsAll") or inputs.get("tags") or {}
    return [{key: name, value: text} for name, text in sorted(tags.items())]


def tag_map(inputs: Inputs) -> dict[str, str]:
    """Return tags as a mapping."""
    tags: Mapping[str, str] = inputs.get("tagsAll") or inputs.get("tags") or {}
    return dict(sorted(tags.items()))
