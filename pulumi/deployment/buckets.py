"""Settings of every bucket of the stack: one owner, and nothing in it can become public."""

import pulumi_aws as aws

import pulumi


def close(
    name: str, bucket: pulumi.Input[str], child: pulumi.ResourceOptions
) -> aws.s3.BucketPublicAccessBlock:
    """Block public access to a bucket. A policy must wait for the block.

    S3 refuses a policy as long as it might be public.
    """
    aws.s3.BucketOwnershipControls(
        name, bucket=bucket, rule={"object_ownership": "BucketOwnerEnforced"}, opts=child
    )
    return aws.s3.BucketPublicAccessBlock(
        name,
        bucket=bucket,
        block_public_acls=True,
        block_public_policy=True,
        ignore_public_acls=True,
        restrict_public_buckets=True,
        opts=child,
    )
