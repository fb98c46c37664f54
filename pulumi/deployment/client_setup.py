"""The domains' small web sites: autoconfig, autodiscover, MTA-STS, Apple's profile.

Static files in one bucket, with a folder per domain, behind one CloudFront distribution per domain,
each with an ACM certificate of its own, so that a domain whose delegation is late delays no other.
Nothing runs on the mail host, and with this traffic it costs nothing.

A distribution can have a domain's names only after the certificate has been issued, which is after
the domain has been delegated, which is after the first `pulumi up`. So a run asks ACM first. For a
domain whose certificate is not issued yet, it creates the certificate and its validation records
(validation then completes by itself, within an hour after the delegation), and the next run creates
the rest. Nothing waits or fails meanwhile; `pending` lists the domains, for the stack outputs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi_aws as aws

import pulumi
from deployment import client_documents
from deployment.buckets import close
from deployment.stack import Stack
from postal_plexus.autoconfig import (
    ClientSetup,
    MtaStsPolicy,
    edge_function,
    site_files,
    site_records,
)

# CloudFront accepts certificates from this region only.
CERTIFICATE_REGION = "us-east-1"
# The zone of all distributions' alias targets, the same for everybody:
# https://docs.aws.amazon.com/Route53/latest/APIReference/API_AliasTarget.html
CLOUDFRONT_ZONE = "Z2FDTNDATAQYW2"
# AWS's managed policies: cache as the files specify, and HSTS and similar on every response.
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/using-managed-cache-policies.html
_CACHING_OPTIMIZED = "658327ea-f89d-4fab-a63d-7e88639e58f6"
_SECURITY_HEADERS = "67f7725c-6f97-4210-82d7-5512b31e9d03"
# CloudFront allows POST only together with all others; the function refuses those.
_METHODS = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]


@dataclass(frozen=True)
class ClientSetupArgs:
    """`issued`: the domains whose certificates have been issued (`domains_with_certificate`)."""

    stack: Stack
    clients: Sequence[ClientSetup]
    zone_ids: Mapping[str, pulumi.Input[str]]
    policy: MtaStsPolicy
    issued: frozenset[str]
    shared_host: str | None = None

    @property
    def name(self) -> str:
        """The name of the parts here, or its prefix."""
        return self.stack.named("clients")


def domains_with_certificate(
    clients: Sequence[ClientSetup], provider: aws.Provider
) -> frozenset[str]:
    """Return the domains whose site certificate ACM has issued.

    Raises:
        Exception: any ACM error except "there is none": a failed query must not count as a missing
            certificate, or the distribution would be removed.
    """
    found: set[str] = set()
    for client in clients:
        try:
            aws.acm.get_certificate(
                domain=client.autoconfig,
                statuses=["ISSUED"],
                most_recent=True,
                region=CERTIFICATE_REGION,
                opts=pulumi.InvokeOptions(provider=provider),
            )
        except Exception as error:
            if "no acm certificate" not in str(error).lower():
                raise
        else:
            found.add(client.domain)
    return frozenset(found)


class ClientSetupSites(pulumi.ComponentResource):
    """The sites of all domains; `pending` are those that the next run completes."""

    def __init__(
        self, name: str, args: ClientSetupArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("postal-plexus:index:ClientSetup", name, None, opts)
        self._args = args
        self._child = pulumi.ResourceOptions(parent=self)
        self._bucket = aws.s3.Bucket(args.name, force_destroy=True, opts=self._child)
        self._access = aws.cloudfront.OriginAccessControl(
            args.name,
            origin_access_control_origin_type="s3",
            signing_behavior="always",
            signing_protocol="sigv4",
            opts=self._child,
        )
        self._function = aws.cloudfront.Function(
            args.name,
            runtime="cloudfront-js-2.0",
            comment="Answers Outlook, and finds files whatever their letter case",
            code=edge_function(shared_host=args.shared_host),
            publish=True,
            opts=self._child,
        )
        distributions: list[aws.cloudfront.Distribution] = []
        for client in args.clients:
            certificate = self._certificate(client)
            if client.domain in args.issued:
                distributions.append(self._site(client, certificate))
        self._close_bucket(distributions)
        self.pending = [
            client.domain for client in args.clients if client.domain not in args.issued
        ]
        self.register_outputs({"pending": self.pending})

    def _close_bucket(self, distributions: Sequence[aws.cloudfront.Distribution]) -> None:
        name, bucket = self._args.name, self._bucket.bucket
        block = close(name, bucket, self._child)
        aws.s3.BucketPolicy(
            name,
            bucket=bucket,
            policy=pulumi.Output.all(
                self._bucket.arn, [distribution.arn for distribution in distributions]
            ).apply(lambda given: client_documents.site_bucket(*given)),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[block]),
        )

    def _certificate(self, client: ClientSetup) -> aws.acm.Certificate:
        """Create the certificate, and the records that prove ownership now and at each renewal."""
        certificate = aws.acm.Certificate(
            f"{self._args.name}-{client.domain}",
            domain_name=client.autoconfig,
            subject_alternative_names=list(client.site_names[1:]),
            validation_method="DNS",
            region=CERTIFICATE_REGION,
            opts=self._child,
        )
        for name in client.site_names:
            option = certificate.domain_validation_options.apply(
                lambda options, name=name: next(
                    option for option in options if option.domain_name == name
                )
            )
            aws.route53.Record(
                f"{name}-validation",
                zone_id=self._args.zone_ids[client.domain],
                name=option.apply(lambda found: found.resource_record_name or ""),
                type="CNAME",
                ttl=3600,
                records=[option.apply(lambda found: found.resource_record_value or "")],
                opts=self._child,
            )
        return certificate

    def _site(
        self, client: ClientSetup, certificate: aws.acm.Certificate
    ) -> aws.cloudfront.Distribution:
        args = self._args
        for file in site_files(client, args.policy):
            aws.s3.BucketObjectv2(
                f"{client.domain}{file.path}",
                bucket=self._bucket.bucket,
                key=f"{client.domain}{file.path}",
                content=file.content.decode(),
                content_type=file.content_type,
                cache_control=f"max-age={file.max_age}",
                opts=self._child,
            )
        distribution = aws.cloudfront.Distribution(
            f"{args.name}-{client.domain}",
            comment=f"Postal Plexus: client set-up of {client.domain}",
            enabled=True,
            is_ipv6_enabled=True,
            http_version="http2and3",
            price_class="PriceClass_100",
            aliases=list(client.site_names),
            origins=[
                {
                    "origin_id": "files",
                    "domain_name": self._bucket.bucket_regional_domain_name,
                    "origin_path": f"/{client.domain}",
                    "origin_access_control_id": self._access.id,
                }
            ],
            default_cache_behavior={
                "target_origin_id": "files",
                "viewer_protocol_policy": "redirect-to-https",
                "allowed_methods": _METHODS,
                "cached_methods": ["GET", "HEAD"],
                "compress": True,
                "cache_policy_id": _CACHING_OPTIMIZED,
                "response_headers_policy_id": _SECURITY_HEADERS,
                "function_associations": [
                    {"event_type": "viewer-request", "function_arn": self._function.arn}
                ],
            },
            restrictions={"geo_restriction": {"restriction_type": "none"}},
            viewer_certificate={
                "acm_certificate_arn": certificate.arn,
                "ssl_support_method": "sni-only",
                "minimum_protocol_version": "TLSv1.2_2021",
            },
            opts=self._child,
        )
        self._names(client, distribution)
        return distribution

    def _names(self, client: ClientSetup, distribution: aws.cloudfront.Distribution) -> None:
        zone_id = self._args.zone_ids[client.domain]
        for name in client.site_names:
            for kind in ("A", "AAAA"):
                aws.route53.Record(
                    f"{name}-{kind.lower()}",
                    zone_id=zone_id,
                    name=name,
                    type=kind,
                    aliases=[
                        {
                            "name": distribution.domain_name,
                            "zone_id": CLOUDFRONT_ZONE,
                            "evaluate_target_health": False,
                        }
                    ],
                    opts=self._child,
                )
        for record in site_records(client, self._args.policy):
            aws.route53.Record(
                f"{record.name}-{record.type.lower()}",
                zone_id=zone_id,
                name=record.name,
                type=record.type,
                ttl=record.ttl,
                records=list(record.values),
                opts=self._child,
            )
