"""What the desk knows of one Pulumi resource type, and the AWS it makes such resources in.

A resource type says which input properties it hands to AWS, which of them Terraform's provider
cannot change in place (`replaces`), and which the emulator has no place for (`recorded`: kept in
the state file, so that a change of them is still seen, and sent nowhere).  A property in none of
these is refused: what the program asks for must never be dropped silently.

Failures: `UnknownPropertyError` here; botocore's errors pass through and are named by the engine.
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
    """A resource as AWS knows it: its id and what AWS says of it beyond the inputs."""

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
        self, endpoint_url: str, access_key_id: str, secret_access_key: str, region: str
    ) -> None:
        self.endpoint_url = endpoint_url
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
        """The client of `service`; safe to use from several threads, as boto3's clients are.

        `region` where a resource lives in another one than the stack.
        """
        key = (service, region or self.region)
        with self._lock:
            if key not in self._clients:
                config = Config(
                    connect_timeout=5,
                    read_timeout=30,
                    retries={"total_max_attempts": 2},
                    # The emulator answers on one host name, so the bucket goes into the path.
                    s3={"addressing_style": "path"},
                )
                self._clients[key] = self._session.client(
                    service, region_name=key[1], endpoint_url=self.endpoint_url, config=config
                )
            return self._clients[key]

    @property
    def account(self) -> str:
        """The account's 12 digits, asked for once."""
        if self._account is None:
            self._account = str(self.client("sts").get_caller_identity()["Account"])
        return self._account

    def arn(
        self, service: str, resource: str, *, regional: bool = True, account: bool = True
    ) -> str:
        """An ARN of this account, for what AWS's answers leave out."""
        where = self.region if regional else ""
        return f"arn:aws:{service}:{where}:{self.account if account else ''}:{resource}"


Create = Callable[[Aws, str, Inputs], Made]
Update = Callable[[Aws, Existing, Inputs], Outputs]
Delete = Callable[[Aws, Existing], None]


def _nothing_to_delete(_aws: Aws, _existing: Existing) -> None:
    """For settings that go with the resource they belong to."""


@dataclass(frozen=True)
class ResourceType:
    """How resources with the Pulumi type `token` are made, changed and removed."""

    token: str
    create: Create
    delete: Delete = _nothing_to_delete
    # None: every change makes a new resource, as for a task definition.
    update: Update | None = None
    properties: frozenset[str] = frozenset()
    replaces: frozenset[str] = frozenset()
    recorded: frozenset[str] = frozenset()

    def check(self, inputs: Inputs) -> None:
        """Refuse properties that would be dropped.

        Raises:
            UnknownPropertyError: naming them.
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
    """A setting of the resource that the property `owner` names; put to make and to change it."""

    def create(aws: Aws, _name: str, inputs: Inputs) -> Made:
        put(aws, inputs)
        return Made(inputs[owner])

    def update(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
        put(aws, inputs)
        return dict(existing.outputs)

    return ResourceType(token, create, delete, update, properties, frozenset({owner}), recorded)


def auto_name(inputs: Inputs, property_name: str, logical_name: str) -> str:
    """The name the program gives, or Pulumi's automatic one: logical name and seven hex digits."""
    given = inputs.get(property_name)
    return str(given) if given else f"{logical_name}-{secrets.token_hex(4)[:7]}"


def pascal(value: Any) -> Any:
    """Pulumi's camelCase objects as AWS's PascalCase ones, all the way down."""
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
        return {key[:1].upper() + key[1:]: pascal(item) for key, item in entries.items()}
    if isinstance(value, list):
        return [pascal(item) for item in cast("list[Any]", value)]
    return value


def objects(inputs: Inputs, name: str) -> list[dict[str, Any]]:
    """A property that is a list of objects; empty when it is not there."""
    return cast("list[dict[str, Any]]", inputs.get(name) or [])


def tag_list(inputs: Inputs, key: str = "Key", value: str = "Value") -> list[dict[str, str]]:
    """Tags in the list form that most AWS services take; `tagsAll` holds the default ones too."""
    tags: Mapping[str, str] = inputs.get("tagsAll") or inputs.get("tags") or {}
    return [{key: name, value: text} for name, text in sorted(tags.items())]


def tag_map(inputs: Inputs) -> dict[str, str]:
    """Tags in the map form."""
    tags: Mapping[str, str] = inputs.get("tagsAll") or inputs.get("tags") or {}
    return dict(sorted(tags.items()))
