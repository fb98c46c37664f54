"""EFS: the file system that holds the mailboxes, and the access point that Dovecot mounts."""

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
    pascal,
    setting,
    tag_list,
)

# The Pulumi provider's names of the values in a policy, and EFS's.
_LIFECYCLE = {
    "transitionToArchive": "TransitionToArchive",
    "transitionToIa": "TransitionToIA",
    "transitionToPrimaryStorageClass": "TransitionToPrimaryStorageClass",
}


def _create_file_system(aws: Aws, name: str, inputs: Inputs) -> Made:
    arguments: dict[str, Any] = {
        "CreationToken": auto_name(inputs, "creationToken", name),
        "Encrypted": inputs.get("encrypted", False),
        "PerformanceMode": inputs.get("performanceMode", "generalPurpose"),
        "ThroughputMode": inputs.get("throughputMode", "bursting"),
        "Tags": tag_list(inputs),
    }
    made = aws.client("efs").create_file_system(**arguments)
    identifier = str(made["FileSystemId"])
    _put_lifecycle(aws, identifier, inputs)
    return Made(
        identifier,
        {
            "arn": aws.arn("elasticfilesystem", f"file-system/{identifier}"),
            "dnsName": f"{identifier}.efs.{aws.region}.amazonaws.com",
            "ownerId": aws.account,
        },
    )


def _put_lifecycle(aws: Aws, identifier: str, inputs: Inputs) -> None:
    aws.client("efs").put_lifecycle_configuration(
        FileSystemId=identifier,
        LifecyclePolicies=[
            {_LIFECYCLE[key]: value for key, value in policy.items()}
            for policy in objects(inputs, "lifecyclePolicies")
        ],
    )


def _update_file_system(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    efs = aws.client("efs")
    if inputs.get("throughputMode") != existing.inputs.get("throughputMode"):
        efs.update_file_system(
            FileSystemId=existing.id, ThroughputMode=inputs.get("throughputMode", "bursting")
        )
    _put_lifecycle(aws, existing.id, inputs)
    efs.tag_resource(ResourceId=existing.id, Tags=tag_list(inputs))
    return dict(existing.outputs)


def _delete_file_system(aws: Aws, existing: Existing) -> None:
    aws.client("efs").delete_file_system(FileSystemId=existing.id)


def _create_access_point(aws: Aws, name: str, inputs: Inputs) -> Made:
    arguments: dict[str, Any] = {
        "ClientToken": auto_name({}, "", name),
        "FileSystemId": inputs["fileSystemId"],
        "Tags": tag_list(inputs),
    }
    if inputs.get("posixUser"):
        arguments["PosixUser"] = pascal(inputs["posixUser"])
    if inputs.get("rootDirectory"):
        root: dict[str, Any] = {"Path": inputs["rootDirectory"]["path"]}
        creation = inputs["rootDirectory"].get("creationInfo")
        if creation:
            root["CreationInfo"] = pascal(creation)
        arguments["RootDirectory"] = root
    made = aws.client("efs").create_access_point(**arguments)
    identifier = str(made["AccessPointId"])
    return Made(
        identifier,
        {
            "arn": aws.arn("elasticfilesystem", f"access-point/{identifier}"),
            "fileSystemArn": aws.arn("elasticfilesystem", f"file-system/{inputs['fileSystemId']}"),
            "ownerId": aws.account,
        },
    )


def _delete_access_point(aws: Aws, existing: Existing) -> None:
    aws.client("efs").delete_access_point(AccessPointId=existing.id)


def _update_tags(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    aws.client("efs").tag_resource(ResourceId=existing.id, Tags=tag_list(inputs))
    return dict(existing.outputs)


def _put_policy(aws: Aws, inputs: Inputs) -> None:
    aws.client("efs").put_file_system_policy(
        FileSystemId=inputs["fileSystemId"], Policy=inputs["policy"]
    )


def _delete_policy(aws: Aws, existing: Existing) -> None:
    aws.client("efs").delete_file_system_policy(FileSystemId=existing.id)


TYPES = (
    setting(
        "aws:efs/fileSystemPolicy:FileSystemPolicy",
        "fileSystemId",
        _put_policy,
        _delete_policy,
        frozenset({"policy"}),
    ),
    ResourceType(
        "aws:efs/fileSystem:FileSystem",
        _create_file_system,
        _delete_file_system,
        _update_file_system,
        properties=frozenset({"lifecyclePolicies", "throughputMode", "tags", "tagsAll"}),
        replaces=frozenset({"creationToken", "encrypted", "performanceMode"}),
    ),
    ResourceType(
        "aws:efs/accessPoint:AccessPoint",
        _create_access_point,
        _delete_access_point,
        _update_tags,
        properties=frozenset({"tags", "tagsAll"}),
        replaces=frozenset({"fileSystemId", "posixUser", "rootDirectory"}),
    ),
)
