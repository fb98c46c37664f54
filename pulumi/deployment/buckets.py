"""What every bucket of the stack has: one owner, and nothing in it that could become public."""

import pulumi_aws as aws

import pulumi


def close(
    name: str, bucket: pulumi.Input[str], child: pulumi.ResourceOptions
) -> aws.s3.BucketPublicAccessBlock:
    """Close a bucket; a policy must wait for the block.

    S3 refuses a policy while it is still unsure whether it would be public.
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
