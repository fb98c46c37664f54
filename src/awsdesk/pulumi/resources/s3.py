"""S3: the archive bucket, its settings, and the objects the program writes into it."""

import json
from typing import Any

from awsdesk.pulumi.resources.resource_type import (
    Aws,
    Existing,
    Inputs,
    Made,
    Outputs,
    ResourceType,
    auto_name,
    objects,
    setting,
    tag_list,
)


def _bucket_outputs(aws: Aws, bucket: str) -> Outputs:
    return {
        "bucket": bucket,
        "arn": f"arn:aws:s3:::{bucket}",
        "bucketDomainName": f"{bucket}.s3.amazonaws.com",
        "bucketRegionalDomainName": f"{bucket}.s3.{aws.region}.amazonaws.com",
        "region": aws.region,
    }


def _create_bucket(aws: Aws, name: str, inputs: Inputs) -> Made:
    bucket = auto_name(inputs, "bucket", name)
    arguments: dict[str, Any] = {"Bucket": bucket}
    if aws.region != "us-east-1":  # S3 refuses it as a location constraint
        arguments["CreateBucketConfiguration"] = {"LocationConstraint": aws.region}
    aws.client("s3").create_bucket(**arguments)
    _tag_bucket(aws, bucket, inputs)
    return Made(bucket, _bucket_outputs(aws, bucket))


def _tag_bucket(aws: Aws, bucket: str, inputs: Inputs) -> None:
    aws.client("s3").put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tag_list(inputs)})


def _update_bucket(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    _tag_bucket(aws, existing.id, inputs)
    return dict(existing.outputs)


def _delete_bucket(aws: Aws, existing: Existing) -> None:
    if existing.inputs.get("forceDestroy"):
        pages = aws.client("s3").get_paginator("list_object_versions").paginate(Bucket=existing.id)
        for page in pages:
            for entry in page.get("Versions", []) + page.get("DeleteMarkers", []):
                aws.client("s3").delete_object(
                    Bucket=existing.id, Key=entry["Key"], VersionId=entry["VersionId"]
                )
    aws.client("s3").delete_bucket(Bucket=existing.id)


def _put_policy(aws: Aws, inputs: Inputs) -> None:
    policy = inputs["policy"]
    text = policy if isinstance(policy, str) else json.dumps(policy)
    aws.client("s3").put_bucket_policy(Bucket=inputs["bucket"], Policy=text)


def _put_public_access_block(aws: Aws, inputs: Inputs) -> None:
    aws.client("s3").put_public_access_block(
        Bucket=inputs["bucket"],
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": inputs.get("blockPublicAcls", False),
            "IgnorePublicAcls": inputs.get("ignorePublicAcls", False),
            "BlockPublicPolicy": inputs.get("blockPublicPolicy", False),
            "RestrictPublicBuckets": inputs.get("restrictPublicBuckets", False),
        },
    )


def _put_encryption(aws: Aws, inputs: Inputs) -> None:
    rules: list[dict[str, Any]] = []
    for rule in objects(inputs, "rules"):
        default = rule["applyServerSideEncryptionByDefault"]
        by_default = {"SSEAlgorithm": default["sseAlgorithm"]}
        if default.get("kmsMasterKeyId"):
            by_default["KMSMasterKeyID"] = default["kmsMasterKeyId"]
        rules.append(
            {
                "ApplyServerSideEncryptionByDefault": by_default,
                "BucketKeyEnabled": rule.get("bucketKeyEnabled", False),
            }
        )
    aws.client("s3").put_bucket_encryption(
        Bucket=inputs["bucket"], ServerSideEncryptionConfiguration={"Rules": rules}
    )


def _put_versioning(aws: Aws, inputs: Inputs) -> None:
    aws.client("s3").put_bucket_versioning(
        Bucket=inputs["bucket"],
        VersioningConfiguration={"Status": inputs["versioningConfiguration"]["status"]},
    )


def _suspend_versioning(aws: Aws, existing: Existing) -> None:
    # S3 cannot turn it off.
    aws.client("s3").put_bucket_versioning(
        Bucket=existing.id, VersioningConfiguration={"Status": "Suspended"}
    )


def _put_ownership(aws: Aws, inputs: Inputs) -> None:
    aws.client("s3").put_bucket_ownership_controls(
        Bucket=inputs["bucket"],
        OwnershipControls={"Rules": [{"ObjectOwnership": inputs["rule"]["objectOwnership"]}]},
    )


def _put_lifecycle(aws: Aws, inputs: Inputs) -> None:
    rules: list[dict[str, Any]] = []
    for rule in objects(inputs, "rules"):
        matching: dict[str, Any] = rule.get("filter") or {}
        put: dict[str, Any] = {
            "ID": rule["id"],
            "Status": rule["status"],
            "Filter": {"Prefix": matching.get("prefix", "")},
        }
        if rule.get("expiration"):
            put["Expiration"] = {"Days": rule["expiration"]["days"]}
        if rule.get("noncurrentVersionExpiration"):
            days = rule["noncurrentVersionExpiration"]["noncurrentDays"]
            put["NoncurrentVersionExpiration"] = {"NoncurrentDays": days}
        if rule.get("abortIncompleteMultipartUpload"):
            put["AbortIncompleteMultipartUpload"] = {
                "DaysAfterInitiation": rule["abortIncompleteMultipartUpload"]["daysAfterInitiation"]
            }
        rules.append(put)
    aws.client("s3").put_bucket_lifecycle_configuration(
        Bucket=inputs["bucket"], LifecycleConfiguration={"Rules": rules}
    )


def _put_object(aws: Aws, inputs: Inputs) -> Outputs:
    arguments: dict[str, Any] = {
        "Bucket": inputs["bucket"],
        "Key": inputs["key"],
        "Body": str(inputs["content"]).encode(),
    }
    if inputs.get("contentType"):
        arguments["ContentType"] = inputs["contentType"]
    if inputs.get("cacheControl"):
        arguments["CacheControl"] = inputs["cacheControl"]
    if inputs.get("serverSideEncryption"):
        arguments["ServerSideEncryption"] = inputs["serverSideEncryption"]
    answer = aws.client("s3").put_object(**arguments)
    return {
        "arn": f"arn:aws:s3:::{inputs['bucket']}/{inputs['key']}",
        "etag": str(answer["ETag"]).strip('"'),
    }


def _create_object(aws: Aws, _name: str, inputs: Inputs) -> Made:
    return Made(f"{inputs['bucket']}/{inputs['key']}", _put_object(aws, inputs))


def _update_object(aws: Aws, _existing: Existing, inputs: Inputs) -> Outputs:
    return _put_object(aws, inputs)


def _delete_object(aws: Aws, existing: Existing) -> None:
    aws.client("s3").delete_object(Bucket=existing.inputs["bucket"], Key=existing.inputs["key"])


def _bucket_setting(
    token: str,
    put: Any,
    remove: str,
    properties: frozenset[str],
    recorded: frozenset[str] = frozenset(),
) -> ResourceType:
    """Return the type of a bucket's setting; `remove` is S3's call that deletes it."""

    def delete(aws: Aws, existing: Existing) -> None:
        getattr(aws.client("s3"), remove)(Bucket=existing.id)

    return setting(token, "bucket", put, delete, properties, recorded)


TYPES = (
    ResourceType(
        "aws:s3/bucket:Bucket",
        _create_bucket,
        _delete_bucket,
        _update_bucket,
        properties=frozenset({"forceDestroy", "tags", "tagsAll"}),
        replaces=frozenset({"bucket"}),
    ),
    _bucket_setting(
        "aws:s3/bucketPolicy:BucketPolicy",
        _put_policy,
        "delete_bucket_policy",
        frozenset({"policy"}),
    ),
    _bucket_setting(
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        _put_public_access_block,
        "delete_public_access_block",
        frozenset(
            {"blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"}
        ),
    ),
    _bucket_setting(
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        _put_encryption,
        "delete_bucket_encryption",
        frozenset({"rules"}),
    ),
    _bucket_setting(
        "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
        _put_ownership,
        "delete_bucket_ownership_controls",
        frozenset({"rule"}),
    ),
    setting(
        "aws:s3/bucketVersioning:BucketVersioning",
        "bucket",
        _put_versioning,
        _suspend_versioning,
        frozenset({"versioningConfiguration"}),
        frozenset(),
    ),
    _bucket_setting(
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        _put_lifecycle,
        "delete_bucket_lifecycle",
        frozenset({"rules"}),
    ),
    ResourceType(
        "aws:s3/bucketObjectv2:BucketObjectv2",
        _create_object,
        _delete_object,
        _update_object,
        properties=frozenset({"cacheControl", "content", "contentType", "serverSideEncryption"}),
        replaces=frozenset({"bucket", "key"}),
        recorded=frozenset({"tags", "tagsAll"}),
    ),
)
