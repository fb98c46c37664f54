"""The archive bucket: what SES received, kept for some days, and the directory object.

It contains mail, so it is protected and is kept when the stack is destroyed.
"""

from dataclasses import dataclass

import pulumi_aws as aws

import pulumi
from deployment import mail_documents
from deployment.buckets import close
from deployment.stack import Stack
from postal_plexus.config.names import DELIVERIES_PREFIX, INBOUND_PREFIX, MOVING_PREFIX


@dataclass(frozen=True)
class ArchiveArgs:
    """`rule_set_arn`: the receipt rules that may write."""

    stack: Stack
    rule_set_arn: pulumi.Input[str]
    days: int

    @property
    def name(self) -> str:
        """The name of the parts here, or its prefix."""
        return self.stack.named("archive")


class Archive(pulumi.ComponentResource):
    """The bucket with all its settings; depend on `ready` before anything writes."""

    def __init__(
        self, name: str, args: ArchiveArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("postal-plexus:index:Archive", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        kept = pulumi.ResourceOptions(parent=self, protect=True, retain_on_delete=True)
        self.bucket = aws.s3.Bucket(args.name, opts=kept)
        bucket = self.bucket.bucket
        block = close(args.name, bucket, child)
        # The bucket's own key: SES's KMS option is client-side encryption that only two of AWS's
        # client libraries can decrypt.
        encryption = aws.s3.BucketServerSideEncryptionConfiguration(
            args.name,
            bucket=bucket,
            rules=[
                {"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}},
            ],
            opts=child,
        )
        aws.s3.BucketLifecycleConfiguration(
            args.name,
            bucket=bucket,
            rules=[
                *(
                    {
                        "id": f"forget-{what}",
                        "status": "Enabled",
                        "filter": {"prefix": prefix},
                        "expiration": {"days": args.days},
                    }
                    for what, prefix in (
                        ("received-mail", INBOUND_PREFIX),
                        ("deliveries", DELIVERIES_PREFIX),
                    )
                ),
                {
                    # What an interrupted operator's command has not removed.
                    "id": "forget-exports",
                    "status": "Enabled",
                    "filter": {"prefix": MOVING_PREFIX},
                    "expiration": {"days": 1},
                },
                {
                    "id": "clear-unfinished-uploads",
                    "status": "Enabled",
                    "filter": {"prefix": ""},
                    "abort_incomplete_multipart_upload": {"days_after_initiation": 1},
                },
            ],
            opts=child,
        )
        policy = aws.s3.BucketPolicy(
            args.name,
            bucket=bucket,
            policy=pulumi.Output.all(self.bucket.arn, args.stack.account, args.rule_set_arn).apply(
                lambda given: mail_documents.archive_bucket(*given, INBOUND_PREFIX)
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[block]),
        )
        self.ready: list[pulumi.Resource] = [policy, encryption, block]
        self.register_outputs({"bucket": bucket})
