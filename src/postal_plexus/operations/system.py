"""A running stack: how to reach it, and the names of its parts.

The Pulumi program writes the names of the parts into SSM parameters, one for each host, so that
anyone with AWS credentials for the account can find them without Pulumi.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from ipaddress import ip_address
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

import boto3  # pyright: ignore[reportMissingTypeStubs]  it brings no types
from botocore.config import Config  # pyright: ignore[reportMissingTypeStubs]
from botocore.exceptions import (  # pyright: ignore[reportMissingTypeStubs]
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)

from postal_plexus.config.names import part_name, system_parameter

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

_CONFIG = Config(connect_timeout=10, read_timeout=60, retries={"mode": "standard"})
_ONE_AT_A_TIME = Lock()
_DENIED = {
    "AccessDenied",
    "AccessDeniedException",
    "AuthorizationError",
    "UnauthorizedOperation",
    "Forbidden",
    "403",
}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
_UNKNOWN = {
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
    "InvalidAccessKeyId",
    "InvalidSignatureException",
}


class OperationError(Exception):
    """The stack cannot be reached, or refuses. The text says what to do."""


class AccessError(OperationError):
    """AWS does not accept the credentials, or they lack a permission."""


@dataclass(frozen=True)
class Endpoint:
    """An emulated AWS: its credentials, its CA, and the address of its Dovecot."""

    url: str
    ca_file: str
    key_id: str
    secret: str
    imaps: tuple[str, int]


@dataclass(frozen=True)
class System:
    """One stack in one region, or one host of it: see `hosts`.

    Attributes:
        endpoint: None for AWS itself.
        host: the number of the host whose queues, services and logs are in `parts`.
    """

    stack: str
    region: str | None = None
    profile: str | None = None
    endpoint: Endpoint | None = None
    host: int = 1

    def client(self, service: str) -> Any:
        """Return a client for an AWS service. Raise OperationError as `told` does."""
        where: dict[str, Any] = {}
        if self.endpoint is not None:
            where = {"endpoint_url": self.endpoint.url, "verify": self.endpoint.ca_file}
        # Sessions are not safe for threads; clients are.
        with told(service), _ONE_AT_A_TIME:
            try:
                return self._session.client(service, config=_CONFIG, **where)
            except ValueError as error:  # botocore raises some itself
                raise OperationError(f"{error}; check AWS_REGION and AWS_ENDPOINT_URL") from error

    @cached_property
    def _session(self) -> Any:
        """The session of all clients: it reads AWS's service models once, some megabytes."""
        if self.endpoint is None:
            return boto3.Session(profile_name=self.profile, region_name=self.region)
        return boto3.Session(
            aws_access_key_id=self.endpoint.key_id,
            aws_secret_access_key=self.endpoint.secret,
            region_name=self.region,
        )

    def named(self, part: str) -> str:
        """Return the name of a part; for an empty part, the prefix of all names."""
        return part_name(self.stack, part)

    @property
    def imaps(self) -> tuple[str, int, str | None]:
        """The address of IMAP: host, port, and the CA file (None: the machine's own)."""
        if self.endpoint is None:
            return str(self.parts["mail_host"]), 993, None
        address, port = self.endpoint.imaps
        # A desk's other hosts are at the next loopback addresses.
        return str(ip_address(address) + self.host - 1), port, self.endpoint.ca_file

    @cached_property
    def parts(self) -> Mapping[str, Any]:
        """The names of the stack's parts, and of those that belong to host 1.

        `other_hosts` has those of the others, by their numbers, if the stack has several.

        Raises:
            OperationError: the account and region have no such stack, or AWS refuses.
        """
        found = self._read_parts(1)
        others = range(2, int(found.get("hosts", 1)) + 1)
        return {**found, "other_hosts": [self._read_parts(each) for each in others]}

    @cached_property
    def hosts(self) -> Sequence[System]:
        """The stack's hosts by their numbers, each as a system whose `parts` are its own."""
        found = (self, *(self._other(number) for number in range(2, self.count + 1)))
        for each in found:
            each.__dict__["hosts"] = found
        return found

    @property
    def count(self) -> int:
        """The number of hosts."""
        return 1 + len(self.parts.get("other_hosts", ()))

    @property
    def of_host(self) -> str:
        """Text behind what is said about one host: which; empty if the stack has only one."""
        return f" (host {self.host})" if self.count > 1 else ""

    def _other(self, number: int) -> System:
        other = replace(self, host=number)
        its = self.parts["other_hosts"][number - 2]
        logs = {**self.parts["log_groups"], **its.get("log_groups", {})}
        other.__dict__["parts"] = {**self.parts, **its, "log_groups": logs}
        if "_session" in self.__dict__:
            other.__dict__["_session"] = self._session
        return other

    def _read_parts(self, host: int) -> dict[str, Any]:
        """Read the parameter of a host."""
        ssm = self.client("ssm")
        name = system_parameter(self.stack, host)
        with told("SSM"):
            try:
                found = ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
            except ssm.exceptions.ParameterNotFound as error:
                region = ssm.meta.region_name
                raise OperationError(
                    f"there is no stack {self.stack!r} in {region}: no SSM parameter {name}; "
                    "name another by --stack, --region or AWS_PROFILE, or run `pulumi up` once"
                ) from error
        return cast("dict[str, Any]", json.loads(found))

    def dkim(self, domain: str) -> list[list[str]]:
        """Return names and targets of a domain's DKIM records, as SES requires them."""
        client = self.client("sesv2")
        with told("SES"):
            found = client.get_email_identity(EmailIdentity=domain)["DkimAttributes"]
        zone = found.get("SigningHostedZone") or "dkim.amazonses.com"
        tokens: list[str] = found.get("Tokens", [])
        return [[f"{each}._domainkey.{domain}", f"{each}.{zone}"] for each in tokens]


@contextmanager
def told(what: str) -> Generator[None]:
    """Convert botocore's errors within the context to an OperationError that says what to do."""
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise AccessError(
            "no AWS credentials were found; set AWS_PROFILE, or run `aws configure` or `aws login`"
        ) from error
    except (UnauthorizedSSOTokenError, TokenRetrievalError, SSOError) as error:
        raise AccessError(f"the AWS login has ended ({error}); log in again") from error
    except ProfileNotFound as error:
        raise AccessError(f"{error}; see `aws configure list-profiles`") from error
    except NoRegionError as error:
        raise OperationError("no AWS region is set; give --region or AWS_REGION") from error
    except ClientError as error:
        raise _refused(what, error) from error
    except BotoCoreError as error:
        raise OperationError(f"{what} cannot be reached ({error}); try again") from error


def _refused(what: str, error: ClientError) -> OperationError:
    answer = cast("dict[str, Any]", error.response).get("Error", {})
    code, message = str(answer.get("Code", "")), str(answer.get("Message", ""))
    action = f"{what} {error.operation_name}"
    if code in _EXPIRED:
        return AccessError("the AWS credentials have expired; log in again")
    if code in _UNKNOWN:
        return AccessError(f"AWS does not know these credentials ({code}); check AWS_PROFILE")
    if code in _DENIED:
        return AccessError(f"AWS refuses {action}: {message or code}; ask for that permission")
    return OperationError(f"{action} failed: {code}: {message}")
