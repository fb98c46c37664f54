"""The directory as one object that the containers load. It contains password hashes: a secret."""

from dataclasses import dataclass

import pulumi_aws as aws

import pulumi
from deployment.archive import Archive
from deployment.stack import Stack
from postal_plexus.directory.model import Directory

DIRECTORY_KEY = "directory/directory.json"


@dataclass(frozen=True)
class DirectoryObjectArgs:
    """What to write, and where."""

    stack: Stack
    directory: Directory
    archive: Archive

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
        self.stored = aws.s3.BucketObjectv2(
            args.name,
            bucket=args.archive.bucket.bucket,
            key=DIRECTORY_KEY,
            content=pulumi.Output.secret(args.directory.to_json().decode()),
            content_type="application/json",
            server_side_encryption="AES256",
            opts=pulumi.ResourceOptions(parent=self, depends_on=args.archive.ready),
        )
        self.location = pulumi.Output.concat("s3://", self.stored.bucket, "/", self.stored.key)
        self.register_outputs({"location": self.location})
