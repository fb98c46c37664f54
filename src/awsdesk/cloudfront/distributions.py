"""CloudFront distributions of the emulated account, and what they answer.

ministack has CloudFront's data plane (behaviours, functions, S3 origins with their bucket policy),
but finds a distribution by its cloudfront.net name only; viewers come by its aliases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs

from awsdesk.ministack_patches import environment, private

if TYPE_CHECKING:
    from collections.abc import Mapping

_CERTIFICATE_REGION = "us-east-1"  # the only one that CloudFront takes certificates from


@dataclass(frozen=True)
class Viewer:
    """A request as a viewer sends it; header names in lower case, `query` without its "?"."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    address: str


@dataclass(frozen=True)
class Answer:
    """What the viewer gets."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True)
class Distributions:
    """The distributions of one account."""

    account_id: str
    region: str

    def certified_names(self, host: str) -> tuple[str, ...]:
        """Return the names in the ACM certificate of the distribution that has this alias.

        Empty where no distribution has it, or its certificate is not there.
        """
        with environment.scope(self.account_id, self.region):
            found = self._with_alias(host)
            if found is None:
                return ()
            config = private.CLOUDFRONT.dist_config_el(found)
            viewer = private.CLOUDFRONT.find(config, "ViewerCertificate")
            arn = "" if viewer is None else private.CLOUDFRONT.text(viewer, "ACMCertificateArn")
        with environment.scope(self.account_id, _CERTIFICATE_REGION):
            stored = private.ACM.certificates.get(arn)
        if stored is None or stored["Status"] != "ISSUED":
            return ()
        names = [stored["DomainName"], *(stored.get("SubjectAlternativeNames") or ())]
        return tuple(dict.fromkeys(str(name) for name in names))

    async def answer(self, viewer: Viewer) -> Answer:
        """Answer as the distribution that has the request's host as an alias.

        421 where there is none: CloudFront says 403 with a page of its own there.
        """
        cloudfront = environment.module("services.cloudfront")
        host = viewer.headers.get("host", "").partition(":")[0].lower()
        with environment.scope(self.account_id, self.region):
            found = self._with_alias(host)
            # The way to S3 is by TLS as well, which its bucket policy asks for.
            environment.module("core.iam_evaluator").pin_request_origin(
                viewer.address, secure_transport=True
            )
            if found is None:
                said = f"No distribution has the alternate domain name {host}.\n".encode()
                return Answer(421, (("content-type", "text/plain"),), said)
            status, headers, body = await cloudfront.handle_viewer_request(
                found,
                viewer.method,
                viewer.path,
                viewer.path,
                viewer.query,
                {**viewer.headers, "host": host, "x-forwarded-proto": "https"},
                viewer.body,
                parse_qs(viewer.query, keep_blank_values=True),
                viewer.address,
            )
        content = body.encode() if isinstance(body, str) else bytes(body)
        return Answer(int(status), _pairs(headers), content)

    def _with_alias(self, host: str) -> dict[str, Any] | None:
        stored = [
            private.CLOUDFRONT.distributions[key] for key in list(private.CLOUDFRONT.distributions)
        ]
        named = (
            one
            for one in cast("list[dict[str, Any]]", stored)
            if one["enabled"] and host in private.CLOUDFRONT.get_distribution_aliases(one)
        )
        return next(named, None)


def _pairs(headers: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """ministack gives a list where a field is there several times."""
    return tuple(
        (name, str(value))
        for name, given in headers.items()
        for value in (cast("list[Any]", given) if isinstance(given, list) else [given])
    )
