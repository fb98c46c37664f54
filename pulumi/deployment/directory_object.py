"""The directory as one object that the containers load. It contains password hashes: a secret.

A stack of several hosts has it in a bucket of its own, which keeps former versions: each host
resolves a message with the version of the moment at which SES accepted it (docs/shards.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi_aws as aws

import pulumi
from deployment.archive import Archive
from deployment.buckets import close
from deployment.documents import bucket_by_tls_only, document
from deployment.stack import Stack
from postal_plexus.directory.entries import Host
from postal_plexus.directory.model import Directory

DIRECTORY_KEY = "directory/directory.json"

_VERSION_DAYS = 35
"""Longer than a message can wait: 14 days in its queue, and 14 more as a dead letter."""


@dataclass(frozen=True)
class DirectoryObjectArgs:
    """What to write, and where."""

    stack: Stack
    directory: Directory
    archive: Archive
    # Each host's name and private address, if there are several.
    hosts: tuple[tuple[str, pulumi.Input[str]], ...] = ()

    @property
    def name(self) -> str:
        """The name of the parts here, or its prefix."""
        return self.stack.named("directory")


class DirectoryObject(pulumi.ComponentResource):
    """`location` is `s3://bucket/key`."""

    def __init__(
        self, name: str, args: DirectoryObjectArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("postal-plexus:index:DirectoryObject", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        directory: pulumi.Input[str] = args.directory.to_json().decode() if not args.hosts else ""
        bucket, needed = args.archive.bucket, args.archive.ready
        if args.hosts:
            names = [host for host, _ in args.hosts]
            directory = pulumi.Output.all(*(address for _, address in args.hosts)).apply(
                lambda addresses: _on_hosts(args.directory, names, addresses)
            )
            bucket, needed = _versioned_bucket(args.name, child)
        self.bucket_arn = bucket.arn
        self.stored = aws.s3.BucketObjectv2(
            args.name,
            bucket=bucket.bucket,
            key=DIRECTORY_KEY,
            content=pulumi.Output.secret(directory),
            content_type="application/json",
            server_side_encryption="AES256",
            opts=pulumi.ResourceOptions(parent=self, depends_on=needed),
        )
        self.location = pulumi.Output.concat("s3://", self.stored.bucket, "/", self.stored.key)
        self.register_outputs({"location": self.location})


def _on_hosts(directory: Directory, names: Sequence[str], addresses: Sequence[str]) -> str:
    hosts = tuple(Host(name, address) for name, address in zip(names, addresses, strict=True))
    return directory.on_hosts(hosts).to_json().decode()


def _versioned_bucket(
    name: str, child: pulumi.ResourceOptions
) -> tuple[aws.s3.Bucket, list[pulumi.Resource]]:
    """Create the bucket of the versions; return it, and what an object must wait for."""
    bucket = aws.s3.Bucket(name, force_destroy=True, opts=child)
    block = close(name, bucket.bucket, child)
    encryption = aws.s3.BucketServerSideEncryptionConfiguration(
        name,
        bucket=bucket.bucket,
        rules=[{"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}}],
        opts=child,
    )
    versioning = aws.s3.BucketVersioning(
        name,
        bucket=bucket.bucket,
        versioning_configuration={"status": "Enabled"},
        opts=child,
    )
    aws.s3.BucketLifecycleConfiguration(
        name,
        bucket=bucket.bucket,
        rules=[
            {
                "id": "forget-versions",
                "status": "Enabled",
                "filter": {"prefix": ""},
                "noncurrent_version_expiration": {"noncurrent_days": _VERSION_DAYS},
            }
        ],
        opts=pulumi.ResourceOptions(parent=child.parent, depends_on=[versioning]),
    )
    policy = aws.s3.BucketPolicy(
        name,
        bucket=bucket.bucket,
        policy=bucket.arn.apply(lambda arn: document(bucket_by_tls_only(arn))),
        opts=pulumi.ResourceOptions(parent=child.parent, depends_on=[block]),
    )
    return bucket, [policy, encryption, block, versioning]
